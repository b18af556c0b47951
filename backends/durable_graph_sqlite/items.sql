-- name: fetch
SELECT namespace, key, version, created, updated, ttl, expires, checksum, value, NULL FROM items
WHERE namespace = :namespace AND key = :key AND (expires IS NULL OR expires > :now);

-- name: scan
-- The last that were put, from an entry on. They are found in the index; only their rows are read.
SELECT namespace, key, version, created, updated, ttl, expires, checksum, value, NULL FROM items
WHERE id IN (
    SELECT id FROM items INDEXED BY items_by_version
    WHERE namespace >= :first AND namespace < :end AND (expires IS NULL OR expires > :now)
      AND (:version IS NULL OR (version, namespace, key) < (:version, :namespace, :key))
    ORDER BY version DESC, namespace DESC, key DESC LIMIT :limit
)
ORDER BY version DESC, namespace DESC, key DESC;

-- name: scan_vectors
SELECT namespace, key, version, created, updated, ttl, expires, checksum, value, vectors FROM items
WHERE id IN (
    SELECT id FROM items INDEXED BY items_by_version
    WHERE namespace >= :first AND namespace < :end AND (expires IS NULL OR expires > :now)
      AND (:version IS NULL OR (version, namespace, key) < (:version, :namespace, :key))
    ORDER BY version DESC, namespace DESC, key DESC LIMIT :limit
)
ORDER BY version DESC, namespace DESC, key DESC;

-- name: namespace
-- The next namespace that holds something.
SELECT namespace FROM items INDEXED BY items_by_version
WHERE namespace > :after AND namespace < :end AND (expires IS NULL OR expires > :now)
ORDER BY namespace LIMIT 1;

-- name: past
-- What a write has to know of what is there.
SELECT version, created FROM items
WHERE namespace = :namespace AND key = :key AND (expires IS NULL OR expires > :now);

-- name: put
INSERT INTO items (
    namespace, key, version, created, updated, ttl, expires, checksum, value, vectors
)
VALUES (
    :namespace, :key, :version, :created, :updated, :ttl, :expires, :checksum, :value, :vectors
)
ON CONFLICT (namespace, key) DO UPDATE SET
    version = excluded.version, created = excluded.created, updated = excluded.updated,
    ttl = excluded.ttl, expires = excluded.expires, checksum = excluded.checksum,
    value = excluded.value, vectors = excluded.vectors;

-- name: drop
DELETE FROM items WHERE namespace = :namespace AND key = :key;

-- name: prolong
UPDATE items SET expires = :expires
WHERE namespace = :namespace AND key = :key AND version = :version AND expires > :now
    AND expires < :expires;

-- name: sweep
DELETE FROM items
WHERE id IN (SELECT id FROM items WHERE expires <= :now ORDER BY expires LIMIT :limit);
