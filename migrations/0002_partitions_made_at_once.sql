-- Two sessions that make the partitions of one day at the same instant: the second waits for the first, and must
-- then see its tables. to_regclass answers from the session's cache, which a wait for an advisory lock does not
-- refresh, so that a session with a warm cache made the table again and failed; a query of pg_class sees it.

CREATE OR REPLACE FUNCTION jobqueue.ensure_partitions(days date[]) RETURNS integer
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
            PERFORM 1 FROM pg_class WHERE relname = part AND relnamespace = 'jobqueue'::regnamespace;
            CONTINUE WHEN FOUND;
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

INSERT INTO jobqueue.migrations (version, name) VALUES (2, 'partitions_made_at_once');
