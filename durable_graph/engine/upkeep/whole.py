"""A thread as a whole: copied within its storage, or taken from one to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from durable_graph.decisions.cards import Act
from durable_graph.engine.history.reading import fold_records
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.upkeep.cards import is_trace, next_of, notes_of
from durable_graph.errors import (
    ConfigError,
    IntegrityError,
    ThreadExistsError,
    ThreadNotFoundError,
)
from durable_graph.log.fold import Scope
from durable_graph.log.records import Ranges, Record, ThreadKey
from durable_graph.log.seal import extend, open_header
from durable_graph.ports.backend import Append, Card, Head, Outcome, Thread
from durable_graph.ports.limits import check_append, check_message
from durable_graph.ports.threadfile import (
    WholeThread,
    check_content,
    read_thread,
    whole_thread,
    write_thread,
)

__all__ = ["copy", "export", "import_file"]

# More than any thread lives through, and few enough for every storage system to count on.
_EPOCHS = 2**62
# Two that import at once are as far apart as that many bytes say, and hardly ever as close as this.
_APART = 5
_CLOSE = 2**16


async def export(keeper: Keeper, key: ThreadKey) -> bytes:
    """A thread at rest as one file; see `durable_graph.ports.threadfile`.

    Raises:
        ThreadNotFoundError: there is no such thread, or it has never been run.
        ThreadBusyError: it is being run.
        IntegrityError: it is damaged.
    """
    return write_thread(await _read(keeper, key))


async def copy(
    keeper: Keeper, source: ThreadKey, target: ThreadKey, by: str | None = None
) -> Thread:
    """Copy a thread at rest; returns the copy.

    Raises:
        ThreadNotFoundError: there is no such source, or it has never been run.
        ThreadBusyError: the source is being run.
        ThreadExistsError: the target exists.
        IntegrityError: the source is damaged.
    """
    act = Act("copied", keeper.clock.time(), by, f"from {source.thread}")
    return await _write(keeper, target, await _read(keeper, source), act)


async def import_file(
    keeper: Keeper, data: bytes, thread_id: str | None, by: str | None = None
) -> Thread:
    """Store the thread that is in a file; returns it.

    Args:
        keeper: where it is to be stored.
        data: the file.
        thread_id: its name here; by default that which it had.
        by: who has it imported.

    Raises:
        IntegrityError: the file is damaged, or no such file; nothing was stored.
        UnknownTypeError: a newer version has written it.
        ThreadExistsError: there is a thread of that name.
        ConfigError: the name is no usable text.
    """
    whole = read_thread(data)
    check_content(whole)
    _check_head(whole)
    if thread_id is not None:
        key = keeper.key(thread_id)
    else:
        try:
            key = keeper.key(whole.head.key.thread)
        except ConfigError as error:
            raise IntegrityError(f"This file is damaged: {error}") from error
    act = Act("imported", keeper.clock.time(), by, f"was {whole.head.key.thread}")
    return await _write(keeper, key, whole, act)


async def _read(keeper: Keeper, key: ThreadKey) -> WholeThread:
    whole = None
    if await keeper.at_rest(key) is not None:
        whole = await whole_thread(keeper.backend, key)
    if whole is None:
        raise ThreadNotFoundError(f"There is no thread {key.thread!r} that has been run.")
    check_content(whole)
    return whole


async def _write(keeper: Keeper, key: ThreadKey, whole: WholeThread, act: Act) -> Thread:
    """Store a thread under a name that is free.

    Raises:
        StateTooLargeError: this storage cannot take it as a whole.
    """
    keeper.check_usable()
    there = await keeper.backend.thread(key)
    if there is not None and not is_trace(there):
        return await _complete(keeper, there, whole)
    # The epoch grows: whoever owned a thread of this name and log before it was deleted would find
    # it just where it was, and must not write to it. By chance, since to storage the same log that
    # somebody else brings at this moment is an append that is asked for again.
    epoch = whole.head.epoch + 1 + int.from_bytes(keeper.chance.secret()[:_APART])
    head = replace(whole.head, key=key, epoch=epoch, owner=None, updated=act.time)
    if head.status == "running":  # its owner is dead, and nobody owns the copy
        head = replace(head, status="stopped", reason=act.what)
    card = _card(there, whole, act)
    append = Append(None, head, whole.records, whole.blobs, {}, card)
    check_append(append, keeper.backend.capabilities)
    for message in whole.messages:
        check_message(message, keeper.backend.capabilities, key.thread)
    (outcome,) = await keeper.backend.append([append])
    if outcome is not Outcome.APPLIED or not await _is_ours(keeper, head):
        raise _exists(key)
    # Last: an inbox needs a log. Whoever dies before this calls again, and completes it.
    for message in whole.messages:
        await keeper.backend.post(key, message)
    return Thread(key, head, card)


async def _is_ours(keeper: Keeper, head: Head) -> bool:
    """Whether the thread that is there came with this head; it may have gone on since."""
    there = await keeper.backend.thread(head.key)
    if there is None or there.head is None:
        return True  # deleted or archived since
    return 0 <= there.head.epoch - head.epoch < _CLOSE


async def _complete(keeper: Keeper, there: Thread, whole: WholeThread) -> Thread:
    """Bring what an earlier try has left out: answers that wait in the inbox.

    Raises:
        ThreadExistsError: it is another thread, has gone on, or lacks nothing.
    """
    if there.head is None or there.head.link != whole.head.link or not whole.messages:
        raise _exists(there.key)
    reading = await keeper.backend.read(there.key)
    known = {message.id for message in reading.messages} if reading is not None else set()
    missing = [message for message in whole.messages if message.id not in known]
    if reading is None or reading.head.link != whole.head.link or not missing:
        raise _exists(there.key)
    for message in missing:
        await keeper.backend.post(there.key, message)
    return there


def _card(there: Thread | None, whole: WholeThread, act: Act) -> Card | None:
    """The card of a copy: that of its source, as the next of the one in whose place it comes."""
    source = Thread(whole.head.key, whole.head, whole.card)
    notes = notes_of(source)
    if whole.card is None and there is None and act.by is None:
        return None  # nothing was known of it, and nobody wants to be
    kept = whole.card or Card(0)
    expires = kept.expires if notes.ttl is None else act.time + notes.ttl
    before = notes_of(there).acts if there is not None else ()
    notes = replace(notes, deleted=False, acts=(*before, *notes.acts)).after(act)
    return next_of(
        there,
        notes,
        act.time,
        owner=kept.owner,
        tags=kept.tags,
        metadata=kept.metadata,
        expires=expires,
        archived=None,
    )


def _exists(key: ThreadKey) -> ThreadExistsError:
    return ThreadExistsError(
        f"Thread {key.thread!r} exists already; delete it first, or choose another."
    )


def _check_head(whole: WholeThread) -> None:
    """See that the head is the one that these records lead to: a file can be made by hand.

    Raises:
        IntegrityError: it is not, or no state comes of them.
    """
    head, thread = whole.head, whole.head.key.thread
    checkpoint, step = "", -2
    path: Ranges = ()
    for record in whole.records:
        header = open_header(record, thread)
        if (info := header.commit) is not None:
            path = info.path
            if not header.ns:
                checkpoint, step = info.id, info.step
        path = extend(path, record.seq)
    known = (head.checkpoint, head.step, head.path) == (checkpoint, step, path)
    if not known or not 0 < head.epoch < _EPOCHS:
        raise IntegrityError(f"The head of thread {thread!r} is not what its records lead to.")
    fold_records(Scope(), list(_on(path, whole)), head.secret, thread)


def _on(path: Ranges, whole: WholeThread) -> Iterator[Record]:
    for first, last in path:
        yield from whole.records[first - 1 : last]
