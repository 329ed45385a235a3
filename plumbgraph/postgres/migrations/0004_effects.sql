CREATE TABLE {schema}.effects (
    tenant text NOT NULL,
    key bytea NOT NULL,
    alias bytea,
    thread_id text NOT NULL,
    branch text NOT NULL,
    ns text NOT NULL,
    message_id text NOT NULL,
    call_id text NOT NULL,
    name text NOT NULL,
    state text NOT NULL CHECK (state IN ('intent', 'raised', 'void', 'done')),
    owner text NOT NULL,
    attempt int NOT NULL DEFAULT 1,
    asked boolean NOT NULL DEFAULT false,
    result_type text,
    result bytea,
    error text,
    intent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX effects_by_alias ON {schema}.effects (tenant, alias) WHERE alias IS NOT NULL;
CREATE INDEX effects_of_thread ON {schema}.effects (tenant, thread_id, call_id);

CREATE TABLE {schema}.calls (
    tenant text NOT NULL,
    key text NOT NULL,
    thread_id text NOT NULL,
    intent text NOT NULL,
    result text,
    intent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX calls_of_thread ON {schema}.calls (tenant, thread_id);
