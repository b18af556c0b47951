-- What is done within the server: each function is one transaction, and one round trip.
--
-- All of them are created anew whenever the schema changes its version. Those of older versions
-- stay, under signatures of their own, for processes that still use them. `patience` is how long
-- to wait for a lock, as a setting: it holds for the transaction only, so nothing is left behind
-- in a connection that others may use next.


-- Extend logs, each on its own; returns which of them are stored.
--
-- The appends come in the order of tenant and thread, so that no two calls wait for each other in
-- a circle. What belongs to the n-th of them says n; columns of which there is nothing are NULL.
-- The last step is the caller's sign of life.
CREATE OR REPLACE FUNCTION {schema}.append(
    patience     text,
    tenants      text[],
    threads      text[],
    old_seqs     bigint[],                  -- NULL: the thread must not have a log
    old_epochs   bigint[],
    old_links    bytea[],
    seqs         bigint[],
    epochs       bigint[],
    links        bytea[],
    secrets      bytea[],
    statuses     text[],
    owners       text[],
    states       bytea[],
    createds     double precision[],
    updateds     double precision[],
    checksums    bigint[],
    record_ns    integer[],
    record_seqs  bigint[],
    kinds        text[],
    checkpoints  text[],
    digests      bytea[],
    record_links bytea[],
    headers      bytea[],
    bodies       bytea[],
    blob_ns      integer[],
    blob_digests text[],
    blob_data    bytea[],
    verdict_ns   integer[],
    settled      text[],
    verdicts     bytea[],
    card_ns      integer[],                 -- of new logs only
    versions     bigint[],
    terms        text[],                    -- each a JSON array
    expires      double precision[],
    archived     boolean[],
    cards        bytea[],
    process      text,                      -- NULL: none
    host         text,
    pid          bigint,
    started      bigint,
    lease        double precision
) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    ids     bigint[];
    applied boolean[];
    id      bigint;
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    FOR n IN 1 .. coalesce(cardinality(tenants), 0) LOOP
        IF old_seqs[n] IS NOT NULL THEN
            UPDATE {schema}.threads AS t
            SET seq = seqs[n], epoch = epochs[n], link = links[n], secret = secrets[n],
                status = statuses[n], owner = owners[n], state = states[n],
                created = createds[n], updated = updateds[n], checksum = checksums[n]
            WHERE t.tenant = tenants[n] AND t.thread = threads[n] AND t.seq = old_seqs[n]
                AND t.epoch = old_epochs[n] AND t.link = old_links[n]
            RETURNING t.id INTO id;
        ELSE
            id := {schema}.begin_log(
                tenants[n], threads[n], seqs[n], epochs[n], links[n], secrets[n], statuses[n],
                owners[n], states[n], createds[n], updateds[n], checksums[n],
                versions[array_position(card_ns, n)]
            );
        END IF;
        ids[n] := id;
        IF id IS NULL THEN
            -- What is asked for again may be stored here and on no standby yet: whoever waited for
            -- one may have given up. A lock is something written, so now it is waited for again.
            PERFORM FROM {schema}.threads AS t JOIN {schema}.records AS r ON r.thread_id = t.id
            WHERE t.tenant = tenants[n] AND t.thread = threads[n] AND r.seq = seqs[n]
                AND r.link = links[n]
            FOR KEY SHARE OF t;
        END IF;
        applied[n] := id IS NOT NULL OR FOUND;
    END LOOP;
    INSERT INTO {schema}.records
        (tenant, thread_id, seq, kind, checkpoint, digest, link, header, body)
    SELECT tenants[r.n], ids[r.n], r.seq, r.kind, r.checkpoint, r.digest, r.link, r.header, r.body
    FROM unnest(
        record_ns, record_seqs, kinds, checkpoints, digests, record_links, headers, bodies
    ) AS r (n, seq, kind, checkpoint, digest, link, header, body)
    WHERE ids[r.n] IS NOT NULL;
    IF cardinality(blob_ns) > 0 THEN
        INSERT INTO {schema}.blobs (tenant, thread_id, digest, data)
        SELECT tenants[b.n], ids[b.n], b.digest, b.data
        FROM unnest(blob_ns, blob_digests, blob_data) AS b (n, digest, data)
        WHERE ids[b.n] IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(verdict_ns) > 0 THEN
        UPDATE {schema}.messages AS m SET verdict = v.verdict
        FROM unnest(verdict_ns, settled, verdicts) AS v (n, message, verdict)
        WHERE m.thread_id = ids[v.n] AND m.message = v.message;
    END IF;
    FOR n IN 1 .. coalesce(cardinality(card_ns), 0) LOOP
        IF ids[card_ns[n]] IS NOT NULL THEN
            PERFORM {schema}.put_card(
                tenants[card_ns[n]], threads[card_ns[n]], versions[n], terms[n], expires[n],
                archived[n], cards[n]
            );
        END IF;
    END LOOP;
    IF process IS NOT NULL THEN
        PERFORM {schema}.beat(patience, process, host, pid, started, lease);
    END IF;
    RETURN applied;
END
$$;


-- Give a thread its log, if it has none and its card does not say that it is elsewhere. The card
-- that comes with the log, if one does, must be the next. Returns the thread's id, or NULL.
CREATE OR REPLACE FUNCTION {schema}.begin_log(
    tenant_ text, thread_ text, seq_ bigint, epoch_ bigint, link_ bytea, secret_ bytea,
    status_ text, owner_ text, state_ bytea, created_ double precision,
    updated_ double precision, checksum_ bigint, version_ bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    stored {schema}.threads;
    known  {schema}.cards;
BEGIN
    IF coalesce(version_, 1) = 1 THEN
        INSERT INTO {schema}.threads AS t (
            tenant, thread, seq, epoch, link, secret, status, owner, state, created, updated,
            checksum
        )
        VALUES (
            tenant_, thread_, seq_, epoch_, link_, secret_, status_, owner_, state_, created_,
            updated_, checksum_
        )
        ON CONFLICT (tenant, thread) DO NOTHING
        RETURNING t.* INTO stored;
        IF FOUND THEN
            RETURN stored.id;
        END IF;
    END IF;
    -- A thread that has a card has a row, and whoever changes a card locks it.
    SELECT * INTO stored FROM {schema}.threads AS t
    WHERE t.tenant = tenant_ AND t.thread = thread_ FOR NO KEY UPDATE;
    IF NOT FOUND OR stored.seq IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO known FROM {schema}.cards AS c WHERE c.tenant = tenant_ AND c.thread = thread_;
    IF version_ IS NULL AND known.archived OR version_ <> coalesce(known.version, 0) + 1 THEN
        RETURN NULL;
    END IF;
    UPDATE {schema}.threads AS t
    SET seq = seq_, epoch = epoch_, link = link_, secret = secret_, status = status_,
        owner = owner_, state = state_, created = created_, updated = updated_,
        checksum = checksum_
    WHERE t.tenant = tenant_ AND t.thread = thread_;
    RETURN stored.id;
END
$$;


-- Store a card, whatever was there. Its thread's row is locked, and the version is the next.
CREATE OR REPLACE FUNCTION {schema}.put_card(
    tenant_ text, thread_ text, version_ bigint, terms_ text, expires_ double precision,
    archived_ boolean, card_ bytea
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO {schema}.cards (tenant, thread, version, terms, expires, archived, card)
    VALUES (
        tenant_, thread_, version_,
        ARRAY(SELECT json_array_elements_text(terms_::json)), expires_, archived_, card_
    )
    ON CONFLICT (tenant, thread) DO UPDATE
    SET version = excluded.version, terms = excluded.terms, expires = excluded.expires,
        archived = excluded.archived, card = excluded.card
$$;


-- Store a card in the place of the one before it; returns whether it is there now.
CREATE OR REPLACE FUNCTION {schema}.label(
    patience text, tenant_ text, thread_ text, version_ bigint, terms_ text,
    expires_ double precision, archived_ boolean, card_ bytea, time_ double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    stored {schema}.threads;
    known  {schema}.cards;
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    IF version_ = 1 THEN
        INSERT INTO {schema}.threads (tenant, thread, updated) VALUES (tenant_, thread_, time_)
        ON CONFLICT (tenant, thread) DO NOTHING;
    END IF;
    SELECT * INTO stored FROM {schema}.threads AS t
    WHERE t.tenant = tenant_ AND t.thread = thread_ FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT * INTO known FROM {schema}.cards AS c WHERE c.tenant = tenant_ AND c.thread = thread_;
    IF version_ <> coalesce(known.version, 0) + 1 THEN
        RETURN coalesce(known.card = card_, false);
    END IF;
    PERFORM {schema}.put_card(
        tenant_, thread_, version_, terms_, expires_, archived_, card_
    );
    UPDATE {schema}.threads AS t SET updated = time_
    WHERE t.tenant = tenant_ AND t.thread = thread_ AND t.seq IS NULL;
    RETURN true;
END
$$;


-- Leave a message for the owner of a thread; returns it as it is stored, or nothing if the thread
-- has no log.
CREATE OR REPLACE FUNCTION {schema}.post(
    patience text, tenant_ text, thread_ text, message_ text, kind_ bytea, body_ bytea,
    author_ bytea, time_ double precision
) RETURNS SETOF {schema}.messages LANGUAGE plpgsql AS $$
DECLARE
    stored {schema}.threads;
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    -- Locked against removal, not against appends.
    SELECT * INTO stored FROM {schema}.threads AS t
    WHERE t.tenant = tenant_ AND t.thread = thread_ AND t.seq IS NOT NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.messages (tenant, thread_id, message, kind, body, author, time)
    VALUES (tenant_, stored.id, message_, kind_, body_, author_, time_)
    ON CONFLICT (thread_id, message) DO NOTHING;
    RETURN QUERY SELECT * FROM {schema}.messages AS m
    WHERE m.thread_id = stored.id AND m.message = message_;
END
$$;


-- Note a sign of life of a process, and forget those that have given none for 100 leases.
CREATE OR REPLACE FUNCTION {schema}.beat(
    patience text, process text, host_ text, pid_ bigint, started_ bigint,
    lease_ double precision
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    INSERT INTO {schema}.processes AS p (id, host, pid, started, beat, lease)
    VALUES (process, host_, pid_, started_, clock_timestamp(), lease_)
    ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, lease = excluded.lease;
    -- Whoever has just been heard of stays, however short his lease is. What somebody else is
    -- just forgetting is left to him.
    DELETE FROM {schema}.processes AS p WHERE p.id IN (
        SELECT q.id FROM {schema}.processes AS q
        WHERE q.id <> process
            AND extract(epoch FROM clock_timestamp() - q.beat) > 100 * q.lease
        FOR UPDATE SKIP LOCKED
    );
END
$$;


-- Remove a thread or a part of it; returns whether that was done.
CREATE OR REPLACE FUNCTION {schema}.remove(
    patience    text,
    tenant_     text,
    thread_     text,
    everything  boolean,
    seq_        bigint,                     -- NULL: wherever the log stands; 0: if there is none
    epoch_      bigint,
    link_       bytea,
    firsts      bigint[],                   -- of a part: whose bodies go
    lasts       bigint[],
    blobs_      text[],                     -- and which large values
    checksum_   bigint,                     -- of the head with the next epoch
    version_    bigint,                     -- the one that follows on the card's; NULL: whichever
    terms_      text,
    expires_    double precision,
    archived_   boolean,
    card_       bytea,                      -- the card that stays; NULL: none
    time_       double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    stored {schema}.threads;
    known  {schema}.cards;
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    -- Nobody leaves a message meanwhile.
    SELECT * INTO stored FROM {schema}.threads AS t
    WHERE t.tenant = tenant_ AND t.thread = thread_ FOR UPDATE;
    IF NOT FOUND THEN
        -- It may be gone from here and from no standby yet; see `append`. There is nothing to lock.
        PERFORM pg_logical_emit_message(true, 'durable_graph', '');
        RETURN false;
    END IF;
    IF (nullif(seq_, 0), epoch_, link_)
            IS DISTINCT FROM (stored.seq, stored.epoch, stored.link)
        AND (seq_ IS NOT NULL OR NOT everything)
    THEN
        RETURN false;
    END IF;
    IF NOT everything THEN
        UPDATE {schema}.records AS r SET body = NULL
        FROM unnest(firsts, lasts) AS span (first, last)
        WHERE r.thread_id = stored.id AND r.seq BETWEEN span.first AND span.last
            AND r.body IS NOT NULL;
        DELETE FROM {schema}.blobs AS b WHERE b.thread_id = stored.id AND b.digest = ANY (blobs_);
        UPDATE {schema}.threads AS t SET epoch = t.epoch + 1, checksum = checksum_
        WHERE t.tenant = tenant_ AND t.thread = thread_;
        RETURN true;
    END IF;
    SELECT * INTO known FROM {schema}.cards AS c WHERE c.tenant = tenant_ AND c.thread = thread_;
    IF version_ <> coalesce(known.version, 0) + 1 THEN
        RETURN false;
    END IF;
    DELETE FROM {schema}.records AS r WHERE r.thread_id = stored.id;
    DELETE FROM {schema}.blobs AS b WHERE b.thread_id = stored.id;
    DELETE FROM {schema}.messages AS m WHERE m.thread_id = stored.id;
    IF card_ IS NULL THEN
        DELETE FROM {schema}.cards AS c WHERE c.tenant = tenant_ AND c.thread = thread_;
        DELETE FROM {schema}.threads AS t WHERE t.tenant = tenant_ AND t.thread = thread_;
    ELSE
        PERFORM {schema}.put_card(
            tenant_, thread_, version_, terms_, expires_, archived_, card_
        );
        UPDATE {schema}.threads AS t
        SET seq = NULL, epoch = NULL, link = NULL, secret = NULL, status = NULL, owner = NULL,
            state = NULL, created = NULL, updated = time_, checksum = NULL
        WHERE t.tenant = tenant_ AND t.thread = thread_;
    END IF;
    RETURN true;
END
$$;


-- Put items, all of them or none; returns the numbers of those whose condition does not hold.
--
-- Whoever writes an item holds its lock, so that what is compared is what is written over, also
-- where nothing is there yet. The locks are taken in one order, and nothing else here waits.
CREATE OR REPLACE FUNCTION {schema}.put_items(
    patience   text,
    moment     double precision,
    namespaces bytea[],
    keys       text[],
    expected   bigint[],                    -- NULL: whatever is there; 0: nothing
    fresh      boolean[],
    versions   bigint[],                    -- NULL: the item is removed
    createds   double precision[],
    updateds   double precision[],
    ttls       double precision[],
    ends       double precision[],
    checksums  bigint[],
    contents   bytea[],
    vectors_   bytea[],
    swept      integer
) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    refused integer[];
    lock    bigint;
BEGIN
    PERFORM set_config('lock_timeout', patience, true);
    FOR lock IN
        SELECT DISTINCT
            hashtextextended('{schema}.items ' || encode(u.namespace, 'hex') || ' ' || u.key, 0)
        FROM unnest(namespaces, keys) AS u (namespace, key)
        ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(lock);
    END LOOP;
    SELECT array_agg(u.number::integer) INTO refused
    FROM unnest(namespaces, keys, expected) WITH ORDINALITY
        AS u (namespace, key, expected, number)
    LEFT JOIN {schema}.items AS i
        ON i.namespace = u.namespace AND i.key = u.key
        AND (i.expires IS NULL OR i.expires > moment)
    WHERE u.expected <> coalesce(i.version, 0);
    IF refused IS NOT NULL THEN
        RETURN refused;
    END IF;
    DELETE FROM {schema}.items AS i
    USING unnest(namespaces, keys, versions) AS u (namespace, key, version)
    WHERE u.version IS NULL AND i.namespace = u.namespace AND i.key = u.key;
    INSERT INTO {schema}.items AS i (
        namespace, key, version, created, updated, ttl, expires, checksum, value, vectors
    )
    SELECT u.namespace, u.key, u.version,
        CASE WHEN u.fresh OR p.created IS NULL THEN u.created ELSE p.created END,
        u.updated, u.ttl, u.expires, u.checksum, u.content, u.vectors
    FROM unnest(
        namespaces, keys, fresh, versions, createds, updateds, ttls, ends, checksums, contents,
        vectors_
    ) AS u (
        namespace, key, fresh, version, created, updated, ttl, expires, checksum, content, vectors
    )
    LEFT JOIN {schema}.items AS p
        ON p.namespace = u.namespace AND p.key = u.key
        AND (p.expires IS NULL OR p.expires > moment)
    WHERE u.version IS NOT NULL
    ON CONFLICT (namespace, key) DO UPDATE SET
        version = excluded.version, created = excluded.created, updated = excluded.updated,
        ttl = excluded.ttl, expires = excluded.expires, checksum = excluded.checksum,
        value = excluded.value, vectors = excluded.vectors;
    PERFORM {schema}.sweep_items(moment, swept);
    RETURN '{}';
END
$$;


-- Remove some of what has expired; returns how many items.
CREATE OR REPLACE FUNCTION {schema}.sweep_items(moment double precision, most integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    gone integer;
BEGIN
    WITH over AS MATERIALIZED (
        SELECT i.namespace, i.key FROM {schema}.items AS i
        WHERE i.expires <= moment ORDER BY i.expires LIMIT most
        FOR UPDATE SKIP LOCKED
    )
    DELETE FROM {schema}.items AS i USING over
    WHERE i.namespace = over.namespace AND i.key = over.key;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
