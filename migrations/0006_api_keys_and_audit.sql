-- API keys, of which only the SHA-256 of the secret is kept, and the audit log, which only grows.

CREATE TABLE jobqueue.api_keys (
    namespace    text             NOT NULL,
    id           text             NOT NULL,
    name         text             NOT NULL,
    kind         text             NOT NULL,
    scopes       text[]           NOT NULL,
    queues       text[]           NOT NULL,   -- patterns: mail, mail.*, *
    digest       bytea            NOT NULL,   -- SHA-256 of the secret
    created_at   timestamptz      NOT NULL,
    created_by   text             NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    rate         double precision,            -- requests a second; null: not limited
    PRIMARY KEY (namespace, id),
    CONSTRAINT api_keys_digest CHECK (octet_length(digest) = 32)
);


CREATE TABLE jobqueue.audit (
    entry_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace  text        NOT NULL,
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,          -- a key's id, local, or cli:<user>
    action     text        NOT NULL,          -- such as queue.purge
    target     text        NOT NULL,
    detail     json        NOT NULL,          -- json, since jsonb refuses \u0000
    address    text        NOT NULL,
    request_id text        NOT NULL
);

-- pages, newest first, of all and by each filter (PostgresAuditLog.list)
CREATE INDEX audit_newest ON jobqueue.audit (namespace, entry_id);
CREATE INDEX audit_of_actor ON jobqueue.audit (namespace, actor, entry_id);
CREATE INDEX audit_of_action ON jobqueue.audit (namespace, action, entry_id);
CREATE INDEX audit_of_target ON jobqueue.audit (namespace, target, entry_id);


-- Append-only, for the owner of the table, too. drop_audit says until when rows may go, for its own transaction.
CREATE FUNCTION jobqueue.keep_audit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_LEVEL = 'ROW'
       AND OLD.at < nullif(current_setting('jobqueue.audit_before', true), '')::timestamptz THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'jobqueue.audit is append-only: % refused; old rows go by jobqueue.drop_audit', TG_OP
        USING ERRCODE = '42501';
END
$$;

CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON jobqueue.audit
    FOR EACH ROW EXECUTE FUNCTION jobqueue.keep_audit();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON jobqueue.audit
    FOR EACH STATEMENT EXECUTE FUNCTION jobqueue.keep_audit();

-- Delete what is older than now - keep, in all namespaces; says how many rows it deleted. Granted to nobody: the
-- role that writes the log must not be able to shorten it.
CREATE FUNCTION jobqueue.drop_audit(keep interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped bigint;
BEGIN
    IF keep IS NULL OR keep < interval '1 day' THEN
        RAISE EXCEPTION 'the audit log must be kept for at least a day, got %', keep USING ERRCODE = '22023';
    END IF;
    PERFORM set_config('jobqueue.audit_before', (now() - keep)::text, true);
    DELETE FROM jobqueue.audit WHERE at < now() - keep;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    PERFORM set_config('jobqueue.audit_before', '', true);
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION jobqueue.keep_audit() FROM PUBLIC;
REVOKE ALL ON FUNCTION jobqueue.drop_audit(interval) FROM PUBLIC;

INSERT INTO jobqueue.migrations (version, name) VALUES (6, 'api_keys_and_audit');
