-- name: get
-- $1 namespace, $2 name.
SELECT name, version, state, source, app, since_ms, definition, former, former_active, created_at, changed_at
FROM jobqueue.schedules
WHERE namespace = $1 AND name = $2;

-- name: list
-- $1 namespace.
SELECT name, version, state, source, app, since_ms, definition, former, former_active, created_at, changed_at
FROM jobqueue.schedules
WHERE namespace = $1
ORDER BY name COLLATE "C";

-- name: revision
-- $1 namespace.
SELECT revision FROM jobqueue.schedule_revisions WHERE namespace = $1;

-- name: add
-- No row when the name is known. $1 namespace, $2 name, $3 version, $4 state, $5 source, $6 app, $7 queue, $8 since,
-- ms, $9 definition, $10 former, $11 former active, $12 created at, $13 changed at.
INSERT INTO jobqueue.schedules (namespace, name, version, state, source, app, queue, since_ms, definition, former,
                                former_active, created_at, changed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: change
-- No row when another version is kept. $1 to $13 as in add, $14 the version that is replaced.
UPDATE jobqueue.schedules
SET version = $3, state = $4, source = $5, app = $6, queue = $7, since_ms = $8, definition = $9, former = $10,
    former_active = $11, created_at = $12, changed_at = $13
WHERE namespace = $1 AND name = $2 AND version = $14
RETURNING name;

-- name: forget
-- No row when another version is kept. $1 namespace, $2 name, $3 version.
DELETE FROM jobqueue.schedules
WHERE namespace = $1 AND name = $2 AND version = $3
RETURNING name;

-- name: add_missing
-- Those whose names are not known; a row for each. $1 namespace, the others as in add, of each schedule one.
INSERT INTO jobqueue.schedules (namespace, name, version, state, source, app, queue, since_ms, definition, former,
                                former_active, created_at, changed_at)
SELECT $1, more.name, more.version, more.state, more.source, more.app, more.queue, more.since_ms,
       more.definition::json, more.former::json, more.former_active, more.created_at, more.changed_at
FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[],
            $10::text[], $11::boolean[], $12::timestamptz[], $13::timestamptz[])
     AS more (name, version, state, source, app, queue, since_ms, definition, former, former_active, created_at,
              changed_at)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: revise
-- After the change, so that who reads the number sees the change; one after the other, in the order of their commits.
-- By the clock, and not by one: after a failover that lost changes, others must not come to the same number. $1 namespace.
INSERT INTO jobqueue.schedule_revisions AS known (namespace, revision)
VALUES ($1, date_part('epoch', clock_timestamp()) * 1000000)
ON CONFLICT (namespace) DO UPDATE SET revision = greatest(known.revision + 1, excluded.revision);

-- name: count
-- $1 namespace.
SELECT count(*) FROM jobqueue.schedules WHERE namespace = $1;
