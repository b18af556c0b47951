"""The contract, on stored bytes that have changed: what is read is what was written, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from durable_graph.errors import IntegrityError, StorageError
from durable_graph.log.records import Record
from durable_graph.log.seal import blob_digest, open_record
from durable_graph.ports.backend import Backend, Card, Thread
from durable_graph.testing.contract_hooks import Raw
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    Storage,
    commit,
    expect,
    expect_equal,
    look,
    mark,
    message,
    results,
    second_instance,
    write,
)

__all__ = ["CHAPTER"]

CHAPTER = Chapter("corruption")

_REFUSED = (IntegrityError, StorageError)


@CHAPTER.hooked("raw")
async def a_flipped_bit_is_found(storage: Storage) -> None:
    """Whatever piece has one bit flipped, a thread is read as it was written, or refused, or its
    records can be told to be damaged; other threads are as they were."""
    await _damage_each(storage, _flip)


@CHAPTER.hooked("raw")
async def a_cut_piece_is_found(storage: Storage) -> None:
    """The same, whatever piece ends early, is empty, or is full of zeros."""
    await _damage_each(storage, _cut)


@CHAPTER.hooked("raw")
async def a_piece_in_a_wrong_place_is_found(storage: Storage) -> None:
    """The same, whatever piece stands in the place of another."""
    await _damage_each(storage, _misplace)


# -- ways to damage --------------------------------------------------------------------------------

_Damages = Callable[[Sequence[str], Mapping[str, bytes], int], bytes]
"""What stands in the place of a piece, by its number, after it was damaged."""


def _flip(names: Sequence[str], pieces: Mapping[str, bytes], number: int) -> bytes:
    data = bytearray(pieces[names[number]])
    place = (0, len(data) // 2, len(data) - 1)[number % 3]
    data[place] ^= 1 << number % 8
    return bytes(data)


def _cut(names: Sequence[str], pieces: Mapping[str, bytes], number: int) -> bytes:
    data = pieces[names[number]]
    return (data[: len(data) // 2], b"", bytes(len(data)))[number % 3]


def _misplace(names: Sequence[str], pieces: Mapping[str, bytes], number: int) -> bytes:
    """The next piece that has other bytes."""
    data = pieces[names[number]]
    others = (*names[number + 1 :], *names[:number])
    return next((pieces[name] for name in others if pieces[name] != data), data)


# -- what is seen then -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Written:
    """A thread, with everything that must be found of it."""

    log: Log
    blobs: Mapping[str, bytes]
    card: Card


async def _damage_each(storage: Storage, damaged: _Damages) -> None:
    written = [await _write(storage.backend, name) for name in ("first", "second")]
    await storage.backend.aclose()
    raw: Raw | None = storage.raw
    if raw is None:
        raise ValueError("The factory gives no way to the stored bytes.")
    pieces = {name: data for name, data in (await raw.pieces()).items() if data}
    expect(len(pieces) > 1, "The stored bytes are in one piece or none.")
    noticed = 0
    for number, name in enumerate(pieces):
        data = damaged(list(pieces), pieces, number)
        await raw.overwrite(name, data)
        try:
            async with second_instance(storage) as backend:
                harmed = [each for each in written if not await _is_whole(backend, each)]
        except AssertionError as error:
            error.add_note(f"The piece {name!r} held {data!r} instead of {pieces[name]!r}.")
            raise
        finally:
            await raw.overwrite(name, pieces[name])
        expect(len(harmed) < 2, f"Damaging the piece {name!r} has harmed two threads.")
        noticed += len(harmed)
    expect(noticed > 0, "No damage to any piece has any effect: they are not what is read.")
    async with second_instance(storage) as backend:
        for each in written:
            expect(await _is_whole(backend, each), "The check itself: not all was put back.")


async def _write(backend: Backend, name: str) -> _Written:
    log = Log(name)
    data = name.encode() * 50
    digest = blob_digest(data, log.secret)
    await write(backend, log, commit("c1"), results(), blobs={digest: data})
    await backend.post(log.key, message("settled"))
    await write(backend, log, mark("resumed"), commit("c2"), settled={"settled": ""})
    await backend.post(log.key, message("waiting"))
    await write(backend, log, results(), reason="because", input="digest")
    card = Card(1, name, ("tag",), {"n": 1, "text": "word"}, 2e6, None, 1e6, b'{"note":"word"}')
    expect(await backend.label(log.key, card), "A first card was not stored.")
    return _Written(log, {digest: data}, card)


async def _is_whole(backend: Backend, written: _Written) -> bool:
    """Whether a thread is as it was written; if it is not, it has to be told.

    Raises:
        AssertionError: something is shown that was not written, or is missing without a word.
    """
    log = written.log
    looks = [
        await _same_head(backend, log),
        await _same_thread(backend, written),
        await _same_checkpoint(backend, log),
        await _same_records(backend, log),
        await _same_blobs(backend, written),
    ]
    return all(looks)


async def _same_head(backend: Backend, log: Log) -> bool:
    try:
        reading = await backend.read(log.key)
    except _REFUSED as error:
        return _names(error, log)
    if reading is None:
        raise AssertionError("A damaged thread is told as one that does not exist.")
    expect_equal(reading.head, log.now, "The head of a damaged thread")
    return _same(list(reading.records), log.pick(log.now.path), log)


async def _same_thread(backend: Backend, written: _Written) -> bool:
    log = written.log
    try:
        found = await look(backend, log.key)
    except _REFUSED as error:
        return _names(error, log)
    expect_equal(found, Thread(log.key, log.shown, written.card), "Head and card of a thread")
    return True


async def _same_checkpoint(backend: Backend, log: Log) -> bool:
    try:
        reading = await backend.read(log.key, "c1")
    except _REFUSED as error:
        return _names(error, log)
    if reading is None:
        raise AssertionError("A damaged thread is told as one that does not exist.")
    expect_equal(reading.head, log.now, "The head of a damaged thread, read with a checkpoint")
    same = _same(list(reading.records), log.records[:1], log)
    return _same(list(reading.after), log.records[1:4], log) and same


async def _same_records(backend: Backend, log: Log) -> bool:
    try:
        found = list(await backend.scan(log.key, ((1, log.now.seq),)))
    except _REFUSED as error:
        return _names(error, log)
    return _same(found, log.records, log)


async def _same_blobs(backend: Backend, written: _Written) -> bool:
    log = written.log
    try:
        found = dict(await backend.blobs(log.key, list(written.blobs)))
    except _REFUSED as error:
        return _names(error, log)
    # Whoever asks knows a large value by its digest, or finds it damaged or missing.
    return found == written.blobs


def _names(error: Exception, log: Log) -> bool:
    expect(
        isinstance(error, StorageError) or repr(log.key.thread) in str(error),
        f"It is not said which thread is damaged: {error}",
    )
    return False


def _same(found: list[Record], written: list[Record], log: Log) -> bool:
    """Whether records are as they were written; those that are not must be found damaged.

    Where one is damaged, others may be missing or too many: nobody gets as far as those.
    """
    known = {record.seq: record for record in log.records}
    each = [_same_record(record, known[record.seq], log) for record in found]
    same = all(each)  # after all of them were looked at
    if same:
        expect_equal([r.seq for r in found], [r.seq for r in written], "The records by number")
    return same


def _same_record(found: Record, written: Record, log: Log) -> bool:
    if found == written:
        return True
    try:
        open_record(found, log.now.secret, log.key.thread)
    except IntegrityError:
        return False
    # Only what it rests on has changed: whoever reads the record before finds that damaged.
    expect_equal(found, written, f"A record that passes for record {written.seq}")
    return False
