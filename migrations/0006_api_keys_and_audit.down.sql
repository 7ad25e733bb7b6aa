-- All API keys and the audit log are lost.

DROP FUNCTION jobqueue.drop_audit(interval);
DROP TABLE jobqueue.audit;
DROP FUNCTION jobqueue.keep_audit();
DROP TABLE jobqueue.api_keys;

DELETE FROM jobqueue.migrations WHERE version = 6;
