"""The contract, on what is odd, large or meant badly: ids and bytes are data and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from durable_graph.ports.backend import Backend, Process, Removal, ThreadQuery
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    message,
    process,
    results,
    write,
)
from durable_graph.testing.contract_threads import expect_gone

__all__ = ["CHAPTER"]

CHAPTER = Chapter("hostile")

# Thread ids are 1 to 255 printable characters; each of these is one, and no two are the same.
_IDS: Final = (
    "a",
    "A",
    "a ",
    " a",
    "a.",
    "a/b",
    "a\\b",
    "../a",
    "a:b",
    "a::b",
    "a%b",
    "a_b",
    "a*",
    "a?b#c",
    "%",
    "_",
    "%%s%n",
    "'",
    '"',
    "''",
    "'; DROP TABLE threads; --",
    '" OR ""="',
    "${a} $1 :a @a ?1",
    "{a}",
    "[a-z]",
    "null",
    "None",
    "0",
    "00",
    "-1",
    "1e3",
    "true",
    "ä",  # one character
    "a\u0308",  # the same to the eye: two
    "ß",
    "ss",
    "İ",
    "ﬁ",
    "日本語",
    "🧵",
    "👩\u0301",
    "x" * 255,
    "x" * 254 + "y",
    "🧵" * 255,
)

# Every byte but the one that ends a line, in JSON's place.
_BYTES: Final = bytes(byte for byte in range(256) if byte != 0x0A)
_LARGE: Final = 5_000_000
_TRIED: Final = 2**22  # of what a backend declares to take, no more than so many bytes


@CHAPTER.check
async def thread_ids_are_data(backend: Backend) -> None:
    """Threads with odd ids are threads of their own, none of which is taken for another."""
    logs = [Log(id) for id in _IDS]
    for log in logs:
        await write(backend, log, commit("c1"), blobs={"d": log.key.thread.encode()})
    for log in logs:
        await write(backend, log, results(), commit("c2"))
        await backend.post(log.key, message("id", log.key.thread.encode()))
    for log in logs:
        await expect_log(backend, log)
        stored = await backend.post(log.key, message("id"))
        expect_equal(stored.body, log.key.thread.encode(), "The message of a thread")
        found = dict(await backend.blobs(log.key, ["d"]))
        expect_equal(found, {"d": log.key.thread.encode()}, "The large value of a thread")
    page = await backend.threads(ThreadQuery(limit=1000))
    listed = [found.key.thread for found in page.threads]
    expect_equal(sorted(listed), sorted(_IDS), "The threads that are listed")


@CHAPTER.check
async def odd_threads_are_listed_page_by_page(backend: Backend) -> None:
    """Paging goes on after any thread id, also among threads that changed at the same moment."""
    for id in _IDS:
        await write(backend, Log(id), commit("c1"), at=1e6)
    listed: list[str] = []
    query = ThreadQuery(limit=1)
    for _ in range(len(_IDS) + 1):
        page = await backend.threads(query)
        listed += [found.key.thread for found in page.threads]
        if page.next is None:
            break
        query = replace(query, after=page.next)
    expect_equal(sorted(listed), sorted(_IDS), "The threads on pages of one")


@CHAPTER.check
async def removing_an_odd_thread_leaves_the_others(backend: Backend) -> None:
    """An id that looks like a pattern or a statement removes its own thread only."""
    logs = [Log(id) for id in _IDS]
    for log in logs:
        await write(backend, log, commit("c1"))
    removed = [log for log in logs if log.key.thread in ("%", "_", "a*", "'", _IDS[20], "a\u0308")]
    for log in removed:
        await backend.remove(log.key, Removal(everything=True))
    for log in logs:
        if log in removed:
            await expect_gone(backend, log)
        else:
            await expect_log(backend, log)


@CHAPTER.check
async def tenant_and_thread_are_two_things(backend: Backend) -> None:
    """However tenant and thread are put together, no two pairs are taken for one another."""
    pairs = [
        (tenant, thread)
        for tenant in ("", "a", "b", "a:b", "a/b", "a b", "a\\", "%", "'", "a,b", "ä")
        for thread in ("a", "b", "a:b", "b:c", "/b", "b/c", " b", "%", "'", "b,c", ":")
    ]
    logs = [Log(thread, tenant=tenant) for tenant, thread in pairs]
    for log in logs:
        await write(backend, log, commit("c1"))
    for log in logs:
        await expect_log(backend, log)
    for tenant in {tenant for tenant, _ in pairs}:
        page = await backend.threads(ThreadQuery(tenant=tenant, limit=1000))
        listed = sorted(found.key.thread for found in page.threads)
        wanted = sorted(thread for own, thread in pairs if own == tenant)
        expect_equal(listed, wanted, f"The threads of tenant {tenant!r}")


@CHAPTER.check
async def names_within_a_thread_are_data(backend: Backend) -> None:
    """Odd ids of checkpoints, messages, large values and processes, and odd text in heads,
    verdicts and senders, come back as they are."""
    log = Log()
    for place, id in enumerate(_IDS):
        await write(backend, log, commit(id), blobs={id: b"%d" % place}, reason=id, input=id)
        await expect_log(backend, log)
    for id in _IDS:
        await backend.post(log.key, message(id, b"x", by=id))
        await backend.beat(process(id))
    await write(
        backend, log, mark(), settled={id: id for id in _IDS[1:]}, owner="'", status="running"
    )
    for place, id in enumerate(_IDS):
        reading = await backend.read(log.key, id)
        found = None if reading is None else [record.seq for record in reading.records]
        expect_equal(found, list(range(1, place + 2)), f"The records of checkpoint {id!r}")
        stored = await backend.post(log.key, message(id))
        wanted = replace(message(id, b"x", by=id), verdict=id if place else None)
        expect_equal(stored, wanted, f"The message {id!r}")
    blobs = dict(await backend.blobs(log.key, _IDS))
    expect_equal(blobs, {id: b"%d" % place for place, id in enumerate(_IDS)}, "Large values")
    known = {entry.process.id for entry in await backend.beat(None)}
    expect_equal(known, set(_IDS), "The processes that are known")


@CHAPTER.check
async def text_may_hold_control_characters(backend: Backend) -> None:
    """Text that is no id, such as a reason or a verdict, may hold any character, also NUL, and
    be empty."""
    log = Log()
    for text in (
        "",
        "\0",
        "a\0b",
        "line\nline\r\n\ttab",
        "\x1b[31m",
        "\u2028\ufeff\uffff",
        "x" * 70_000,
    ):
        await write(backend, log, mark(), reason=text, input=text)
        await expect_log(backend, log)
        sent = replace(message(f"id {log.now.seq}"), kind=text, by=text)
        expect_equal(await backend.post(log.key, sent), sent, "A message with odd text")
        await write(backend, log, mark(), settled={sent.id: text})
        stored = await backend.post(log.key, sent)
        expect_equal(stored, replace(sent, verdict=text), "A message with an odd verdict")


@CHAPTER.check
async def bytes_are_kept(backend: Backend) -> None:
    """Bodies, large values and messages may hold any byte, and be empty where that makes sense."""
    log = Log()
    hostile = [_BYTES, bytes(1000), b"\xff\xfe", b"\xed\xa0\x80", b"'\"%_\\", _BYTES[::-1] * 40]
    for place, data in enumerate(hostile):
        values = {f"d{place}": data + b"\n", "empty": b""}
        await write(backend, log, commit(f"c{place}", {"key": data}), blobs=values)
        sent = message(f"m{place}", data + b"\n")
        expect_equal(await backend.post(log.key, sent), sent, "A message with odd bytes")
    expect_equal(await backend.post(log.key, message("m", b"")), message("m", b""), "No bytes")
    await expect_log(backend, log)
    found = dict(await backend.blobs(log.key, ["empty", *(f"d{n}" for n in range(len(hostile)))]))
    wanted = {f"d{place}": data + b"\n" for place, data in enumerate(hostile)}
    expect_equal(found, {**wanted, "empty": b""}, "Large values with odd bytes")


@CHAPTER.check
async def large_bytes_are_kept(backend: Backend) -> None:
    """A body and a large value may have millions of bytes, and leave the rest of the thread
    readable."""
    log = Log()
    body, value = b'"' + b"b" * _LARGE + b'"', b"v" * _LARGE
    await write(backend, log, commit("small"), blobs={"small": b"s"})
    await write(backend, log, commit("large", {"key": body}), blobs={"large": value})
    await write(backend, log, results())
    reading = await backend.read(log.key)
    same = reading is not None and list(reading.records) == log.records
    expect(same, f"A body of {_LARGE} bytes did not come back as it was.")
    found = dict(await backend.blobs(log.key, ["large", "small"]))
    expect(found == {"large": value, "small": b"s"}, f"A large value of {_LARGE} bytes changed.")
    found_headers = list(await backend.scan(log.key, ((1, 3),), bodies=False))
    wanted = [replace(record, body=None) for record in log.records]
    expect_equal(found_headers, wanted, "The headers beside a large body")


@CHAPTER.check
async def as_much_is_kept_as_is_declared(backend: Backend) -> None:
    """A large value and a message may be as large as the backend says; as far as that is tried."""
    declared = (backend.capabilities.max_record_bytes, backend.capabilities.max_append_bytes)
    limits = [limit for limit in declared if limit is not None]
    expect(all(type(limit) is int and limit > 0 for limit in limits), f"Limits are {limits}.")
    most = min([*limits, _TRIED])
    log, value = Log(), b"v" * most
    await write(backend, log, commit("small"))
    # Of one append, the record counts as well.
    short = value if len(limits) < 2 or max(limits) > most else value[: max(0, most - 4096)]
    await write(backend, log, commit("large"), blobs={"large": short})
    found = dict(await backend.blobs(log.key, ["large"]))
    expect(found == {"large": short}, f"A large value of {len(short)} bytes changed.")
    sent = message("m", value)
    expect(await backend.post(log.key, sent) == sent, f"A message of {most} bytes changed.")


@CHAPTER.check
async def numbers_are_kept(backend: Backend) -> None:
    """Epochs, sizes and leases may be as large as 63 bits allow, and times are kept exactly."""
    log = Log()
    await write(backend, log, commit("c1"), epoch=2**62, at=1_700_000_000.123456)
    append = log.next(mark(), at=0.1 + 0.2)
    grown = replace(append.head, size=2**62, weight=2**53 + 1, fresh=2**53 + 3, step=2**40)
    append = replace(append, head=grown)
    await backend.append([append])
    log.accept(append)
    await expect_log(backend, log)
    long = Process("long", process().identity, 1e300)
    await backend.beat(long)
    (entry,) = await backend.beat(None)
    expect_equal(entry.process, long, "A process with a long lease")


@CHAPTER.check
async def long_paths_are_kept(backend: Backend) -> None:
    """A head may have a path of thousands of ranges."""
    log = Log()
    for number in range(0, 600, 100):
        drafts = [mark(f"event {n}") for n in range(number, number + 100)]
        await write(backend, log, *drafts)
    every_other = tuple((seq, seq) for seq in range(1, 600, 2))
    await write(backend, log, commit("woven", onto=(every_other, 1)))
    expect(len(log.now.path) > 290, "The check itself: the path has few ranges.")
    await expect_log(backend, log)
    reading = await backend.read(log.key, "woven")
    records = None if reading is None else list(reading.records)
    expect_equal(records, log.pick(log.now.path), "The records of a woven path")
