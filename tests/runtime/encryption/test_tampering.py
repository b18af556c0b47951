"""Scenario 40: what was altered, moved or is under another key is refused, and by one error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.errors import DecryptionError, IntegrityError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.rows import head_values
from durable_graph.testing.contract_kit import Log, commit, mark, message, results, write
from durable_graph_sqlite import SqliteBackend
from tests.runtime.encryption.kit import (
    KEY,
    OTHER,
    change,
    encrypted,
    everything,
    named,
    opened,
)
from tests.runtime.kit import history

ROOT = Path(__file__).parents[3]


async def two_threads(path: Path, encryption: Encryption | None) -> None:
    """Two threads that did the same, and wait for an answer."""
    async with opened(path, encryption) as saver:
        for thread in ("one", "two"):
            await everything(saver).ainvoke({"items": ["word-input"]}, named(thread))


async def told(path: Path, encryption: Encryption, thread: str = "one") -> str:
    """What the error says that reading a thread raises, and also writing to it."""
    async with opened(path, encryption) as saver:
        graph = everything(saver)
        with pytest.raises(DecryptionError) as read:
            await graph.aget_state(named(thread))
        with pytest.raises(DecryptionError) as written:
            await graph.ainvoke({"items": ["more"]}, named(thread), on_pending="supersede")
        with pytest.raises(DecryptionError):
            await saver.acopy_thread(thread, "copy")
        assert str(read.value) == str(written.value)
        return str(read.value)


@pytest.mark.parametrize(
    "keys",
    [
        LocalKeys({"2026": OTHER}),
        LocalKeys({"2027": OTHER}),
        LocalKeys({"2027": KEY}),
        LocalKeys({"2027": KEY, "2026": OTHER}),
    ],
    ids=["wrong key", "unknown id", "right key under another id", "both"],
)
async def test_another_key_reads_nothing(keys: LocalKeys, tmp_path: Path) -> None:
    """A thread whose key is wrong or unknown is refused as a whole, in words that do not tell
    which; it stays as it is, and its own key reads it."""
    path = tmp_path / "threads.db"
    await two_threads(path, encrypted())
    before = change(path, "SELECT * FROM threads"), change(path, "SELECT * FROM records")
    text = await told(path, Encryption(keys))
    assert text == (
        "Thread 'one' cannot be decrypted: it was altered or moved, is not encrypted, or its key "
        "is not among those that are known here."
    )
    assert before == (change(path, "SELECT * FROM threads"), change(path, "SELECT * FROM records"))
    async with opened(path, encrypted()) as saver:
        assert (await everything(saver).aget_state(named("one"))).interrupts


async def test_what_lies_in_the_clear_is_refused(tmp_path: Path) -> None:
    """With `required=True` a thread that is not encrypted is none: nobody can slip one in."""
    path = tmp_path / "threads.db"
    await two_threads(path, None)
    assert "is not encrypted" in await told(path, encrypted())


async def test_what_lies_in_the_clear_is_read_if_so_asked(tmp_path: Path) -> None:
    """With `required=False` it is read, and what is written then is encrypted; so one goes over."""
    path = tmp_path / "threads.db"
    await two_threads(path, None)
    async with opened(path, encrypted(required=False)) as saver:
        graph = everything(saver)
        before = await graph.aget_state(named("one"))
        await graph.aupdate_state(named("one"), {"items": ["word-edit"]}, as_node="begin")
        assert (await graph.aget_state(named("one"))).values["items"] == [
            *before.values["items"],
            "word-edit",
        ]
        assert not await saver.averify("one")
        await saver.acopy_thread("two", "encrypted")
    assert not change(path, "SELECT count(*) FROM records WHERE body LIKE '%word-edit%'")[0][0]
    assert "body of record 1 of thread 'one' cannot be decrypted" in await told(path, encrypted())
    async with opened(path, encrypted()) as saver:
        assert (await everything(saver).aget_state(named("encrypted"))).interrupts
    async with opened(path, None) as saver:
        with pytest.raises(IntegrityError):
            await everything(saver).aget_state(named("one"))


MOVES: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
    "that of another record": lambda own, before, others: before,
    "that of the same record of another thread": lambda own, before, others: others,
    "with another tag": lambda own, before, others: own[:-1] + bytes([own[-1] ^ 1]),
    "with another nonce": lambda own, before, others: own[:5] + bytes(12) + own[17:],
    "of another format": lambda own, before, others: own[:4] + b"\2" + own[5:],
    "cut off": lambda own, before, others: own[:-1],
    "in the clear": lambda own, before, others: b'{"delta":{}}',
    "nothing": lambda own, before, others: b"",
}
"""Bodies in the place of a record's own: of what there is to take them from."""


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("move", MOVES)
async def test_a_body_that_is_not_its_own_is_refused(
    move: str, required: bool, tmp_path: Path
) -> None:
    """Whatever is put in the place of a record's body, that record is refused and no other one:
    verifying names it alone, the history goes on past it, and other threads are whole."""
    path = tmp_path / "threads.db"
    await two_threads(path, encrypted())
    bodies = [
        change(path, "SELECT body FROM records WHERE thread_id = ? AND seq = ?", *place)[0][0]
        for place in ((1, 3), (1, 2), (2, 3))
    ]
    change(
        path, "UPDATE records SET body = ? WHERE thread_id = 1 AND seq = 3", MOVES[move](*bodies)
    )
    async with opened(path, encrypted(required=required)) as saver:
        graph = everything(saver)
        with pytest.raises(IntegrityError, match="body of record 3 of thread 'one'") as refused:
            await graph.aget_state(named("one"))
        in_the_clear = not required and move in ("in the clear", "nothing")
        assert isinstance(refused.value, DecryptionError) is not in_the_clear
        (wrong,) = await saver.averify("one")
        assert str(wrong) == str(refused.value)
        *later, first = [shown.values for shown in await history(graph, named("one"))]
        assert first.get("items", []) == []
        assert later
        assert {str(values) for values in later} == {str(refused.value)}
        assert not await saver.averify("two")
        assert (await graph.aget_state(named("two"))).interrupts


async def test_a_large_value_is_bound_to_its_name(tmp_path: Path) -> None:
    """One in the place of another, or of another thread's, is refused."""
    path = tmp_path / "threads.db"
    await two_threads(path, encrypted())
    ((name,),) = change(
        path, "SELECT digest FROM blobs WHERE thread_id = 1 ORDER BY length(data) DESC LIMIT 1"
    )
    change(
        path,
        "UPDATE blobs SET data = (SELECT data FROM blobs WHERE thread_id = 2 "
        "ORDER BY length(data) DESC LIMIT 1) WHERE thread_id = 1 AND digest = ?",
        name,
    )
    async with opened(path, encrypted()) as saver:
        with pytest.raises(DecryptionError, match="A large value of thread 'one'"):
            await everything(saver).aget_state(named("one"))
        assert await saver.averify("one")
        assert not await saver.averify("two")


SECRETS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "another thread's": lambda own, others: others,
    "a part of it": lambda own, others: own[:20],
    "its mark": lambda own, others: own[:5],
    "of another format": lambda own, others: own[:4] + b"\2" + own[5:],
    "noise": lambda own, others: bytes(16),
    "nothing": lambda own, others: b"",
}


@pytest.mark.parametrize("secret", SECRETS)
async def test_a_secret_is_bound_to_its_thread(secret: str, tmp_path: Path) -> None:
    """Whatever is put in the place of a wrapped secret opens nothing."""
    path = tmp_path / "threads.db"
    await two_threads(path, encrypted())
    backend = SqliteBackend(path)
    heads = [await backend.thread(ThreadKey("", name)) for name in ("one", "two")]
    await backend.aclose()
    head, other = (found.head for found in heads if found is not None)
    assert head is not None
    assert other is not None
    changed = replace(head, secret=SECRETS[secret](head.secret, other.secret))
    # As somebody does who knows how heads are stored.
    checksum = head_values(changed)[-1]
    change(
        path,
        "UPDATE threads SET secret = ?, checksum = ? WHERE thread = 'one'",
        changed.secret,
        checksum,
    )
    assert "Thread 'one' cannot be decrypted" in await told(path, encrypted())


async def test_a_message_is_bound_to_who_sent_it(tmp_path: Path) -> None:
    """A message whose author, time or content was changed has no content any more, so whoever
    takes it up refuses it; a thread is not made unreadable by what is left in its inbox."""
    path, log = tmp_path / "threads.db", Log()
    for column, value in (("author", "eve"), ("time", 5.0), ("message", "x"), ("body", b"{}")):
        path.unlink(missing_ok=True)
        backend = encrypted().over(opened(path, None).backend)
        log = Log()
        await write(backend, log, commit("c1"))
        for name in ("changed", "left"):
            sent = message(name, by="ann")
            assert await backend.post(log.key, sent) == sent
        await backend.aclose()
        change(path, f"UPDATE messages SET {column} = ? WHERE message = 'changed'", value)
        backend = encrypted().over(opened(path, None).backend)
        reading = await backend.read(log.key)
        assert reading is not None
        assert [found.body for found in reading.messages] == [b"", message("left").body]
        await backend.aclose()


async def test_a_tenant_cannot_read_what_is_moved_to_it(tmp_path: Path) -> None:
    """A whole thread that is put under another tenant, or another name, is refused there."""
    path, log = tmp_path / "threads.db", Log()
    backend = encrypted().over(opened(path, None).backend)
    await write(backend, log, commit("c1"), results(), mark(), blobs={"d": b"value"})
    inner = backend.inner
    reading = await inner.read(log.key)
    assert reading is not None
    for key in (ThreadKey("eve", "thread"), ThreadKey("", "mine")):
        moved = log.copy()
        moved.key = key
        append = log.copy().next(mark())
        append.expected, append.head.key = None, key
        append.head.seq, append.head.link = reading.head.seq, reading.head.link
        append.head.path, append.head.secret = reading.head.path, reading.head.secret
        append.records = reading.records
        await inner.append([append])
        with pytest.raises(DecryptionError):
            await backend.read(key)
    await backend.aclose()


def test_nothing_of_it_hangs_on_asserts(tmp_path: Path) -> None:
    """Under ``python -O`` the same is refused."""
    program = """
import asyncio, sys
from pathlib import Path
from durable_graph.errors import DecryptionError
from tests.runtime.encryption.kit import OTHER, change, encrypted, everything, named, opened

async def refused(path, encryption):
    async with opened(path, encryption) as saver:
        try:
            await everything(saver).aget_state(named("one"))
        except DecryptionError:
            return True
        return False

async def main(path):
    async with opened(path, encrypted()) as saver:
        await everything(saver).ainvoke({"items": ["x"]}, named("one"))
    told = [not await refused(path, encrypted()), await refused(path, encrypted(OTHER))]
    change(path, "UPDATE records SET body = CAST('{}' AS BLOB) WHERE seq = 2")
    told.append(await refused(path, encrypted()))
    print(__debug__, told)

asyncio.run(main(Path(sys.argv[1])))
"""
    ended = subprocess.run(
        [sys.executable, "-O", "-c", program, str(tmp_path / "threads.db")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert ended.stdout == "False [True, True, True]\n"
