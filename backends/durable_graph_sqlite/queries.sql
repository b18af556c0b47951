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
SELECT id, tenant, thread, seq, epoch, link, secret, status, owner, state, created, updated,
    checksum
FROM threads WHERE tenant = ? AND thread = ?;

-- name: heads
-- Newest change first, from a cursor on.
SELECT id, tenant, thread, seq, epoch, link, secret, status, owner, state, created, updated,
    checksum
FROM threads
WHERE tenant = :tenant
  AND (:status IS NULL OR status = :status)
  AND (:updated IS NULL OR (updated, thread) < (:updated, :thread))
ORDER BY updated DESC, thread DESC
LIMIT :limit;

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

-- name: leave
DELETE FROM processes WHERE id = ?;

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
