-- The kept payloads are lost.

DROP INDEX jobqueue.dead_letters_of_type;
DROP INDEX jobqueue.dead_letters_of_queue;
DROP INDEX jobqueue.executions_newest_of_type;
DROP INDEX jobqueue.executions_words;
DROP FUNCTION jobqueue.words_query(text);
DROP FUNCTION jobqueue.words(text, text, text);
DROP FUNCTION jobqueue.plain_words(text);
ALTER TABLE jobqueue.executions DROP COLUMN payload;

DELETE FROM jobqueue.migrations WHERE version = 5;
