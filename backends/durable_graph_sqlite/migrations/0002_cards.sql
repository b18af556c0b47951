-- Version 2: cards.

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
