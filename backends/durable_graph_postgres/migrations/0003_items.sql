-- Version 3: the items of a store.

CREATE TABLE {schema}.items (
    namespace bytea NOT NULL,               -- each word in UTF-8, followed by a zero byte
    key       text COLLATE "C" NOT NULL,
    version   bigint NOT NULL CHECK (version > 0),
    created   double precision NOT NULL,    -- Unix time
    updated   double precision NOT NULL,    -- Unix time
    ttl       double precision,             -- seconds
    expires   double precision,             -- Unix time
    checksum  bigint NOT NULL,              -- CRC-32 of all but the first time, the end, the vectors
    value     bytea NOT NULL,               -- JSON
    vectors   bytea,                        -- each with its size in 4 bytes before it
    PRIMARY KEY (namespace, key)
);

-- For searching: the last that were put.
CREATE INDEX items_by_version ON {schema}.items (namespace, version, key);

-- For removing what has expired.
CREATE INDEX items_by_end ON {schema}.items (expires) WHERE expires IS NOT NULL;
