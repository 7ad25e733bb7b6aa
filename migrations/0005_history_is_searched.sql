-- The payload of jobs that ended stays in their history, and is searched with the errors.
--
-- Writing history stops while the indexes are built (about 2 s for a million rows): it waits in Redis, and jobs run on.

ALTER TABLE jobqueue.executions
    ADD COLUMN payload text;  -- JSON as it travelled; of the attempt that ended the job, and only up to a size

-- The words to be found: letters and digits, in lower case. Each replace() costs less than 0.1 µs, and keeps the parser
-- from taking an address, a file, a date or a tag for one word, and an escape for a letter. Raises for no text at all.
CREATE FUNCTION jobqueue.plain_words(text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT replace(replace(replace(replace(replace(replace(replace(replace(
        $1, '\n', ' '), '\t', ' '), '\r', ' '), '@', ' '), '.', ' '), '-', ' '), '/', ' '), '<', ' ')
$$;

CREATE FUNCTION jobqueue.words(payload text, error_class text, error_message text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT to_tsvector('pg_catalog.simple'::regconfig, jobqueue.plain_words(left(
        coalesce($1, '') || ' ' || coalesce($2, '') || ' ' || coalesce($3, ''), 8192)))
$$;

-- Each word, and the last one as the beginning of a word; NULL where there is no word.
CREATE FUNCTION jobqueue.words_query(text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (nullif(plainto_tsquery('pg_catalog.simple'::regconfig, jobqueue.plain_words(left($1, 200)))::text, '')
            || ':*')::tsquery
$$;

-- text in payload or error (PostgresExecutions.search); nothing is paid where neither is kept
CREATE INDEX executions_words ON jobqueue.executions
    USING gin (jobqueue.words(payload, error_class, error_message))
    WHERE payload IS NOT NULL OR error_message IS NOT NULL;
-- the newest of one task
CREATE INDEX executions_newest_of_type ON jobqueue.executions (namespace, type, finished_at);

-- dead letters of one queue, and of one task (PostgresDeadLetters.list, groups, requeue_where, delete_where)
CREATE INDEX dead_letters_of_queue ON jobqueue.dead_letters (namespace, queue, died_at, letter_id);
CREATE INDEX dead_letters_of_type ON jobqueue.dead_letters (namespace, type, died_at, letter_id);

INSERT INTO jobqueue.migrations (version, name) VALUES (5, 'history_is_searched');
