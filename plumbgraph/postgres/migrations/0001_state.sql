-- Threads and their streams of checkpoints; values live as elements of logs, named by ranges.
CREATE TABLE {schema}.thread (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    thread_id text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,       -- rises with every claim
    generation bigint NOT NULL DEFAULT 0,  -- rises when stored content is taken away
    lease_until timestamptz,
    claimed_at timestamptz,
    owner text,
    deleted_at timestamptz,                -- tombstone
    secret bytea,                          -- the thread's wrapped data key
    attempts int NOT NULL DEFAULT 0,       -- recoveries that failed since the last success
    retry_at timestamptz,
    parked text,                           -- why recovery gave up
    adopted text,                          -- newest foreign checkpoint when it was taken over
    policy text,                           -- retention of this thread, as JSON
    UNIQUE (tenant, thread_id)
) WITH (fillfactor = 80);

-- One row a thread and checkpoint namespace; the head moves in place (no index on it).
CREATE TABLE {schema}.stream (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread bigint NOT NULL,
    touched_at timestamptz NOT NULL DEFAULT now(),
    ns text NOT NULL,
    head bytea,
    UNIQUE (thread, ns)
) WITH (fillfactor = 70);

CREATE TABLE {schema}.checkpoint (
    stream bigint NOT NULL,
    step int,
    id bytea NOT NULL,
    parent bytea,
    branch bytea,          -- null: the first branch
    tags bigint[],         -- hashes of metadata items, for filters
    spans bigint[],        -- log, start, stop; one covering range a log
    body bytea NOT NULL,
    PRIMARY KEY (stream, id)
);
ALTER TABLE {schema}.checkpoint ALTER body SET STORAGE EXTERNAL;

-- An even slot 2p is the element at position p; an odd slot 2p+1 is a sealed chunk ending at p.
CREATE TABLE {schema}.element (
    log bigint NOT NULL,
    slot int NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (log, slot)
) WITH (toast_tuple_target = 8160);
ALTER TABLE {schema}.element ALTER body SET STORAGE EXTERNAL;

CREATE TABLE {schema}.write (
    stream bigint NOT NULL,
    slot smallint NOT NULL,  -- index of the first write, or a special one below zero
    n smallint NOT NULL,
    checkpoint bytea NOT NULL,
    task bytea NOT NULL,
    path text NOT NULL,
    spans bigint[],
    body bytea NOT NULL,
    PRIMARY KEY (stream, checkpoint, task, slot)
);
ALTER TABLE {schema}.write ALTER body SET STORAGE EXTERNAL;

-- Which threads name elements of a log, and which streams hold checkpoints of a run.
CREATE TABLE {schema}.log_user (
    thread bigint NOT NULL,
    log bigint NOT NULL,
    PRIMARY KEY (thread, log)
);
CREATE INDEX log_user_log ON {schema}.log_user (log);
CREATE TABLE {schema}.run (
    run bigint NOT NULL,
    stream bigint NOT NULL,
    PRIMARY KEY (run, stream)
);

-- Runs that were accepted and may not have a checkpoint yet.
CREATE TABLE {schema}.accepted (
    thread bigint NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    input bytea NOT NULL,
    PRIMARY KEY (thread, number)
);
