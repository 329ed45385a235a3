CREATE TABLE {schema}.workspaces (
    tenant text NOT NULL,
    name text NOT NULL,
    head bytea,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    lease_until timestamptz,
    saved_at timestamptz,
    PRIMARY KEY (tenant, name)
);
