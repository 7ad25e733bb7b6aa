-- How many executions ended in each minute, written with the rows: statistics need not read every row.
--
-- The rows that are there already are counted: 1 to 5 s for a million of them. Meanwhile writing history waits in
-- Redis, and jobs run on. Where that is too long, run this file by psql without its next to last statement, and then
-- for a day at a time, the newest first, SELECT jobqueue.recount_minutes('2026-11-21', '2026-11-22').
-- What a shipper of an older version writes after this is missing in the minutes: when the last of those has stopped,
-- recount the days since.

CREATE TABLE jobqueue.execution_minutes (
    minute     timestamptz NOT NULL,  -- of finished_at
    namespace  text        NOT NULL,
    queue      text        NOT NULL,
    outcome    text        NOT NULL,
    took       smallint    NOT NULL,  -- jobqueue.duration_class of the completed ones; 0 for the others
    failed     boolean     NOT NULL,
    executions bigint      NOT NULL,
    PRIMARY KEY (minute, namespace, queue, outcome, took)
) WITH (fillfactor = 70);  -- the rows of this minute are updated every second or so, in place


-- How many of these limits (ms) a duration has reached. jobqueue/repository/postgres/minute.py has the same ones.
CREATE FUNCTION jobqueue.duration_class(duration_ms double precision) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT width_bucket($1, ARRAY[
        0.1, 0.125, 0.16, 0.2, 0.25, 0.32, 0.4, 0.5, 0.63, 0.8,
        1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8,
        10, 12.5, 16, 20, 25, 32, 40, 50, 63, 80,
        100, 125, 160, 200, 250, 320, 400, 500, 630, 800,
        1000, 1250, 1600, 2000, 2500, 3200, 4000, 5000, 6300, 8000,
        10000, 12500, 16000, 20000, 25000, 32000, 40000, 50000, 63000, 80000,
        100000, 125000, 160000, 200000, 250000, 320000, 400000, 500000, 630000, 800000,
        1000000, 1250000, 1600000, 2000000, 2500000, 3200000, 4000000, 5000000, 6300000, 8000000,
        10000000, 12500000, 16000000, 20000000, 25000000, 32000000, 40000000, 50000000, 63000000, 80000000,
        100000000
    ]::double precision[])::smallint
$$;

-- Count the minutes from $1 to before $2, both whole minutes, again, in all namespaces; says how many executions it
-- counted. For the owner: history is not written meanwhile.
CREATE FUNCTION jobqueue.recount_minutes(since timestamptz, until timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counted bigint;
BEGIN
    IF since <> date_trunc('minute', since, 'UTC') OR until <> date_trunc('minute', until, 'UTC') THEN
        RAISE EXCEPTION 'only whole minutes can be counted, not % to %', since, until USING ERRCODE = '22023';
    END IF;
    LOCK TABLE jobqueue.executions IN SHARE MODE;
    DELETE FROM jobqueue.execution_minutes AS known WHERE known.minute >= since AND known.minute < until;
    INSERT INTO jobqueue.execution_minutes (minute, namespace, queue, outcome, took, failed, executions)
    SELECT date_bin('1 minute', finished_at, '2000-01-01 00:00:00+00') AS at, each.namespace, left(each.queue, 200), left(each.outcome, 200),
           CASE WHEN each.outcome = 'completed' THEN jobqueue.duration_class(duration_ms) ELSE 0 END AS class,
           bool_or(each.failed), count(*)
    FROM jobqueue.executions AS each
    WHERE finished_at >= since AND finished_at < until
    GROUP BY at, each.namespace, left(each.queue, 200), left(each.outcome, 200), class;
    SELECT coalesce(sum(executions), 0) INTO counted
    FROM jobqueue.execution_minutes AS known WHERE known.minute >= since AND known.minute < until;
    RETURN counted;
END
$$;

-- Delete up to 10 000 rows of the days that drop_partitions has dropped; says how many.
CREATE FUNCTION jobqueue.drop_minutes(failed boolean, keep interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped integer;
BEGIN
    IF keep IS NULL OR keep < interval '1 day' THEN
        RAISE EXCEPTION 'executions must be kept for at least a day, got %', keep USING ERRCODE = '22023';
    END IF;
    DELETE FROM jobqueue.execution_minutes
    WHERE ctid = ANY(ARRAY(
        SELECT old.ctid
        FROM jobqueue.execution_minutes AS old
        WHERE old.failed = drop_minutes.failed AND old.minute < date_trunc('day', now() - keep, 'UTC')
        LIMIT 10000
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION jobqueue.recount_minutes(timestamptz, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION jobqueue.drop_minutes(boolean, interval) FROM PUBLIC;

SELECT jobqueue.recount_minutes('-infinity', 'infinity');

INSERT INTO jobqueue.migrations (version, name) VALUES (7, 'history_by_the_minute');
