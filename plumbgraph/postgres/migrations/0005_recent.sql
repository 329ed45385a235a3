-- Threads by last activity. To the minute, so that the steps within one change no index; the tenant
-- stands beside it because an index cannot reach into another table. Workers of an older version
-- fill neither: the one is computed, the other a trigger's.
ALTER TABLE {schema}.stream ADD COLUMN tenant text;
UPDATE {schema}.stream s SET tenant = t.tenant FROM {schema}.thread t WHERE t.id = s.thread;
ALTER TABLE {schema}.stream ADD COLUMN minute timestamp
    GENERATED ALWAYS AS (date_trunc('minute', touched_at AT TIME ZONE 'UTC')) STORED;
CREATE INDEX stream_recent ON {schema}.stream (tenant, minute);
CREATE FUNCTION {schema}.name_tenant() RETURNS trigger LANGUAGE plpgsql AS $plumb_function$ BEGIN
    SELECT t.tenant INTO NEW.tenant FROM {schema}.thread t WHERE t.id = NEW.thread;
    RETURN NEW;
END $plumb_function$;
CREATE TRIGGER name_tenant BEFORE INSERT ON {schema}.stream
    FOR EACH ROW EXECUTE FUNCTION {schema}.name_tenant();

-- What recovery looks at: claimed threads, and those that failed.
CREATE INDEX thread_unsettled ON {schema}.thread (tenant)
    WHERE deleted_at IS NULL AND (owner IS NOT NULL OR attempts > 0);

-- Up to when recovery has looked at threads that went idle without a claim.
CREATE TABLE {schema}.looked (
    tenant text PRIMARY KEY,
    until timestamptz NOT NULL
);

CREATE INDEX run_stream ON {schema}.run (stream);
