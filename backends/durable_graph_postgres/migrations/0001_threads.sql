-- Version 1: threads, their logs, cards and inboxes, and the processes that own them.
--
-- {schema} stands for the schema's name. Texts that may hold any character are bytea, since
-- PostgreSQL's text has no NUL; names are ordered by code point ("C"), as everywhere else.

-- The versions that this schema has been through; the greatest is the present one.
CREATE TABLE {schema}.migrations (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

-- Each thread that has a log, a card or both. The head of its log is the only part of a log that
-- changes: an append is an UPDATE that must find `seq`, `epoch` and `link` as it read them.
CREATE TABLE {schema}.threads (
    id       bigint GENERATED ALWAYS AS IDENTITY,
    tenant   text COLLATE "C" NOT NULL,
    thread   text COLLATE "C" NOT NULL,
    seq      bigint CHECK (seq > 0),        -- NULL, like all of the head: it has no log
    epoch    bigint CHECK (epoch > 0),
    link     bytea,                         -- of record `seq`
    secret   bytea,                         -- keys the digests of bodies and large values
    status   text CHECK (status IN ('running', 'finished', 'failed', 'asking', 'stopped')),
    owner    text,                          -- processes.id, while a run owns the thread
    state    bytea,                         -- the rest of the head, JSON
    created  double precision,              -- Unix time
    updated  double precision NOT NULL,     -- Unix time; of the card, where there is no log
    checksum bigint,                        -- CRC-32 of the head
    PRIMARY KEY (tenant, thread),
    CHECK (num_nulls(seq, epoch, link, secret, status, state, created, checksum) IN (0, 8)),
    CHECK (coalesce(status = 'running', false) = (owner IS NOT NULL))
) WITH (fillfactor = 70);

-- For listing, newest change first.
CREATE INDEX threads_by_change ON {schema}.threads (tenant, updated, thread);

-- What is known of threads beside their logs. Apart from heads, whose every change would be one
-- of the index of terms, too.
CREATE TABLE {schema}.cards (
    tenant   text COLLATE "C" NOT NULL,
    thread   text COLLATE "C" NOT NULL,
    version  bigint NOT NULL CHECK (version > 0),
    terms    text[] NOT NULL,               -- owner, tags and metadata, as one searches for them
    expires  double precision,              -- Unix time
    archived boolean NOT NULL,              -- its log is elsewhere
    card     bytea NOT NULL,                -- all of it, JSON, with a checksum
    PRIMARY KEY (tenant, thread)
);

CREATE INDEX cards_by_term ON {schema}.cards USING gin (terms);
CREATE INDEX cards_by_end ON {schema}.cards (tenant, expires) WHERE expires IS NOT NULL;

-- The logs.
CREATE TABLE {schema}.records (
    tenant     text   NOT NULL,             -- of the thread, as in what follows: for policies
    thread_id  bigint NOT NULL,
    seq        bigint NOT NULL,
    kind       text   NOT NULL,
    checkpoint text   COLLATE "C",          -- of commits
    digest     bytea  NOT NULL,
    link       bytea  NOT NULL,
    header     bytea  NOT NULL,             -- JSON
    body       bytea,                       -- JSON lines; NULL once pruned
    PRIMARY KEY (thread_id, seq)
);

CREATE INDEX records_by_checkpoint ON {schema}.records (thread_id, checkpoint)
    WHERE checkpoint IS NOT NULL;

-- Large values, by content and thread.
CREATE TABLE {schema}.blobs (
    tenant    text   NOT NULL,
    thread_id bigint NOT NULL,
    digest    text   COLLATE "C" NOT NULL,
    data      bytea  NOT NULL,
    PRIMARY KEY (thread_id, digest)
);

-- What others left for the owner of a thread.
CREATE TABLE {schema}.messages (
    tenant    text   NOT NULL,
    thread_id bigint NOT NULL,
    message   text   COLLATE "C" NOT NULL,  -- the sender's id for it
    place     bigint GENERATED ALWAYS AS IDENTITY,
    kind      bytea  NOT NULL,
    body      bytea  NOT NULL,
    author    bytea,
    time      double precision NOT NULL,    -- Unix time
    verdict   bytea,                        -- NULL: waits; '': taken up; else why not
    PRIMARY KEY (thread_id, message)
);

CREATE INDEX messages_waiting ON {schema}.messages (thread_id, place) WHERE verdict IS NULL;

-- Processes that own threads, and their last sign of life by this server's clock.
CREATE TABLE {schema}.processes (
    id      text COLLATE "C" PRIMARY KEY,
    host    text,
    pid     bigint NOT NULL,
    started bigint,
    beat    timestamptz NOT NULL,
    lease   double precision NOT NULL       -- seconds
);
