"""The contract, on reading: at the head, at a checkpoint, by number, and large values."""

from __future__ import annotations

from dataclasses import replace

from durable_graph.log.records import Ranges
from durable_graph.ports.backend import Backend, Reading, Record
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    message,
    results,
    write,
)

__all__ = ["BLOBS", "READ", "SCAN"]

READ = Chapter("read")
SCAN = Chapter("scan")
BLOBS = Chapter("blobs")


# -- at the head, at a checkpoint ------------------------------------------------------------------


@READ.check
async def a_missing_thread_reads_as_none(backend: Backend) -> None:
    """Reading a thread that does not exist tells `None`, at its head and at any checkpoint."""
    await write(backend, Log("there"), commit("c1"))
    key = Log("missing").key
    expect_equal(await backend.read(key), None, "A missing thread")
    expect_equal(await backend.read(key, "c1"), None, "A checkpoint of a missing thread")


@READ.check
async def only_the_path_is_read(backend: Backend) -> None:
    """At the head, the records are those of the head's path: not those of other branches."""
    log = await _branched(backend)
    expect_equal(log.now.path, ((1, 2), (6, 7)), "The path of the check itself")
    await expect_log(backend, log)


@READ.check
async def a_snapshot_begins_the_path(backend: Backend) -> None:
    """Records before a snapshot are not read with the head."""
    log = Log()
    for number in range(5):
        await write(backend, log, commit(f"c{number}"), results())
    await write(backend, log, commit("whole", snapshot=True))
    await write(backend, log, results(), mark())
    expect_equal(log.now.path, ((11, 13),), "The path of the check itself")
    await expect_log(backend, log)


@READ.check
async def every_record_knows_the_link_before_it(backend: Backend) -> None:
    """Each record comes with the link of the record before it in the log, also after a gap."""
    log = await _branched(backend)
    reading = await _read(backend, log)
    for record in reading.records:
        wanted = b"" if record.seq == 1 else log.records[record.seq - 2].link
        expect_equal(record.previous, wanted, f"The link before record {record.seq}")


@READ.check
async def records_that_the_caller_knows_are_left_out(backend: Backend) -> None:
    """At the head, records are left out if the head is where the caller knows it, and only then;
    head and messages are told all the same."""
    log = Log()
    await write(backend, log, commit("c1"))
    known = log.position
    await backend.post(log.key, message("waiting"))
    reading = await backend.read(log.key, unless=known)
    told = None if reading is None else _plain(reading)
    wanted = _plain(Reading(log.now, (), (), [message("waiting")]))
    expect_equal(told, wanted, "Reading a known head")
    await write(backend, log, results())
    for position in (
        known,
        replace(log.position, epoch=2),
        replace(log.position, link=bytes(32)),
        replace(log.position, seq=1),
    ):
        reading = await backend.read(log.key, unless=position)
        records = list(reading.records) if reading is not None else None
        expect_equal(records, log.records, f"Reading a head that is not at {position}")


@READ.check
async def a_checkpoint_is_read_with_what_became_of_it(backend: Backend) -> None:
    """At a checkpoint, the records are those to fold for it, and `after` has the records up to
    and including the next commit."""
    log = Log()
    await write(backend, log, commit("c1"))
    await write(backend, log, results(), mark())
    await write(backend, log, commit("c2"))
    await write(backend, log, commit("c3"), results(), results())
    await _expect_at(backend, log, "c1", ((1, 1),), ((2, 4),))
    await _expect_at(backend, log, "c2", ((1, 4),), ((5, 5),))
    await _expect_at(backend, log, "c3", ((1, 5),), ((6, 7),))
    await write(backend, log, commit("c4"))
    await _expect_at(backend, log, "c3", ((1, 5),), ((6, 8),))
    await _expect_at(backend, log, "c4", ((1, 8),), ())


@READ.check
async def a_checkpoint_of_another_branch_is_read(backend: Backend) -> None:
    """A checkpoint is read along its own branch, wherever the head is."""
    log = await _branched(backend)
    await _expect_at(backend, log, "c1", ((1, 1),), ((2, 3),))
    await _expect_at(backend, log, "old", ((1, 3),), ((4, 6),))
    await _expect_at(backend, log, "fork", ((1, 2), (6, 6)), ((7, 7),))


@READ.check
async def an_unknown_checkpoint_has_no_records(backend: Backend) -> None:
    """Asking for a checkpoint that the thread does not have tells the head, and no records."""
    log, other = Log(), Log("other")
    await write(backend, log, commit("c1"), results())
    await write(backend, other, commit("elsewhere"))
    for name in ("c2", "elsewhere", "C1", "c1 ", "", "%", "run"):
        reading = await backend.read(log.key, name)
        wanted = Reading(log.now, (), (), [])
        told = None if reading is None else _plain(reading)
        expect_equal(told, _plain(wanted), f"Reading the checkpoint {name!r}, which is not there")


@READ.check
async def what_is_known_does_not_hide_a_checkpoint(backend: Backend) -> None:
    """The records of a checkpoint are read also if the caller knows the head."""
    log = Log()
    await write(backend, log, commit("c1"))
    reading = await backend.read(log.key, "c1", unless=log.position)
    records = None if reading is None else list(reading.records)
    expect_equal(records, log.records, "A checkpoint, read with `unless`")


# -- by number -------------------------------------------------------------------------------------


@SCAN.check
async def ranges_include_both_ends(backend: Backend) -> None:
    """A scan gives the records of its ranges, both ends included, in order."""
    log = await _long(backend)
    for ranges in (
        ((1, 1),),
        ((3, 5),),
        ((1, 20),),
        ((20, 20),),
        ((1, 2), (5, 5), (9, 12)),
        ((1, 10), (11, 20)),
    ):
        found = list(await backend.scan(log.key, ranges))
        expect_equal(found, log.pick(ranges), f"Scanning {ranges}")


@SCAN.check
async def what_does_not_exist_is_left_out(backend: Backend) -> None:
    """A scan beyond the log's ends, of no range or of no thread gives what there is."""
    log = await _long(backend)
    for ranges, wanted in (
        (((18, 25),), ((18, 20),)),
        (((21, 1000),), ()),
        (((0, 2),), ((1, 2),)),
        (((5, 4),), ()),
        ((), ()),
        (((19, 2**40),), ((19, 20),)),
    ):
        found = list(await backend.scan(log.key, ranges))
        expect_equal(found, log.pick(wanted), f"Scanning {ranges} of 20 records")
    found = list(await backend.scan(Log("missing").key, ((1, 20),)))
    expect_equal(found, [], "Scanning a missing thread")


@SCAN.check
async def bodies_can_be_left_out(backend: Backend) -> None:
    """Without bodies, a scan gives everything else of the records."""
    log = await _long(backend)
    wanted = [replace(record, body=None) for record in log.pick(((2, 6), (11, 11)))]
    found = list(await backend.scan(log.key, ((2, 6), (11, 11)), bodies=False))
    expect_equal(found, wanted, "Scanning without bodies")


@SCAN.check
async def records_of_other_threads_are_not_found(backend: Backend) -> None:
    """A scan gives the records of its own thread and tenant only."""
    logs = [Log("a"), Log("b"), Log("a", tenant="t")]
    for number in range(3):
        for log in logs:
            await write(backend, log, commit(f"{log.key} {number}"))
    for log in logs:
        found = list(await backend.scan(log.key, ((1, 10),)))
        expect_equal(found, log.records, f"Scanning {log.key}")


# -- large values ----------------------------------------------------------------------------------


@BLOBS.check
async def large_values_are_found_by_digest(backend: Backend) -> None:
    """Large values are found by digest; those that are missing are left out."""
    log = Log()
    await write(backend, log, commit("c1"), blobs={"one": b"1", "two": b"22"})
    await write(backend, log, results(), blobs={"three": b"333"})
    found = dict(await backend.blobs(log.key, ["three", "none", "one"]))
    expect_equal(found, {"three": b"333", "one": b"1"}, "Large values")
    expect_equal(dict(await backend.blobs(log.key, [])), {}, "No large values")
    found = dict(await backend.blobs(log.key, ["none"]))
    expect_equal(found, {}, "A large value that is not there")


@BLOBS.check
async def storing_a_large_value_again_is_harmless(backend: Backend) -> None:
    """A large value can come with several appends, and stays what it is."""
    log = Log()
    for number in range(3):
        values = {"same": b"value", f"own {number}": b"x"}
        await write(backend, log, commit(f"c{number}"), blobs=values)
    found = dict(await backend.blobs(log.key, ["same", "own 0", "own 2"]))
    expect_equal(found, {"same": b"value", "own 0": b"x", "own 2": b"x"}, "Large values")


@BLOBS.check
async def large_values_belong_to_one_thread(backend: Backend) -> None:
    """A large value is found in the thread that it was stored with, and in no other."""
    logs = [Log("a"), Log("b"), Log("a", tenant="t")]
    for log in logs:
        own = str(log.key)
        await write(backend, log, commit("c1"), blobs={own: b"own", "d": own.encode()})
    for log in logs:
        found = dict(await backend.blobs(log.key, [*(str(other.key) for other in logs), "d"]))
        own = str(log.key)
        wanted = {own: b"own", "d": own.encode()}
        expect_equal(found, wanted, f"Large values of {log.key}")
    found = dict(await backend.blobs(Log("missing").key, ["d"]))
    expect_equal(found, {}, "Large values of a missing thread")


@BLOBS.check
async def many_large_values_are_read_at_once(backend: Backend) -> None:
    """Thousands of digests can be asked for in one call."""
    log = Log()
    values = {f"{number:064x}": str(number).encode() for number in range(3000)}
    await write(backend, log, commit("c1"), blobs=values)
    found = dict(await backend.blobs(log.key, list(values)))
    expect(found == values, f"Of 3000 large values, {len(found)} came back, or came back changed.")


async def _branched(backend: Backend) -> Log:
    """A log whose head has left the records 3 to 5 beside it."""
    log = Log()
    await write(backend, log, commit("c1"), results())
    path, weight = log.now.path, log.now.weight
    await write(backend, log, commit("old"))
    await write(backend, log, results(), mark())
    await write(backend, log, commit("fork", onto=(path, weight)))
    await write(backend, log, results())
    return log


async def _long(backend: Backend) -> Log:
    log = Log()
    for number in range(10):
        await write(backend, log, commit(f"c{number}"), results(str(number).encode()))
    return log


async def _read(backend: Backend, log: Log) -> Reading:
    reading = await backend.read(log.key)
    if reading is None:
        raise AssertionError(f"Thread {log.key} is not there, though it was written.")
    return reading


async def _expect_at(
    backend: Backend, log: Log, checkpoint: str, path: Ranges, after: Ranges
) -> None:
    reading = await backend.read(log.key, checkpoint)
    if reading is None:
        raise AssertionError(f"Thread {log.key} is not there, though it was written.")
    expect_equal(reading.head, log.now, f"The head, read with checkpoint {checkpoint!r}")
    expect_equal(list(reading.records), log.pick(path), f"The records of {checkpoint!r}")
    expect_equal(list(reading.after), log.pick(after), f"The records after {checkpoint!r}")


def _plain(reading: Reading) -> tuple[object, list[Record], list[Record], list[object]]:
    return reading.head, list(reading.records), list(reading.after), list(reading.messages)
