-- Removes everything of jobqueue from this database: history and dead letters are lost.
-- No CASCADE: it fails where somebody put objects of their own into the schema or built on ours.

DROP FUNCTION jobqueue.drop_partitions(boolean, interval);
DROP FUNCTION jobqueue.ensure_partitions(date[]);
DROP TABLE jobqueue.shipping_cursors;
DROP TABLE jobqueue.dead_letters;
DROP TABLE jobqueue.executions;
DROP TABLE jobqueue.migrations;
DROP SCHEMA jobqueue;
