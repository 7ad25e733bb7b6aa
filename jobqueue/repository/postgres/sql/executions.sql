-- name: of_job
-- $1 namespace, $2 job id.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback, payload
FROM jobqueue.executions
WHERE namespace = $1 AND job_id = $2
ORDER BY generation, attempt, finished_at;

-- name: newest_of_jobs
-- $1 namespace, $2 job ids. The last row of each in each queue, without its payload.
SELECT DISTINCT ON (job_id, queue)
       job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback, NULL AS payload
FROM jobqueue.executions
WHERE namespace = $1 AND job_id = ANY($2::uuid[])
ORDER BY job_id, queue, generation DESC, finished_at DESC, attempt DESC;

-- name: recent
-- $1 namespace, $2 type or NULL, $3 outcome or NULL, $4 limit.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback, payload
FROM jobqueue.executions
WHERE namespace = $1
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR outcome = $3)
ORDER BY finished_at DESC
LIMIT $4;

-- name: recent_of_queue
-- $1 namespace, $2 type or NULL, $3 outcome or NULL, $4 limit, $5 queue.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker,
       queued_at, started_at, duration_ms, error_class, error_message, traceback, payload
FROM jobqueue.executions
WHERE namespace = $1 AND queue = $5
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR outcome = $3)
ORDER BY finished_at DESC
LIMIT $4;

-- name: count_by_outcome
-- $1 namespace, $2 queue or NULL, $3 since, $4 the first whole minute from then on: what ended before it is counted
-- by the row.
SELECT outcome, sum(executions)::bigint AS executions
FROM (
    SELECT outcome, executions
    FROM jobqueue.execution_minutes
    WHERE namespace = $1 AND ($2::text IS NULL OR queue = $2) AND minute >= $4
    UNION ALL
    SELECT outcome, 1
    FROM jobqueue.executions
    WHERE namespace = $1 AND ($2::text IS NULL OR queue = $2) AND finished_at >= $3 AND finished_at < $4
) AS ended
GROUP BY outcome
ORDER BY outcome;

-- name: plan_for_these
-- In this transaction, statements are planned for their arguments: most of them are NULL.
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: search
-- $1 namespace, $2 type, $3 outcomes, $4 failed, $5 since, $6 until, $7 to $10 end, job id, generation and attempt of
-- the last row of the page before, $11 queue; each NULL for any. $12 limit.
SELECT job_id, queue, type, priority, generation, attempt, outcome, worker, finished_at,
       queued_at, started_at, duration_ms, error_class, error_message, traceback, payload
FROM jobqueue.executions
WHERE namespace = $1
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text[] IS NULL OR outcome = ANY($3))
  AND ($4::boolean IS NULL OR failed = $4)
  AND ($5::timestamptz IS NULL OR finished_at >= $5)
  AND ($6::timestamptz IS NULL OR finished_at < $6)
  AND ($7::timestamptz IS NULL OR finished_at <= $7)
  AND ($7::timestamptz IS NULL OR (finished_at, job_id, generation, attempt) < ($7, $8::uuid, $9::integer, $10::integer))
  AND ($11::text IS NULL OR queue = $11)
ORDER BY finished_at DESC, job_id DESC, generation DESC, attempt DESC
LIMIT $12;

-- name: search_newest
-- Words among the newest rows only: a bounded walk that finds what is frequent.
-- $1 to $10 as in search, $11 queues or NULL, $12 limit, $13 words, $14 how many rows to look at.
SELECT *
FROM (
    SELECT job_id, queue, type, priority, generation, attempt, outcome, worker, finished_at, failed,
           queued_at, started_at, duration_ms, error_class, error_message, traceback, payload
    FROM jobqueue.executions
    WHERE namespace = $1
      AND ($5::timestamptz IS NULL OR finished_at >= $5)
      AND ($6::timestamptz IS NULL OR finished_at < $6)
      AND ($7::timestamptz IS NULL OR finished_at <= $7)
    ORDER BY finished_at DESC
    LIMIT $14
) AS newest
WHERE (payload IS NOT NULL OR error_message IS NOT NULL)
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text[] IS NULL OR outcome = ANY($3))
  AND ($4::boolean IS NULL OR failed = $4)
  AND ($7::timestamptz IS NULL OR (finished_at, job_id, generation, attempt) < ($7, $8::uuid, $9::integer, $10::integer))
  AND ($11::text[] IS NULL OR queue = ANY($11))
  AND jobqueue.words(payload, error_class, error_message) @@ jobqueue.words_query($13)
ORDER BY finished_at DESC, job_id DESC, generation DESC, attempt DESC
LIMIT $12;

-- name: search_words
-- Words in all rows, by their index: for what is rare. Materialized, or the walk of `search` would seem cheaper.
-- $1 to $13 as in search_newest.
WITH found AS MATERIALIZED (
    SELECT job_id, queue, type, priority, generation, attempt, outcome, worker, finished_at,
           queued_at, started_at, duration_ms, error_class, error_message, traceback, payload
    FROM jobqueue.executions
    WHERE namespace = $1
      AND (payload IS NOT NULL OR error_message IS NOT NULL)
      AND jobqueue.words(payload, error_class, error_message) @@ jobqueue.words_query($13)
      AND ($2::text IS NULL OR type = $2)
      AND ($3::text[] IS NULL OR outcome = ANY($3))
      AND ($4::boolean IS NULL OR failed = $4)
      AND ($5::timestamptz IS NULL OR finished_at >= $5)
      AND ($6::timestamptz IS NULL OR finished_at < $6)
      AND ($7::timestamptz IS NULL OR finished_at <= $7)
      AND ($7::timestamptz IS NULL
           OR (finished_at, job_id, generation, attempt) < ($7, $8::uuid, $9::integer, $10::integer))
      AND ($11::text[] IS NULL OR queue = ANY($11))
)
SELECT * FROM found
ORDER BY finished_at DESC, job_id DESC, generation DESC, attempt DESC
LIMIT $12;

-- name: series
-- By span, outcome and class of duration. $1 namespace, $2 queues or NULL, $3 since, $4 until, $5 bucket, interval.
SELECT date_bin($5::interval, minute, $3::timestamptz) AS at, outcome, took, sum(executions)::bigint AS executions
FROM jobqueue.execution_minutes
WHERE namespace = $1 AND minute >= $3 AND minute < $4
  AND ($2::text[] IS NULL OR queue = ANY($2))
GROUP BY at, outcome, took
ORDER BY at, took;

-- name: series_of_rows
-- $1 namespace, $2 queues or NULL, $3 since, $4 until, $5 bucket, interval.
SELECT date_bin($5::interval, finished_at, $3::timestamptz) AS at, outcome, count(*) AS executions,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE outcome = 'completed')
           AS quantiles
FROM jobqueue.executions
WHERE namespace = $1 AND finished_at >= $3 AND finished_at < $4
  AND ($2::text[] IS NULL OR queue = ANY($2))
GROUP BY at, outcome
ORDER BY at;

-- name: errors
-- $1 namespace, $2 queues or NULL, $3 since, $4 limit. The last of each group is looked up when the groups are known.
WITH groups AS (
    SELECT type, queue, error_class, count(*) AS failures, min(finished_at) AS first_at, max(finished_at) AS last_at
    FROM jobqueue.executions
    WHERE namespace = $1 AND failed AND finished_at >= $3 AND error_class IS NOT NULL
      AND ($2::text[] IS NULL OR queue = ANY($2))
    GROUP BY type, queue, error_class
    ORDER BY failures DESC, last_at DESC
    LIMIT $4
)
SELECT groups.*, last.error_message, last.job_id
FROM groups
CROSS JOIN LATERAL (
    SELECT error_message, job_id
    FROM jobqueue.executions AS each
    WHERE each.namespace = $1 AND each.failed AND each.finished_at = groups.last_at
      AND each.queue = groups.queue AND each.type = groups.type AND each.error_class = groups.error_class
    LIMIT 1
) AS last
ORDER BY failures DESC, last_at DESC;
