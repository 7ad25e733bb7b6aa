-- name: page
-- $1 namespace, $2 queue, $3 type, $4 reason, $5 part of error class or message, $6 job id, $7 state,
-- $8 died before, $9 queues, $10 and $11 death and letter id of the last row of the page before; each NULL for any.
-- $12 limit.
SELECT letter_id, entry_id, queue, priority, job_id, body, reason, error_class, error_message, traceback,
       attempts, crashes, generation, unique_key, worker, type, state, died_at, requeue_generation, requeued_at
FROM jobqueue.dead_letters
WHERE namespace = $1
  AND ($2::text IS NULL OR queue = $2)
  AND ($3::text IS NULL OR type = $3)
  AND ($4::text IS NULL OR reason = $4)
  AND ($5::text IS NULL OR strpos(lower(error_class), lower($5)) > 0 OR strpos(lower(error_message), lower($5)) > 0)
  AND ($6::uuid IS NULL OR job_id = $6)
  AND ($7::text IS NULL OR state = $7)
  AND ($8::timestamptz IS NULL OR died_at < $8)
  AND ($9::text[] IS NULL OR queue = ANY($9))
  AND ($10::timestamptz IS NULL OR (died_at, letter_id) < ($10, $11::bigint))
ORDER BY died_at DESC, letter_id DESC
LIMIT $12;

-- name: plan_for_these
-- In this transaction, statements are planned for their arguments: most of them are NULL.
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: count
-- $1 to $9 as in page, $10 the most to be counted, or NULL.
SELECT count(*)
FROM (
    SELECT 1
    FROM jobqueue.dead_letters
    WHERE namespace = $1
      AND ($2::text IS NULL OR queue = $2)
      AND ($3::text IS NULL OR type = $3)
      AND ($4::text IS NULL OR reason = $4)
      AND ($5::text IS NULL OR strpos(lower(error_class), lower($5)) > 0 OR strpos(lower(error_message), lower($5)) > 0)
      AND ($6::uuid IS NULL OR job_id = $6)
      AND ($7::text IS NULL OR state = $7)
      AND ($8::timestamptz IS NULL OR died_at < $8)
      AND ($9::text[] IS NULL OR queue = ANY($9))
    LIMIT $10
) AS counted;

-- name: groups
-- $1 to $9 as in page, $10 limit. The last of each group is looked up when the groups are known.
WITH groups AS (
    SELECT type, queue, error_class, count(*) AS failures, min(died_at) AS first_at, max(died_at) AS last_at
    FROM jobqueue.dead_letters
    WHERE namespace = $1
      AND ($2::text IS NULL OR queue = $2)
      AND ($3::text IS NULL OR type = $3)
      AND ($4::text IS NULL OR reason = $4)
      AND ($5::text IS NULL OR strpos(lower(error_class), lower($5)) > 0 OR strpos(lower(error_message), lower($5)) > 0)
      AND ($6::uuid IS NULL OR job_id = $6)
      AND ($7::text IS NULL OR state = $7)
      AND ($8::timestamptz IS NULL OR died_at < $8)
      AND ($9::text[] IS NULL OR queue = ANY($9))
    GROUP BY type, queue, error_class
    ORDER BY failures DESC, last_at DESC, type, queue, error_class
    LIMIT $10
)
SELECT groups.*, last.error_message, last.job_id
FROM groups
CROSS JOIN LATERAL (
    SELECT error_message, job_id
    FROM jobqueue.dead_letters AS each
    WHERE each.namespace = $1 AND each.queue = groups.queue AND each.died_at = groups.last_at
      AND each.type = groups.type AND each.error_class = groups.error_class
    ORDER BY each.letter_id DESC
    LIMIT 1
) AS last
ORDER BY failures DESC, last_at DESC, type, queue, error_class;

-- name: get
-- The newest death that was not requeued, else the newest. $1 namespace, $2 job id, $3 queue or NULL for any.
SELECT letter_id, entry_id, queue, priority, job_id, body, reason, error_class, error_message, traceback,
       attempts, crashes, generation, unique_key, worker, type, state, died_at, requeue_generation, requeued_at
FROM jobqueue.dead_letters
WHERE namespace = $1 AND job_id = $2 AND ($3::text IS NULL OR queue = $3)
ORDER BY state = 'requeued', died_at DESC, letter_id DESC
LIMIT 1;

-- name: claim
-- Begin the way back of letters, or go on with one that began; a row for each that is not over, gone or edited.
-- Locked in one order, so that two callers wait for each other once. $1 letter ids, $2 sha256 of the bodies as read.
WITH mine AS MATERIALIZED (
    SELECT letters.letter_id
    FROM jobqueue.dead_letters AS letters
    JOIN unnest($1::bigint[], $2::bytea[]) AS read(letter_id, digest) ON read.letter_id = letters.letter_id
    WHERE letters.state <> 'requeued' AND sha256(letters.body) = read.digest
    ORDER BY letters.letter_id
    FOR UPDATE OF letters
)
UPDATE jobqueue.dead_letters
SET state = 'requeueing', requeue_generation = generation + 1, requeued_at = now()
WHERE letter_id IN (SELECT letter_id FROM mine)
RETURNING letter_id;

-- name: claim_edited
-- The same of one letter, with another body: the sweeper goes on with that one. Only one way back begins: no row when
-- one with another body has. $1 letter id, $2 sha256 of the body as read, $3 body, $4 payload.
UPDATE jobqueue.dead_letters
SET state = 'requeueing', requeue_generation = generation + 1, requeued_at = now(), body = $3, payload = $4
WHERE letter_id = $1 AND (state = 'dead' AND sha256(body) = $2 OR state = 'requeueing' AND body = $3)
RETURNING letter_id;

-- name: complete
-- The jobs are queued again; a row for the one caller who finished the way back of a letter. $1 letter ids.
WITH mine AS MATERIALIZED (
    SELECT letter_id
    FROM jobqueue.dead_letters
    WHERE letter_id = ANY($1::bigint[]) AND state <> 'requeued'
    ORDER BY letter_id
    FOR UPDATE
)
UPDATE jobqueue.dead_letters
SET state = 'requeued', requeue_generation = generation + 1, requeued_at = now()
WHERE letter_id IN (SELECT letter_id FROM mine)
RETURNING letter_id;

-- name: abandon
-- The job cannot be queued: the letter is dead again, with the body it died with. $1 letter id, $2 body and $3 payload,
-- NULL to leave them.
UPDATE jobqueue.dead_letters
SET state = 'dead', requeue_generation = NULL, requeued_at = NULL, body = coalesce($2, body),
    payload = CASE WHEN $2::bytea IS NULL THEN payload ELSE $3::json END
WHERE letter_id = $1 AND state = 'requeueing';

-- name: unfinished
-- Letters on their way back for longer than $2 (interval). $1 namespace, $3 limit.
SELECT letter_id, entry_id, queue, priority, job_id, body, reason, error_class, error_message, traceback,
       attempts, crashes, generation, unique_key, worker, type, state, died_at, requeue_generation, requeued_at
FROM jobqueue.dead_letters
WHERE namespace = $1 AND state = 'requeueing' AND requeued_at <= now() - $2::interval
ORDER BY requeued_at
LIMIT $3;

-- name: delete
-- Forget the newest dead one of a job and count it as purged, both or none. $1 namespace, $2 job id, $3 queue or NULL.
WITH gone AS (
    DELETE FROM jobqueue.dead_letters
    WHERE state = 'dead' AND letter_id = (
        SELECT letter_id
        FROM jobqueue.dead_letters
        WHERE namespace = $1 AND job_id = $2 AND state = 'dead' AND ($3::text IS NULL OR queue = $3)
        ORDER BY died_at DESC, letter_id DESC
        LIMIT 1
    )
    RETURNING namespace, queue, epoch
)
INSERT INTO jobqueue.shipping_cursors AS cursors (namespace, queue, kind, epoch, purged)
SELECT namespace, queue, 'dead', epoch, 1 FROM gone
ON CONFLICT (namespace, queue, kind, epoch) DO UPDATE SET purged = cursors.purged + 1
RETURNING 1;

-- name: delete_where
-- One bounded bite, counted as purged. $1 to $9 as in page, $10 limit.
WITH chosen AS MATERIALIZED (
    SELECT letter_id
    FROM jobqueue.dead_letters
    WHERE namespace = $1
      AND ($2::text IS NULL OR queue = $2)
      AND ($3::text IS NULL OR type = $3)
      AND ($4::text IS NULL OR reason = $4)
      AND ($5::text IS NULL OR strpos(lower(error_class), lower($5)) > 0 OR strpos(lower(error_message), lower($5)) > 0)
      AND ($6::uuid IS NULL OR job_id = $6)
      AND ($7::text IS NULL OR state = $7)
      AND ($8::timestamptz IS NULL OR died_at < $8)
      AND ($9::text[] IS NULL OR queue = ANY($9))
      AND state = 'dead'
    ORDER BY died_at DESC, letter_id DESC
    LIMIT $10
    FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM jobqueue.dead_letters
    WHERE letter_id IN (SELECT letter_id FROM chosen)
    RETURNING namespace, queue, epoch
),
purged AS (
    INSERT INTO jobqueue.shipping_cursors AS cursors (namespace, queue, kind, epoch, purged)
    SELECT namespace, queue, 'dead', epoch, count(*) FROM gone GROUP BY namespace, queue, epoch ORDER BY queue, epoch
    ON CONFLICT (namespace, queue, kind, epoch) DO UPDATE SET purged = cursors.purged + excluded.purged
)
SELECT count(*) FROM gone;

-- name: accounted
-- $1 namespace, $2 queue, $3 epoch or NULL for all.
SELECT
    (SELECT count(*) FROM jobqueue.dead_letters
     WHERE namespace = $1 AND queue = $2 AND state <> 'requeued' AND ($3::text IS NULL OR epoch = $3)) AS waiting,
    (SELECT coalesce(sum(purged), 0)::bigint FROM jobqueue.shipping_cursors
     WHERE namespace = $1 AND queue = $2 AND kind = 'dead' AND ($3::text IS NULL OR epoch = $3)) AS purged;
