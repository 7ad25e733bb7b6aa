-- History (executions), dead letters, and the cursors of what was shipped here from Redis.
--
-- Run by `jobqueue migrate up`, or by hand, in one transaction:
--     psql --single-transaction -v ON_ERROR_STOP=1 -f 0001_history_and_dead_letters.sql
-- The grants of a least-privilege role stand in docs/reference/sql-schema.md.

CREATE SCHEMA IF NOT EXISTS jobqueue;

-- One row per applied migration, written by the migration itself: the same by psql and by the runner.
-- The runner adds the checksum of the file; without one it was applied by psql.
CREATE TABLE IF NOT EXISTS jobqueue.migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);


-- One row per attempt. Partitioned by failure, because failures are kept longer, then by day (UTC), because
-- dropping a day costs nothing and deleting its rows would. No unique index: the shipper is exactly-once.
CREATE TABLE jobqueue.executions (
    failed        boolean          NOT NULL,  -- every outcome but completed, snoozed and released
    finished_at   timestamptz      NOT NULL,
    namespace     text             NOT NULL,
    queue         text             NOT NULL,
    job_id        uuid             NOT NULL,
    type          text             NOT NULL,
    priority      text             NOT NULL,
    generation    integer          NOT NULL,  -- how often the job had come back from the dead letters
    attempt       integer          NOT NULL,  -- 0: it ended without having run
    outcome       text             NOT NULL,
    worker        text             NOT NULL,
    queued_at     timestamptz,
    started_at    timestamptz,
    duration_ms   double precision NOT NULL,
    error_class   text,
    error_message text,
    traceback     text
) PARTITION BY LIST (failed);

CREATE TABLE jobqueue.executions_succeeded PARTITION OF jobqueue.executions
    FOR VALUES IN (false) PARTITION BY RANGE (finished_at);
CREATE TABLE jobqueue.executions_failed PARTITION OF jobqueue.executions
    FOR VALUES IN (true) PARTITION BY RANGE (finished_at);

-- every attempt of one job (PostgresExecutions.of_job)
CREATE INDEX executions_of_job ON jobqueue.executions (job_id);
-- the newest of all queues (PostgresExecutions.recent), and counts since an instant (count_by_outcome)
CREATE INDEX executions_recent ON jobqueue.executions (namespace, finished_at DESC);
-- the same of one queue
CREATE INDEX executions_recent_of_queue ON jobqueue.executions (namespace, queue, finished_at DESC);


CREATE TABLE jobqueue.dead_letters (
    letter_id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace          text        NOT NULL,
    queue              text        NOT NULL,
    epoch              text        NOT NULL,  -- which life of the Redis data; entry_id is unique in it
    entry_id           text        NOT NULL,
    job_id             uuid        NOT NULL,
    generation         integer     NOT NULL,
    type               text        NOT NULL,
    priority           text        NOT NULL,
    body               bytea       NOT NULL,  -- the job exactly as it travelled; this is what is requeued
    payload            json,                  -- its arguments for human eyes; json, since jsonb refuses \u0000
    reason             text        NOT NULL,
    error_class        text        NOT NULL,
    error_message      text        NOT NULL,
    traceback          text        NOT NULL,
    attempts           integer     NOT NULL,
    crashes            integer     NOT NULL,
    unique_key         text,
    worker             text        NOT NULL,
    died_at            timestamptz NOT NULL,
    state              text        NOT NULL DEFAULT 'dead',
    requeue_generation integer,
    requeued_at        timestamptz,           -- when the way back began, in the end when it was over
    CONSTRAINT dead_letters_state CHECK (state IN ('dead', 'requeueing', 'requeued'))
);

-- pages, newest death first (PostgresDeadLetters.list)
CREATE INDEX dead_letters_recent ON jobqueue.dead_letters (namespace, died_at DESC, letter_id DESC);
-- the deaths of one job (get, requeue, delete)
CREATE INDEX dead_letters_of_job ON jobqueue.dead_letters (job_id);
-- requeues left unfinished by a crash (finish_requeues), and requeued letters past their time (retire)
CREATE INDEX dead_letters_on_their_way ON jobqueue.dead_letters (state, requeued_at) WHERE state <> 'dead';


-- How far each stream of each queue was shipped. Moved in the transaction that writes the rows.
CREATE TABLE jobqueue.shipping_cursors (
    namespace text        NOT NULL,
    queue     text        NOT NULL,
    kind      text        NOT NULL,
    epoch     text        NOT NULL,
    position  text        NOT NULL DEFAULT '0-0',
    purged    bigint      NOT NULL DEFAULT 0,   -- dead letters of this epoch deleted by hand (invariant I2)
    moved_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (namespace, queue, kind, epoch),
    CONSTRAINT shipping_cursors_kind CHECK (kind IN ('journal', 'dead'))
);


-- Make the partitions of these days (UTC) where they are missing; says how many tables it made.
-- With the rights of the owner, so that the role that ships need not own a table.
-- CREATE + ATTACH and not PARTITION OF: attaching lets reading and writing of the other days go on.
CREATE FUNCTION jobqueue.ensure_partitions(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parent text;
    day    date;
    part   text;
    made   integer := 0;
BEGIN
    PERFORM 1 FROM unnest(days) AS each(day), unnest(ARRAY['succeeded', 'failed']) AS half(name)
        WHERE to_regclass(format('jobqueue.executions_%s_%s', half.name, to_char(each.day, 'YYYYMMDD'))) IS NULL;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(7453010700000001);  -- one maker or dropper at a time
    FOREACH day IN ARRAY days LOOP
        FOREACH parent IN ARRAY ARRAY['executions_succeeded', 'executions_failed'] LOOP
            part := parent || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass('jobqueue.' || part) IS NOT NULL;
            EXECUTE format('CREATE TABLE jobqueue.%I (LIKE jobqueue.%I INCLUDING ALL)', part, parent);
            EXECUTE format(
                'ALTER TABLE jobqueue.%I ATTACH PARTITION jobqueue.%I FOR VALUES FROM (%L) TO (%L)',
                parent, part,
                to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00'
            );
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- Drop the days of one half that lie wholly before now - keep; says how many tables it dropped.
-- Tables that somebody attached under another name are left alone. It gives up soon when somebody reads the
-- table, since all who write would queue up behind it.
CREATE FUNCTION jobqueue.drop_partitions(failed boolean, keep interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
DECLARE
    parent  text := CASE WHEN failed THEN 'executions_failed' ELSE 'executions_succeeded' END;
    part    text;
    dropped integer := 0;
BEGIN
    IF keep IS NULL OR keep < interval '1 day' THEN
        RAISE EXCEPTION 'executions must be kept for at least a day, got %', keep USING ERRCODE = '22023';
    END IF;
    PERFORM pg_advisory_xact_lock(7453010700000001);
    FOR part IN
        SELECT child.relname
        FROM pg_inherits
        JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = to_regclass('jobqueue.' || parent)
          AND child.relname ~ ('^' || parent || '_[0-9]{8}$')
          AND to_date(right(child.relname, 8), 'YYYYMMDD') < ((now() - keep) AT TIME ZONE 'UTC')::date
    LOOP
        EXECUTE format('DROP TABLE jobqueue.%I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION jobqueue.ensure_partitions(date[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION jobqueue.drop_partitions(boolean, interval) FROM PUBLIC;

INSERT INTO jobqueue.migrations (version, name) VALUES (1, 'history_and_dead_letters');
