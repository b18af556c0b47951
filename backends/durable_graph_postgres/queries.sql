-- Statements by name. {schema} stands for the schema's name. Each is one round trip, and what it
-- reads is of one moment.

-- name: append
SELECT {schema}.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39,
    $40, $41
);

-- name: extend
-- Extend one log by one record, as most appends do: what `append` does, for half the work. No row
-- says nothing of why; `append` does.
WITH head AS (
    UPDATE {schema}.threads AS t
    SET seq = $7, epoch = $8, link = $9, secret = $10, status = $11, owner = $12, state = $13,
        created = $14, updated = $15, checksum = $16
    WHERE t.tenant = $2 AND t.thread = $3 AND t.seq = $4 AND t.epoch = $5 AND t.link = $6
        AND set_config('lock_timeout', $1, true) IS NOT NULL
    RETURNING t.id
)
INSERT INTO {schema}.records
    (tenant, thread_id, seq, kind, checkpoint, digest, link, header, body)
SELECT $2, head.id, $17, $18, $19, $20, $21, $22, $23 FROM head
RETURNING thread_id;

-- name: label
SELECT {schema}.label($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: post
SELECT message, kind, body, author, time, verdict
FROM {schema}.post($1, $2, $3, $4, $5, $6, $7, $8);

-- name: remove
SELECT {schema}.remove(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
);

-- name: beat
SELECT {schema}.beat($1, $2, $3, $4, $5, $6);

-- name: processes
SELECT id, host, pid, started, lease,
    extract(epoch FROM clock_timestamp() - beat)::double precision AS age
FROM {schema}.processes;

-- name: thread
SELECT t.thread, t.seq, t.epoch, t.link, t.secret, t.status, t.owner, t.state, t.created,
    t.updated, t.checksum, c.card
FROM {schema}.threads AS t LEFT JOIN {schema}.cards AS c USING (tenant, thread)
WHERE t.tenant = $1 AND t.thread = $2;

-- name: locked
-- Where a log stands; nobody else moves it until the transaction ends.
SELECT t.seq, t.epoch, t.link FROM {schema}.threads AS t
WHERE t.tenant = $1 AND t.thread = $2 AND t.seq IS NOT NULL
FOR NO KEY UPDATE;

-- name: patience
-- For this transaction: how long it waits for locks, and how long it is waited for.
SELECT set_config('lock_timeout', $1, true),
    set_config('idle_in_transaction_session_timeout', $2, true);

-- name: tenant
-- For this transaction: whose rows it sees.
SELECT set_config('durable_graph.tenant', $1, true);

-- name: position
SELECT t.seq, t.epoch, t.link FROM {schema}.threads AS t
WHERE t.tenant = $1 AND t.thread = $2 AND t.seq IS NOT NULL;

-- name: read
-- The head, what the head's path leads over (unless the head is where the caller knows it), and
-- what waits in the inbox; the card if there is no log. In `what`, which of them a row is.
WITH head AS MATERIALIZED (
    SELECT * FROM {schema}.threads WHERE tenant = $1 AND thread = $2
), span AS MATERIALIZED (
    SELECT part.n, (part.ends ->> 0)::bigint AS first, (part.ends ->> 1)::bigint AS last
    FROM head, json_array_elements(
        -- Not by ->, which takes no document that has a NUL anywhere.
        substring(convert_from(head.state, 'UTF8') FROM '"path":(\[[][0-9,]*\])')::json
    ) WITH ORDINALITY AS part (ends, n)
    WHERE (head.seq, head.epoch, head.link) IS DISTINCT FROM ($3::bigint, $4::bigint, $5::bytea)
)
SELECT 'head' AS what, head.seq, head.epoch, head.status AS kind, head.owner AS name,
    head.state AS header, NULL::bytea AS body, head.secret AS digest, head.link, head.created,
    head.updated, head.checksum AS number
FROM head WHERE head.seq IS NOT NULL
UNION ALL
SELECT 'card', NULL, NULL, NULL, NULL, c.card, NULL, NULL, NULL, NULL, NULL, NULL
FROM head JOIN {schema}.cards AS c USING (tenant, thread) WHERE head.seq IS NULL
UNION ALL
SELECT 'span', span.first, span.last, NULL, NULL, NULL, NULL, NULL, r.link, NULL, NULL, span.n
FROM head CROSS JOIN span
    LEFT JOIN {schema}.records AS r ON r.thread_id = head.id AND r.seq = span.first - 1
UNION ALL
SELECT 'record', r.seq, NULL, r.kind, r.checkpoint, r.header, r.body, r.digest, r.link, NULL,
    NULL, span.n
FROM head CROSS JOIN span
    JOIN {schema}.records AS r ON r.thread_id = head.id AND r.seq BETWEEN span.first AND span.last
UNION ALL
SELECT 'message', m.place, NULL, NULL, m.message, m.kind, m.body, m.author, m.verdict, m.time,
    NULL, NULL
FROM head JOIN {schema}.messages AS m ON m.thread_id = head.id AND m.verdict IS NULL;

-- name: checkpoint
-- The head, the commit of a checkpoint without its body, and where the next commit is; what waits
-- in the inbox; the card if there is no log. Columns as in `read`.
WITH head AS MATERIALIZED (
    SELECT * FROM {schema}.threads WHERE tenant = $1 AND thread = $2
), found AS MATERIALIZED (
    SELECT r.* FROM head JOIN {schema}.records AS r ON r.thread_id = head.id
    WHERE r.checkpoint = $3 ORDER BY r.seq LIMIT 1
)
SELECT 'head' AS what, head.seq, head.epoch, head.status AS kind, head.owner AS name,
    head.state AS header, NULL::bytea AS body, head.secret AS digest, head.link, head.created,
    head.updated, head.checksum AS number
FROM head WHERE head.seq IS NOT NULL
UNION ALL
SELECT 'card', NULL, NULL, NULL, NULL, c.card, NULL, NULL, NULL, NULL, NULL, NULL
FROM head JOIN {schema}.cards AS c USING (tenant, thread) WHERE head.seq IS NULL
UNION ALL
SELECT 'span', found.seq, found.seq, NULL, NULL, NULL, NULL, NULL, r.link, NULL, NULL, 1
FROM found
    LEFT JOIN {schema}.records AS r ON r.thread_id = found.thread_id AND r.seq = found.seq - 1
UNION ALL
SELECT 'record', found.seq, NULL, found.kind, found.checkpoint, found.header, NULL, found.digest,
    found.link, NULL, NULL, 1
FROM found
UNION ALL
SELECT 'next', (
        SELECT r.seq FROM {schema}.records AS r
        WHERE r.thread_id = found.thread_id AND r.seq > found.seq AND r.kind = 'commit'
        ORDER BY r.seq LIMIT 1
    ), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM found
UNION ALL
SELECT 'message', m.place, NULL, NULL, m.message, m.kind, m.body, m.author, m.verdict, m.time,
    NULL, NULL
FROM head JOIN {schema}.messages AS m ON m.thread_id = head.id AND m.verdict IS NULL;

-- name: scan
-- Records of ranges, as far as the log goes, with their bodies or without. Columns as in `read`.
WITH head AS MATERIALIZED (
    SELECT * FROM {schema}.threads WHERE tenant = $1 AND thread = $2 AND seq IS NOT NULL
), span AS MATERIALIZED (
    SELECT part.n, greatest(part.first, 1) AS first, least(part.last, head.seq) AS last
    FROM head, unnest($3::bigint[], $4::bigint[]) WITH ORDINALITY AS part (first, last, n)
)
SELECT 'span' AS what, span.first AS seq, span.last AS epoch, NULL AS kind, NULL AS name,
    NULL::bytea AS header, NULL::bytea AS body, NULL::bytea AS digest, r.link,
    NULL::double precision AS created, NULL::double precision AS updated, span.n AS number
FROM head CROSS JOIN span
    LEFT JOIN {schema}.records AS r ON r.thread_id = head.id AND r.seq = span.first - 1
WHERE span.first <= span.last
UNION ALL
SELECT 'record', r.seq, NULL, r.kind, r.checkpoint, r.header, CASE WHEN $5::boolean THEN r.body END,
    r.digest, r.link, NULL, NULL, span.n
FROM head CROSS JOIN span
    JOIN {schema}.records AS r ON r.thread_id = head.id AND r.seq BETWEEN span.first AND span.last;

-- name: blobs
SELECT b.digest, b.data FROM {schema}.threads AS t JOIN {schema}.blobs AS b ON b.thread_id = t.id
WHERE t.tenant = $1 AND t.thread = $2 AND t.seq IS NOT NULL AND b.digest = ANY ($3);

-- name: threads
-- Newest change first, from a place on.
SELECT t.thread, t.seq, t.epoch, t.link, t.secret, t.status, t.owner, t.state, t.created,
    t.updated, t.checksum, c.card
FROM {schema}.threads AS t LEFT JOIN {schema}.cards AS c USING (tenant, thread)
WHERE t.tenant = $1 AND ($2::text IS NULL OR coalesce(t.status, 'new') = $2)
    AND t.updated >= $3 AND t.updated < $4 AND (t.updated, t.thread) < ($5, $6)
    AND t.minute BETWEEN floor($3 / 60) AND floor(least($4, $5) / 60)
ORDER BY t.minute DESC, t.updated DESC, t.thread DESC
LIMIT $7;

-- name: threads_by_rest
-- The same, of those that rest before their end with this status.
SELECT t.thread, t.seq, t.epoch, t.link, t.secret, t.status, t.owner, t.state, t.created,
    t.updated, t.checksum, c.card
FROM {schema}.threads AS t LEFT JOIN {schema}.cards AS c USING (tenant, thread)
WHERE t.tenant = $1 AND t.rests = $2
    AND t.updated >= $3 AND t.updated < $4 AND (t.updated, t.thread) < ($5, $6)
    AND t.minute BETWEEN floor($3 / 60) AND floor(least($4, $5) / 60)
ORDER BY t.minute DESC, t.updated DESC, t.thread DESC
LIMIT $7;

-- name: threads_by_term
-- The same, of those whose card has all of these terms.
SELECT t.thread, t.seq, t.epoch, t.link, t.secret, t.status, t.owner, t.state, t.created,
    t.updated, t.checksum, c.card
FROM {schema}.threads AS t JOIN {schema}.cards AS c USING (tenant, thread)
WHERE t.tenant = $1 AND ($2::text IS NULL OR coalesce(t.status, 'new') = $2)
    AND t.updated >= $3 AND t.updated < $4 AND (t.updated, t.thread) < ($5, $6)
    AND t.minute BETWEEN floor($3 / 60) AND floor(least($4, $5) / 60)
    AND c.terms @> $8::text[]
ORDER BY t.minute DESC, t.updated DESC, t.thread DESC
LIMIT $7;

-- name: threads_by_end
-- The same, of those that may be deleted by then.
SELECT t.thread, t.seq, t.epoch, t.link, t.secret, t.status, t.owner, t.state, t.created,
    t.updated, t.checksum, c.card
FROM {schema}.threads AS t JOIN {schema}.cards AS c USING (tenant, thread)
WHERE t.tenant = $1 AND ($2::text IS NULL OR coalesce(t.status, 'new') = $2)
    AND t.updated >= $3 AND t.updated < $4 AND (t.updated, t.thread) < ($5, $6)
    AND t.minute BETWEEN floor($3 / 60) AND floor(least($4, $5) / 60)
    AND c.terms @> $8::text[] AND c.tenant = $1 AND c.expires <= $9
ORDER BY t.minute DESC, t.updated DESC, t.thread DESC
LIMIT $7;

-- name: put_items
SELECT {schema}.put_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
);

-- name: sweep_items
SELECT {schema}.sweep_items($1, $2);

-- name: fetch_items
SELECT i.namespace, i.key, i.version, i.created, i.updated, i.ttl, i.expires, i.checksum, i.value,
    NULL::bytea
FROM unnest($1::bytea[], $2::text[]) AS u (namespace, key)
JOIN {schema}.items AS i USING (namespace, key)
WHERE i.expires IS NULL OR i.expires > $3;

-- name: scan_items
-- The last that were put, from an entry on.
SELECT i.namespace, i.key, i.version, i.created, i.updated, i.ttl, i.expires, i.checksum, i.value,
    CASE WHEN $8::boolean THEN i.vectors END
FROM {schema}.items AS i
WHERE i.namespace >= $1 AND i.namespace < $2 AND (i.expires IS NULL OR i.expires > $3)
    AND ($4::bigint IS NULL OR (i.version, i.namespace, i.key) < ($4, $5::bytea, $6::text))
ORDER BY i.version DESC, i.namespace DESC, i.key DESC
LIMIT $7;

-- name: item_namespaces
-- From one to the next, over however many items lie between them.
WITH RECURSIVE found (namespace, number) AS (
    (
        SELECT i.namespace, 1 FROM {schema}.items AS i
        WHERE i.namespace > $1 AND i.namespace < $2 AND (i.expires IS NULL OR i.expires > $3)
        ORDER BY i.namespace LIMIT 1
    )
    UNION ALL
    SELECT n.namespace, f.number + 1 FROM found AS f CROSS JOIN LATERAL (
        SELECT i.namespace FROM {schema}.items AS i
        WHERE i.namespace > f.namespace AND i.namespace < $2
            AND (i.expires IS NULL OR i.expires > $3)
        ORDER BY i.namespace LIMIT 1
    ) AS n
    WHERE f.number < $4
)
SELECT namespace FROM found ORDER BY namespace;

-- name: prolong_items
-- What others are writing at this moment has a new time anyway.
WITH found AS MATERIALIZED (
    SELECT i.namespace, i.key, u.expires
    FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::double precision[])
        AS u (namespace, key, version, expires)
    JOIN {schema}.items AS i
        ON i.namespace = u.namespace AND i.key = u.key AND i.version = u.version
    WHERE i.expires > $5 AND i.expires < u.expires
    FOR UPDATE OF i SKIP LOCKED
)
UPDATE {schema}.items AS i SET expires = found.expires FROM found
WHERE i.namespace = found.namespace AND i.key = found.key;
