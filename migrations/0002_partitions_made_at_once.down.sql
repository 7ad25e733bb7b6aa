-- The function of 0001 again.

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

DELETE FROM jobqueue.migrations WHERE version = 2;
