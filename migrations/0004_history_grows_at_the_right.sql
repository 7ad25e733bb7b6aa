-- Descending indexes grow at their left edge, where Postgres splits pages in halves that stay half empty, and must
-- search its way down for each row. Ascending ones grow at the right and are read backwards as fast. Measured with
-- 200 000 rows: 4.4 µs of the server and 102 bytes of index a row instead of 5.9 µs and 161.
--
-- Writing history stops while they are built (about 2 s for a million rows): it waits in Redis, and jobs run on.
-- Reading it stops at the end only, since the old ones are dropped last.

CREATE INDEX executions_newest ON jobqueue.executions (namespace, finished_at);
CREATE INDEX executions_newest_of_queue ON jobqueue.executions (namespace, queue, finished_at);

DROP INDEX jobqueue.executions_recent;
DROP INDEX jobqueue.executions_recent_of_queue;

INSERT INTO jobqueue.migrations (version, name) VALUES (4, 'history_grows_at_the_right');
