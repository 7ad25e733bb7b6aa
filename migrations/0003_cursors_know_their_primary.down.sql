ALTER TABLE jobqueue.shipping_cursors
    DROP COLUMN primary_id,
    DROP COLUMN doubtful_upto,
    DROP COLUMN superseded;

DELETE FROM jobqueue.migrations WHERE version = 3;
