-- Statements on the vectors of items, by name. {vector} stands for the schema that the extension
-- is in.

-- name: vector_schema
-- The schema of the extension, as a name in SQL, if the table is whole and can be used.
SELECT quote_ident(n.nspname) FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE a.attrelid = to_regclass('{schema}.item_vectors') AND a.attname = 'embedding'
    AND NOT a.attisdropped AND t.typname = 'vector'
    AND has_table_privilege(a.attrelid, 'SELECT') AND has_table_privilege(a.attrelid, 'INSERT');

-- name: vector_extension
-- The schema of the extension; NULL if it can be had and is not there yet; no row if it cannot.
SELECT quote_ident(n.nspname) FROM pg_available_extensions AS a
LEFT JOIN pg_extension AS e ON e.extname = a.name
LEFT JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE a.name = 'vector';

-- name: nearest
-- Bounds of cosines, first those of items of which nothing is known here. The margin makes up for
-- the 32 bits that the extension computes in; to a vector of zeros it says NaN.
WITH query AS MATERIALIZED (
    SELECT $5::real[]::{vector}.vector AS embedding
), near AS (
    SELECT v.namespace, v.key, v.version, max(
        CASE WHEN v.dims = $4 THEN
            1 + $6::double precision - coalesce(nullif(
                v.embedding OPERATOR({vector}.<=>) (SELECT embedding FROM query), 'NaN'
            ), 1)
        END
    ) AS bound
    FROM {schema}.item_vectors AS v
    WHERE v.namespace >= $1 AND v.namespace < $2
    GROUP BY v.namespace, v.key, v.version
), ranked AS (
    SELECT i.namespace, i.key, i.version, i.created, i.updated, i.ttl, i.expires, i.checksum,
        i.value, i.vectors, CASE
            WHEN i.vectors IS NOT NULL AND n.version IS NULL THEN 'Infinity'
            ELSE coalesce(n.bound, '-Infinity')
        END::double precision AS bound
    FROM {schema}.items AS i LEFT JOIN near AS n
        ON n.namespace = i.namespace AND n.key = i.key AND n.version = i.version
    WHERE i.namespace >= $1 AND i.namespace < $2 AND (i.expires IS NULL OR i.expires > $3)
)
SELECT r.* FROM ranked AS r
WHERE $7::double precision IS NULL
    OR (r.bound, r.version, r.namespace, r.key) < ($7, $8::bigint, $9::bytea, $10::text)
ORDER BY r.bound DESC, r.version DESC, r.namespace DESC, r.key DESC
LIMIT $11;

-- name: unranked
-- Items of which nothing is known here, from a place on.
SELECT i.namespace, i.key, i.version, i.checksum, i.vectors FROM {schema}.items AS i
WHERE i.namespace >= $1 AND i.namespace < $2 AND i.vectors IS NOT NULL
    AND (i.namespace, i.key) > ($3, $4)
    AND NOT EXISTS (
        SELECT FROM {schema}.item_vectors AS v
        WHERE v.namespace = i.namespace AND v.key = i.key AND v.version = i.version
    )
ORDER BY i.namespace, i.key LIMIT $5;

-- name: rank
-- Bring vectors here, unless the item has changed, which the lock keeps it from until the end. An
-- item that somebody is changing is left out, so this waits for no writer of items; several who
-- bring the same come in the same order.
WITH held AS MATERIALIZED (
    SELECT i.namespace, i.key, i.version
    FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[])
        AS u (namespace, key, version, checksum)
    JOIN {schema}.items AS i
        ON i.namespace = u.namespace AND i.key = u.key AND i.version = u.version
        AND i.checksum = u.checksum
    FOR SHARE OF i SKIP LOCKED
)
INSERT INTO {schema}.item_vectors (namespace, key, version, number, dims, embedding)
SELECT h.namespace, h.key, h.version, u.number, u.dims,
    CASE WHEN u.dims IS NOT NULL THEN
        ($9::real[])[u.start : u.start + u.dims - 1]::{vector}.vector
    END
FROM unnest($5::integer[], $6::integer[], $7::integer[], $8::integer[])
    AS u (item, number, dims, start)
JOIN unnest($1::bytea[], $2::text[]) WITH ORDINALITY AS p (namespace, key, item)
    ON p.item = u.item
JOIN held AS h ON h.namespace = p.namespace AND h.key = p.key
ORDER BY h.namespace, h.key, h.version, u.number
ON CONFLICT DO NOTHING;
