-- Threads of durable_graph, and items of a store, in one SQLite file: what all migrations together come to.
-- PRAGMA user_version is the number of the last one.

-- The head of each thread: the only row of it that changes.
-- An append is an UPDATE of this row that must find `epoch` and `link` as it read them.
CREATE TABLE threads (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    thread   TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    epoch    INTEGER NOT NULL CHECK (epoch > 0),
    link     BLOB    NOT NULL,              -- of record `seq`
    secret   BLOB    NOT NULL,              -- keys the digests of bodies and large values
    status   TEXT    NOT NULL CHECK (status IN ('running', 'finished', 'failed', 'asking', 'stopped')),
    owner    TEXT,                          -- processes.id, while a run owns the thread
    state    BLOB    NOT NULL,              -- the rest of the head, JSON
    created  REAL    NOT NULL,              -- Unix time
    updated  REAL    NOT NULL,              -- Unix time
    checksum INTEGER NOT NULL,              -- CRC-32 of all of it
    UNIQUE (tenant, thread),
    CHECK ((status = 'running') = (owner IS NOT NULL))
);

-- For listing, newest change first.
CREATE INDEX threads_by_change ON threads (tenant, updated, thread);

-- For listing those of a status. Runs that begin and finish leave it alone.
CREATE INDEX threads_by_rest ON threads (tenant, status, updated, thread)
    WHERE status IN ('failed', 'asking', 'stopped');

-- The logs. In the order of writing, not of threads: what many runs append in one transaction
-- lies side by side and fills few pages.
CREATE TABLE records (
    id         INTEGER PRIMARY KEY,
    thread_id  INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    checkpoint TEXT,                        -- of commits
    digest     BLOB    NOT NULL,
    link       BLOB    NOT NULL,
    header     BLOB    NOT NULL,            -- JSON
    body       BLOB,                        -- JSON lines; NULL once pruned; last, so that headers
                                            -- are read without it
    UNIQUE (thread_id, seq)
);

-- Large values, by content and thread.
CREATE TABLE blobs (
    id        INTEGER PRIMARY KEY,
    thread_id INTEGER NOT NULL,
    digest    TEXT    NOT NULL,
    data      BLOB    NOT NULL,
    UNIQUE (thread_id, digest)
);

-- What others left for the owner of a thread.
CREATE TABLE messages (
    id        INTEGER PRIMARY KEY,
    thread_id INTEGER NOT NULL,
    message   TEXT    NOT NULL,             -- the sender's id for it
    kind      TEXT    NOT NULL,
    body      BLOB    NOT NULL,
    author    TEXT,
    time      REAL    NOT NULL,
    verdict   TEXT,                         -- NULL: waits; '': taken up; else why not
    UNIQUE (thread_id, message)
);

CREATE INDEX messages_waiting ON messages (thread_id, id) WHERE verdict IS NULL;

-- Processes that own threads, and their last sign of life.
CREATE TABLE processes (
    id      TEXT    PRIMARY KEY,
    host    TEXT,
    pid     INTEGER NOT NULL,
    started INTEGER,
    boot    TEXT,                           -- `beat` counts seconds since this boot
    beat    REAL    NOT NULL,
    lease   REAL    NOT NULL
);

-- What is known of threads beside their logs; there are cards without a log.
CREATE TABLE cards (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    thread   TEXT    NOT NULL,
    version  INTEGER NOT NULL CHECK (version > 0),
    owner    TEXT,
    tags     TEXT    NOT NULL,              -- JSON
    metadata TEXT    NOT NULL,              -- JSON
    expires  REAL,                          -- Unix time
    archived TEXT,                          -- where the log is, if not here
    time     REAL    NOT NULL,              -- Unix time
    body     BLOB    NOT NULL,              -- the rest, JSON
    checksum INTEGER NOT NULL,              -- CRC-32 of all of it
    UNIQUE (tenant, thread)
);

-- For listing those that have no log.
CREATE INDEX cards_by_time ON cards (tenant, time, thread);

-- The items of a store.
CREATE TABLE items (
    id        INTEGER PRIMARY KEY,
    namespace BLOB    NOT NULL,             -- each word in UTF-8, followed by a zero byte
    key       TEXT    NOT NULL,
    version   INTEGER NOT NULL CHECK (version > 0),
    created   REAL    NOT NULL,             -- Unix time
    updated   REAL    NOT NULL,             -- Unix time
    ttl       REAL,                         -- seconds
    expires   REAL,                         -- Unix time
    checksum  INTEGER NOT NULL,             -- CRC-32 of all but the end and the vectors
    value     BLOB    NOT NULL,             -- JSON
    vectors   BLOB,                         -- each with its size in 4 bytes before it
    UNIQUE (namespace, key)
);

-- For searching: all that it takes to find the last that were put, without their values.
CREATE INDEX items_by_version ON items (namespace, version, key, expires);

-- For removing what has expired.
CREATE INDEX items_by_end ON items (expires) WHERE expires IS NOT NULL;
