-- name: page
-- $1 namespace, $2 queue, $3 type, $4 reason, $5 part of error class or message, $6 job id, $7 state,
-- $8 died before, $9 and $10 death and letter id of the last row of the page before; each NULL for any.
-- $11 limit.
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
  AND ($9::timestamptz IS NULL OR (died_at, letter_id) < ($9, $10::bigint))
ORDER BY died_at DESC, letter_id DESC
LIMIT $11;

-- name: count
-- $1 to $8 as in page.
SELECT count(*)
FROM jobqueue.dead_letters
WHERE namespace = $1
  AND ($2::text IS NULL OR queue = $2)
  AND ($3::text IS NULL OR type = $3)
  AND ($4::text IS NULL OR reason = $4)
  AND ($5::text IS NULL OR strpos(lower(error_class), lower($5)) > 0 OR strpos(lower(error_message), lower($5)) > 0)
  AND ($6::uuid IS NULL OR job_id = $6)
  AND ($7::text IS NULL OR state = $7)
  AND ($8::timestamptz IS NULL OR died_at < $8);

-- name: get
-- The newest death that was not requeued, else the newest. $1 namespace, $2 job id.
SELECT letter_id, entry_id, queue, priority, job_id, body, reason, error_class, error_message, traceback,
       attempts, crashes, generation, unique_key, worker, type, state, died_at, requeue_generation, requeued_at
FROM jobqueue.dead_letters
WHERE namespace = $1 AND job_id = $2
ORDER BY state = 'requeued', died_at DESC, letter_id DESC
LIMIT 1;

-- name: claim
-- Begin the way back, or go on with one that began; no row when it is over or the letter is gone. $1 letter id.
UPDATE jobqueue.dead_letters
SET state = 'requeueing', requeue_generation = generation + 1, requeued_at = now()
WHERE letter_id = $1 AND state <> 'requeued'
RETURNING letter_id;

-- name: complete
-- The job is queued again; a row for the one caller who finished the way back. $1 letter id.
UPDATE jobqueue.dead_letters
SET state = 'requeued', requeue_generation = generation + 1, requeued_at = now()
WHERE letter_id = $1 AND state <> 'requeued'
RETURNING letter_id;

-- name: abandon
-- The job cannot be queued: the letter is dead again. $1 letter id.
UPDATE jobqueue.dead_letters
SET state = 'dead', requeue_generation = NULL, requeued_at = NULL
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
-- Forget the newest dead one of a job and count it as purged, both or none. $1 namespace, $2 job id.
WITH gone AS (
    DELETE FROM jobqueue.dead_letters
    WHERE state = 'dead' AND letter_id = (
        SELECT letter_id
        FROM jobqueue.dead_letters
        WHERE namespace = $1 AND job_id = $2 AND state = 'dead'
        ORDER BY died_at DESC, letter_id DESC
        LIMIT 1
    )
    RETURNING namespace, queue, epoch
)
INSERT INTO jobqueue.shipping_cursors AS cursors (namespace, queue, kind, epoch, purged)
SELECT namespace, queue, 'dead', epoch, 1 FROM gone
ON CONFLICT (namespace, queue, kind, epoch) DO UPDATE SET purged = cursors.purged + 1
RETURNING 1;

-- name: accounted
-- $1 namespace, $2 queue, $3 epoch or NULL for all.
SELECT
    (SELECT count(*) FROM jobqueue.dead_letters
     WHERE namespace = $1 AND queue = $2 AND state <> 'requeued' AND ($3::text IS NULL OR epoch = $3)) AS waiting,
    (SELECT coalesce(sum(purged), 0)::bigint FROM jobqueue.shipping_cursors
     WHERE namespace = $1 AND queue = $2 AND kind = 'dead' AND ($3::text IS NULL OR epoch = $3)) AS purged;
