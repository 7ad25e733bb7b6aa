-- name: plan_for_these
-- In this transaction, statements are planned for their arguments: most of them are NULL.
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: page
-- Newest decision first. $1 namespace, $2 schedule, $3 queue, $4 decision, $5 since and $6 until, of the tick, $7 and $8
-- decided at and record id of the last row of the page before; each NULL for any. $9 limit.
SELECT record_id, queue, name, version, decision, reason, tick_at, first_at, ticks, job_id, decided_at
FROM jobqueue.schedule_ticks
WHERE namespace = $1
  AND ($2::text IS NULL OR name = $2)
  AND ($3::text IS NULL OR queue = $3)
  AND ($4::text IS NULL OR decision = $4)
  AND ($5::timestamptz IS NULL OR tick_at >= $5)
  AND ($6::timestamptz IS NULL OR tick_at < $6)
  AND ($7::timestamptz IS NULL OR (decided_at, record_id) < ($7, $8))
ORDER BY decided_at DESC, record_id DESC
LIMIT $9;

-- name: asked_for
-- $1 namespace, $2 queue, $3 job, $4 since and $5 until, of the decision.
SELECT name
FROM jobqueue.schedule_ticks
WHERE namespace = $1 AND decision = 'run' AND decided_at >= $4 AND decided_at < $5 AND queue = $2 AND job_id = $3
LIMIT 1;

-- name: newest
-- $1 namespace, $2 schedules.
SELECT newest.*
FROM unnest($2::text[]) AS wanted (name)
CROSS JOIN LATERAL (
    SELECT record_id, queue, name, version, decision, reason, tick_at, first_at, ticks, job_id, decided_at
    FROM jobqueue.schedule_ticks AS each
    WHERE each.namespace = $1 AND each.name = wanted.name
    ORDER BY each.decided_at DESC, each.record_id DESC
    LIMIT 1
) AS newest;

-- name: fired
-- $1 namespace, $2 schedule, $3 since, $4 until.
SELECT DISTINCT tick_at
FROM jobqueue.schedule_ticks
WHERE namespace = $1 AND name = $2 AND tick_at >= $3 AND tick_at < $4 AND decision IN ('fired', 'backfilled');
