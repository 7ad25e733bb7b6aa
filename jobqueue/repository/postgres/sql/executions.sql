-- name: of_job
-- $1 namespace, $2 job id.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback
FROM jobqueue.executions
WHERE namespace = $1 AND job_id = $2
ORDER BY generation, attempt, finished_at;

-- name: recent
-- $1 namespace, $2 type or NULL, $3 outcome or NULL, $4 limit.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback
FROM jobqueue.executions
WHERE namespace = $1
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR outcome = $3)
ORDER BY finished_at DESC
LIMIT $4;

-- name: recent_of_queue
-- $1 namespace, $2 type or NULL, $3 outcome or NULL, $4 limit, $5 queue.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback
FROM jobqueue.executions
WHERE namespace = $1 AND queue = $5
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR outcome = $3)
ORDER BY finished_at DESC
LIMIT $4;

-- name: count_by_outcome
-- $1 namespace, $2 queue or NULL, $3 since.
SELECT outcome, count(*) AS executions
FROM jobqueue.executions
WHERE namespace = $1
  AND ($2::text IS NULL OR queue = $2)
  AND finished_at >= $3
GROUP BY outcome
ORDER BY outcome;
