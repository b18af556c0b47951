-- name: extend
-- The head, if the log is where the append believes it to be.
UPDATE threads
SET seq = ?, epoch = ?, link = ?, secret = ?, status = ?, owner = ?, state = ?, created = ?,
    updated = ?, checksum = ?
WHERE tenant = ? AND thread = ? AND seq = ? AND epoch = ? AND link = ?
RETURNING id;

-- name: create
-- The head of a new thread.
INSERT INTO threads (
    tenant, thread, seq, epoch, link, secret, status, owner, state, created, updated, checksum
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, thread) DO NOTHING
RETURNING id;

-- name: is_stored
-- Whether a record is there under this very link.
SELECT 1 FROM records
WHERE thread_id = (SELECT id FROM threads WHERE tenant = ? AND thread = ?) AND seq = ? AND link = ?;

-- name: add_record
INSERT INTO records (thread_id, seq, kind, checkpoint, digest, link, header, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_blob
INSERT INTO blobs (thread_id, digest, data) VALUES (?, ?, ?)
ON CONFLICT (thread_id, digest) DO NOTHING;

-- name: settle
UPDATE messages SET verdict = ? WHERE thread_id = ? AND message = ?;

-- name: head
SELECT id, seq, epoch, link, secret, status, owner, state, created, updated, checksum
FROM threads WHERE tenant = ? AND thread = ?;

-- name: card
SELECT version, owner, tags, metadata, expires, archived, time, body, checksum
FROM cards WHERE tenant = ? AND thread = ?;

-- name: first_card
INSERT INTO cards (
    version, owner, tags, metadata, expires, archived, time, body, checksum, tenant, thread
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, thread) DO NOTHING
RETURNING id;

-- name: next_card
UPDATE cards
SET version = ?, owner = ?, tags = ?, metadata = ?, expires = ?, archived = ?, time = ?, body = ?,
    checksum = ?
WHERE tenant = ? AND thread = ? AND version = ?
RETURNING id;

-- name: drop_card
DELETE FROM cards WHERE tenant = ? AND thread = ?;

-- name: threads
-- Newest change first, from a cursor on. Of cards, tags and metadata are looked at by the caller.
SELECT t.updated AS changed, t.thread AS name, t.seq, t.epoch, t.link, t.secret, t.status, t.owner,
    t.state, t.created, t.updated, t.checksum, c.version, c.owner, c.tags, c.metadata, c.expires,
    c.archived, c.time, c.body, c.checksum
FROM threads t LEFT JOIN cards c ON c.tenant = t.tenant AND c.thread = t.thread
WHERE t.tenant = :tenant
  AND (:status IS NULL OR t.status = :status)
  AND (:owner IS NULL OR c.owner = :owner)
  AND (:expired IS NULL OR c.expires <= :expired)
  AND (:since IS NULL OR t.updated >= :since)
  AND (:until IS NULL OR t.updated < :until)
  AND (:updated IS NULL OR (t.updated, t.thread) < (:updated, :thread))
UNION ALL
SELECT c.time AS changed, c.thread AS name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, c.version, c.owner, c.tags, c.metadata, c.expires, c.archived, c.time, c.body, c.checksum
FROM cards c
WHERE c.tenant = :tenant
  AND NOT EXISTS (SELECT 1 FROM threads t WHERE t.tenant = c.tenant AND t.thread = c.thread)
  AND (:status IS NULL OR :status = 'new')
  AND (:owner IS NULL OR c.owner = :owner)
  AND (:expired IS NULL OR c.expires <= :expired)
  AND (:since IS NULL OR c.time >= :since)
  AND (:until IS NULL OR c.time < :until)
  AND (:updated IS NULL OR (c.time, c.thread) < (:updated, :thread))
ORDER BY changed DESC, name DESC;

-- name: threads_by_rest
-- The same, of those that rest before their end with a status.
SELECT t.updated AS changed, t.thread AS name, t.seq, t.epoch, t.link, t.secret, t.status, t.owner,
    t.state, t.created, t.updated, t.checksum, c.version, c.owner, c.tags, c.metadata, c.expires,
    c.archived, c.time, c.body, c.checksum
FROM threads t LEFT JOIN cards c ON c.tenant = t.tenant AND c.thread = t.thread
WHERE t.tenant = :tenant
  AND t.status = :status AND t.status IN ('failed', 'asking', 'stopped')
  AND (:owner IS NULL OR c.owner = :owner)
  AND (:expired IS NULL OR c.expires <= :expired)
  AND (:since IS NULL OR t.updated >= :since)
  AND (:until IS NULL OR t.updated < :until)
  AND (:updated IS NULL OR (t.updated, t.thread) < (:updated, :thread))
ORDER BY changed DESC, name DESC;

-- name: records
SELECT seq, kind, checkpoint, header, body, digest, link FROM records
WHERE thread_id = ? AND seq BETWEEN ? AND ?
ORDER BY seq;

-- name: headers
SELECT seq, kind, checkpoint, header, NULL, digest, link FROM records
WHERE thread_id = ? AND seq BETWEEN ? AND ?
ORDER BY seq;

-- name: link
SELECT link FROM records WHERE thread_id = ? AND seq = ?;

-- name: checkpoint
SELECT seq, kind, checkpoint, header, NULL, digest, link FROM records
WHERE thread_id = ? AND checkpoint = ?;

-- name: next_commit
SELECT min(seq) FROM records WHERE thread_id = ? AND seq > ? AND kind = 'commit';

-- name: blob
SELECT data FROM blobs WHERE thread_id = ? AND digest = ?;

-- name: waiting
SELECT message, kind, body, author, time, verdict FROM messages
WHERE thread_id = ? AND verdict IS NULL ORDER BY id;

-- name: post
INSERT INTO messages (thread_id, message, kind, body, author, time) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (thread_id, message) DO NOTHING;

-- name: message
SELECT message, kind, body, author, time, verdict FROM messages
WHERE thread_id = ? AND message = ?;

-- name: beat
INSERT INTO processes (id, host, pid, started, boot, beat, lease) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, lease = excluded.lease, boot = excluded.boot;

-- name: forget
-- Those that were there before this boot, or whose last sign of life is many leases old.
DELETE FROM processes WHERE boot IS NOT ? OR ? - beat > ? * lease;

-- name: processes
SELECT id, host, pid, started, boot, beat, lease FROM processes;

-- name: drop_bodies
UPDATE records SET body = NULL WHERE thread_id = ? AND seq BETWEEN ? AND ?;

-- name: drop_blob
DELETE FROM blobs WHERE thread_id = ? AND digest = ?;

-- name: drop_thread
DELETE FROM threads WHERE id = ?;

-- name: drop_records
DELETE FROM records WHERE thread_id = ?;

-- name: drop_blobs
DELETE FROM blobs WHERE thread_id = ?;

-- name: drop_messages
DELETE FROM messages WHERE thread_id = ?;
