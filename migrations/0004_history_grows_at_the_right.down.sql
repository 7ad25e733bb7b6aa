-- The indexes of 0001 again.

CREATE INDEX executions_recent ON jobqueue.executions (namespace, finished_at DESC);
CREATE INDEX executions_recent_of_queue ON jobqueue.executions (namespace, queue, finished_at DESC);

DROP INDEX jobqueue.executions_newest;
DROP INDEX jobqueue.executions_newest_of_queue;

DELETE FROM jobqueue.migrations WHERE version = 4;
