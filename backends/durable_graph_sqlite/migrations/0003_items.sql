-- Version 3: the items of a store.

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
