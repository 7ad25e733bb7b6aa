-- name: append
-- $1 namespace, $2 at, $3 actor, $4 action, $5 target, $6 detail, $7 address, $8 request id.
INSERT INTO jobqueue.audit (namespace, at, actor, action, target, detail, address, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: page
-- $1 namespace, $2 actor, $3 action, $4 target, $5 entry id of the last row of the page before; each NULL for any.
-- $6 limit.
SELECT entry_id, at, actor, action, target, detail, address, request_id
FROM jobqueue.audit
WHERE namespace = $1
  AND ($2::text IS NULL OR actor = $2)
  AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR target = $4)
  AND ($5::bigint IS NULL OR entry_id < $5)
ORDER BY entry_id DESC
LIMIT $6;
