-- Schedules as they are defined, and what was decided about each of their ticks.

CREATE TABLE jobqueue.schedules (
    namespace     text        NOT NULL,
    name          text        NOT NULL,
    version       integer     NOT NULL,   -- grows by one with each change; a put names the one it replaces
    state         text        NOT NULL,   -- active, paused, retired, removed
    source        text        NOT NULL,   -- code, runtime
    app           text,                   -- who declared it, where the source is code
    queue         text        NOT NULL,
    since_ms      bigint      NOT NULL,   -- its ticks are those after this, by the clock of Redis
    definition    json        NOT NULL,   -- json keeps the payload's text as it is, and \u0000, which jsonb refuses
    former        json,                   -- what counted up to since_ms
    former_active boolean     NOT NULL,
    created_at    timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    PRIMARY KEY (namespace, name)
);

-- Another number after every change, written in the transaction of the change: schedulers ask for it every 2 s.
CREATE TABLE jobqueue.schedule_revisions (
    namespace text   NOT NULL PRIMARY KEY,
    revision  bigint NOT NULL
);


CREATE TABLE jobqueue.schedule_ticks (
    record_id  bigint      GENERATED ALWAYS AS IDENTITY,
    namespace  text        NOT NULL,
    queue      text        NOT NULL,
    name       text        NOT NULL,
    version    integer     NOT NULL,
    decision   text        NOT NULL,   -- fired, skipped, waiting, run, backfilled
    reason     text        NOT NULL,
    tick_at    timestamptz NOT NULL,   -- the tick; of ticks skipped together, the last
    first_at   timestamptz NOT NULL,
    ticks      integer,                -- how many; null: more than 1000
    job_id     uuid,
    decided_at timestamptz NOT NULL,
    -- pages, newest first, of all; and what is to be dropped
    PRIMARY KEY (namespace, decided_at, record_id)
);

-- pages of one schedule, the newest record of each, and whether a record was shipped before a failover
CREATE INDEX schedule_ticks_of_name ON jobqueue.schedule_ticks (namespace, name, decided_at, record_id);
CREATE INDEX schedule_ticks_of_queue ON jobqueue.schedule_ticks (namespace, queue, decided_at, record_id);
-- pages of the rare decisions: nearly all ticks fire
CREATE INDEX schedule_ticks_not_fired ON jobqueue.schedule_ticks (namespace, decision, decided_at, record_id)
    WHERE decision <> 'fired';
-- whose job was made (PostgresTickRecords.fired)
CREATE INDEX schedule_ticks_made ON jobqueue.schedule_ticks (namespace, name, tick_at)
    WHERE decision IN ('fired', 'backfilled');

-- Delete up to 10 000 records of decisions that are older than now() - keep; says how many.
CREATE FUNCTION jobqueue.drop_ticks(namespace text, keep interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped integer;
BEGIN
    IF keep IS NULL OR keep < interval '1 day' THEN
        RAISE EXCEPTION 'records of ticks must be kept for at least a day, got %', keep USING ERRCODE = '22023';
    END IF;
    DELETE FROM jobqueue.schedule_ticks
    WHERE ctid = ANY(ARRAY(
        SELECT old.ctid
        FROM jobqueue.schedule_ticks AS old
        WHERE old.namespace = drop_ticks.namespace AND old.decided_at < now() - keep
        ORDER BY old.decided_at
        LIMIT 10000
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION jobqueue.drop_ticks(text, interval) FROM PUBLIC;

ALTER TABLE jobqueue.shipping_cursors
    DROP CONSTRAINT shipping_cursors_kind,
    ADD CONSTRAINT shipping_cursors_kind CHECK (kind IN ('journal', 'dead', 'ticks'));

INSERT INTO jobqueue.migrations (version, name) VALUES (8, 'schedules');
