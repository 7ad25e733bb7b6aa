DROP FUNCTION jobqueue.drop_minutes(boolean, interval);
DROP FUNCTION jobqueue.recount_minutes(timestamptz, timestamptz);
DROP FUNCTION jobqueue.duration_class(double precision);
DROP TABLE jobqueue.execution_minutes;

DELETE FROM jobqueue.migrations WHERE version = 7;
