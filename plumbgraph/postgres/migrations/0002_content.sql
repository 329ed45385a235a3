CREATE TABLE {schema}.blobs (
    tenant text NOT NULL,
    space text NOT NULL,
    digest bytea NOT NULL,
    codec smallint NOT NULL,
    size bigint NOT NULL,
    body bytea NOT NULL,
    touched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, space, digest)
);
ALTER TABLE {schema}.blobs ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE {schema}.blob_refs (
    tenant text NOT NULL,
    space text NOT NULL,
    owner text NOT NULL,
    digest bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    touched_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, space, owner, digest)
);
CREATE INDEX blob_refs_by_age ON {schema}.blob_refs (tenant, space, touched_at);
