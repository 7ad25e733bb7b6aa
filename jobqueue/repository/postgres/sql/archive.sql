-- name: create_cursor
-- A cursor at the beginning, unless there is one. $1 namespace, $2 queue, $3 kind, $4 epoch.
INSERT INTO jobqueue.shipping_cursors (namespace, queue, kind, epoch)
VALUES ($1, $2, $3, $4)
ON CONFLICT (namespace, queue, kind, epoch) DO NOTHING;

-- name: lock_cursor
-- The cursor, locked; no row when another shipper holds it. $1 namespace, $2 queue, $3 kind, $4 epoch.
SELECT position, primary_id, doubtful_upto, superseded
FROM jobqueue.shipping_cursors
WHERE namespace = $1 AND queue = $2 AND kind = $3 AND epoch = $4
FOR UPDATE SKIP LOCKED;

-- name: position
-- As committed, without a lock; no row when nothing was shipped. $1 namespace, $2 queue, $3 kind, $4 epoch.
SELECT position, doubtful_upto
FROM jobqueue.shipping_cursors
WHERE namespace = $1 AND queue = $2 AND kind = $3 AND epoch = $4;

-- name: move_cursor
-- $1 namespace, $2 queue, $3 kind, $4 epoch, $5 position.
UPDATE jobqueue.shipping_cursors
SET position = $5, moved_at = now()
WHERE namespace = $1 AND queue = $2 AND kind = $3 AND epoch = $4;

-- name: take_over
-- Another server is the primary. $1 namespace, $2 queue, $3 kind, $4 epoch, $5 its id, $6 doubtful up to, $7 superseded.
UPDATE jobqueue.shipping_cursors
SET position = '0-0', primary_id = $5, doubtful_upto = $6, superseded = $7, moved_at = now()
WHERE namespace = $1 AND queue = $2 AND kind = $3 AND epoch = $4;

-- name: known_executions
-- $1 namespace, $2 job ids.
SELECT job_id::text, generation, attempt, outcome, worker, queued_at, started_at, duration_ms
FROM jobqueue.executions
WHERE namespace = $1 AND job_id = ANY($2::uuid[]);

-- name: known_letters
-- $1 namespace, $2 job ids.
SELECT job_id::text, entry_id, worker, died_at
FROM jobqueue.dead_letters
WHERE namespace = $1 AND job_id = ANY($2::uuid[]);

-- name: known_ticks
-- $1 namespace, $2 schedules, $3 decided at, of each record one.
SELECT each.name, each.decided_at, queue, version, decision, reason, tick_at, first_at, job_id
FROM unnest($2::text[], $3::timestamptz[]) AS asked (name, decided_at)
JOIN jobqueue.schedule_ticks AS each
  ON each.namespace = $1 AND each.name = asked.name AND each.decided_at = asked.decided_at;

-- name: add_minutes
-- $1 namespace, $2 minutes, $3 queues, $4 outcomes, $5 classes of duration, $6 failed, $7 executions: of each row, one.
INSERT INTO jobqueue.execution_minutes AS known (namespace, minute, queue, outcome, took, failed, executions)
SELECT $1, more.*
FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::smallint[], $6::boolean[], $7::bigint[]) AS more
ON CONFLICT (minute, namespace, queue, outcome, took) DO UPDATE SET executions = known.executions + excluded.executions;

-- name: ensure_partitions
-- $1 days, date[].
SELECT jobqueue.ensure_partitions($1);

-- name: ensure_coming_partitions
-- Today's and the next $1 days.
SELECT jobqueue.ensure_partitions(ARRAY(
    SELECT (now() AT TIME ZONE 'UTC')::date + days_ahead
    FROM generate_series(0, $1::integer) AS days_ahead
));

-- name: drop_partitions
-- $1 failed, boolean; $2 keep, interval.
SELECT jobqueue.drop_partitions($1, $2);

-- name: drop_minutes
-- One bounded bite of the minutes whose rows were dropped. $1 failed, boolean; $2 keep, interval.
SELECT jobqueue.drop_minutes($1, $2);

-- name: drop_requeued
-- One bounded bite of the letters requeued longer than $1 (interval) ago.
WITH gone AS (
    DELETE FROM jobqueue.dead_letters
    WHERE letter_id IN (
        SELECT letter_id
        FROM jobqueue.dead_letters
        WHERE state = 'requeued' AND requeued_at < now() - $1::interval
        ORDER BY requeued_at
        LIMIT 1000
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM gone;

-- name: drop_ticks
-- One bounded bite of what was decided longer than $2 (interval) ago. $1 namespace.
SELECT jobqueue.drop_ticks($1, $2);
