-- All schedules kept here are lost, those made at run time for good, and the record of their ticks.

DROP FUNCTION jobqueue.drop_ticks(text, interval);
DROP TABLE jobqueue.schedule_ticks;
DROP TABLE jobqueue.schedule_revisions;
DROP TABLE jobqueue.schedules;

DELETE FROM jobqueue.shipping_cursors WHERE kind = 'ticks';
ALTER TABLE jobqueue.shipping_cursors
    DROP CONSTRAINT shipping_cursors_kind,
    ADD CONSTRAINT shipping_cursors_kind CHECK (kind IN ('journal', 'dead'));

DELETE FROM jobqueue.migrations WHERE version = 8;
