-- name: add
-- $1 namespace, $2 id, $3 name, $4 kind, $5 scopes, $6 queues, $7 digest, $8 created at, $9 created by,
-- $10 expires at, $11 revoked at, $12 last used at, $13 rate. No row when the id is taken.
INSERT INTO jobqueue.api_keys (namespace, id, name, kind, scopes, queues, digest, created_at, created_by,
                               expires_at, revoked_at, last_used_at, rate)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: get
-- $1 namespace, $2 id.
SELECT id, name, kind, scopes, queues, digest, created_at, created_by, expires_at, revoked_at, last_used_at, rate
FROM jobqueue.api_keys
WHERE namespace = $1 AND id = $2;

-- name: list
-- $1 namespace.
SELECT id, name, kind, scopes, queues, digest, created_at, created_by, expires_at, revoked_at, last_used_at, rate
FROM jobqueue.api_keys
WHERE namespace = $1
ORDER BY created_at DESC, id COLLATE "C" DESC;

-- name: any
-- $1 namespace.
SELECT EXISTS (SELECT FROM jobqueue.api_keys WHERE namespace = $1);

-- name: revoke
-- The earlier of two revocations holds; no row when there is no such key. $1 namespace, $2 id, $3 void from.
UPDATE jobqueue.api_keys
SET revoked_at = least(revoked_at, $3)
WHERE namespace = $1 AND id = $2
RETURNING id;

-- name: used
-- What is older than the note changes nothing. $1 namespace, $2 ids, $3 last used, one each.
UPDATE jobqueue.api_keys AS key
SET last_used_at = used.at
FROM unnest($2::text[], $3::timestamptz[]) AS used (id, at)
WHERE key.namespace = $1 AND key.id = used.id AND (key.last_used_at IS NULL OR key.last_used_at < used.at);
