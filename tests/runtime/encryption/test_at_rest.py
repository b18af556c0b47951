"""Encryption at rest: nothing is different but what lies in storage."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Command, InMemorySaver, Runtime, StateGraph, open_saver
from durable_graph.archive import FolderArchive
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.encryption.backend import EncryptedBackend
from durable_graph.errors import ConfigError, DecryptionError, ThreadNotFoundError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Append, Message, Position, Removal
from durable_graph.saver import Saver
from durable_graph.testing.contract_kit import Log, commit, mark, results, write
from durable_graph.types import START
from durable_graph_sqlite import SqliteSaver
from tests.runtime.encryption.kit import (
    KEY,
    OTHER,
    WORDS,
    change,
    encrypted,
    everything,
    file_of,
    found_in,
    named,
    opened,
)
from tests.runtime.kit import Items, collect, history


async def tell(saver: Saver, thread: str = "thread") -> dict[str, Any]:
    """Run everything, with a failure, a question, an answer and an edit."""
    graph, config = everything(saver, failures=1), named(thread)
    with pytest.raises(LookupError):
        await graph.ainvoke({"items": ["word-input"]}, config)
    await graph.ainvoke(None, config)
    await graph.ainvoke(Command(resume="word-answer"), config, by="somebody")
    await graph.aupdate_state(config, {"items": ["word-edit"]}, as_node="ask")
    return dict((await graph.aget_state(config)).values)


async def test_nothing_of_the_users_is_in_the_file(tmp_path: Path) -> None:
    """The very same run leaves all of its words in a plain file, and none in an encrypted one;
    whoever has the key reads the same."""
    states = []
    for name, encryption, found in (
        ("plain.db", None, list(WORDS)),
        ("encrypted.db", encrypted(), []),
    ):
        path = tmp_path / name
        async with opened(path, encryption) as saver:
            states.append(await tell(saver))
            assert found_in(path) == found  # as it would be found after a crash
        assert found_in(path) == found
        async with opened(path, encryption) as saver:
            snapshot = await everything(saver).aget_state(named("thread"))
            assert snapshot.values == states[-1]
            assert not await saver.averify("thread")
    assert states[0] == states[1]


async def test_history_branches_and_events_are_the_same(tmp_path: Path) -> None:
    """Time travel, streams that are read back and branches go through the encryption."""
    told = []
    for encryption in (None, encrypted()):
        async with opened(tmp_path / f"{encryption is None}.db", encryption) as saver:
            graph, config = everything(saver), named("thread")
            await tell(saver)
            snapshots = await history(graph, config)
            forked = await graph.ainvoke(None, snapshots[3].config)
            events = await collect(graph.astream_history(config, stream_mode=["updates", "values"]))
            shown = [(s.values, s.next, (s.metadata or {}).get("source")) for s in snapshots]
            told.append((shown, forked["items"], [_data(event) for event in events]))
    assert told[0] == told[1]
    assert len(told[0][2]) > 10


def _data(event: Any) -> Any:
    """What an event says, without the ids of questions, which every thread has its own of."""
    return {key: value for key, value in event["data"].items() if key != "__interrupt__"}


async def test_names_sizes_and_times_are_readable(tmp_path: Path) -> None:
    """What is not encrypted is what the documentation says; so threads are listed without a key."""
    path = tmp_path / "threads.db"
    async with opened(path, encrypted()) as saver:
        await tell(saver)
    data = file_of(path)
    for word in (b"thread", b"begin", b"somebody", b'"step":', b"asking"):
        assert word in data
    async with opened(path, encrypted(OTHER, "unknown")) as saver:
        (info,) = [info async for info in saver.alist_threads()]
        assert (info.thread_id, info.status) == ("thread", "finished")
        backend = saver.backend
        assert isinstance(backend, EncryptedBackend)
        assert backend.statistics()["unwraps"] == 0


async def test_the_provider_is_asked_once_for_each_thread(tmp_path: Path) -> None:
    """However long a thread is and however often it is called, its secret is wrapped once by who
    makes it, and unwrapped once by who comes to use it."""
    path = tmp_path / "threads.db"
    for number in range(3):
        async with opened(path, encrypted()) as saver:
            for _ in range(3):
                await everything(saver).ainvoke(
                    {"items": ["x"]}, named("a"), on_pending="supersede"
                )
                await everything(saver).aget_state(named("a"))
            asked = saver.backend.statistics()
            assert (asked["wraps"], asked["unwraps"]) == ((1, 0) if number == 0 else (0, 1))
            assert asked["keys"] == 1


async def test_keys_at_hand_are_bounded(tmp_path: Path) -> None:
    """More threads than keys to keep: those that were used longest ago are asked for again."""
    saver = opened(tmp_path / "threads.db", encrypted(cached_keys=2))
    async with saver:
        graph = StateGraph(Items).add_node("n", lambda state: {"items": [1]}).add_edge(START, "n")
        runs = graph.compile(saver)
        for thread in ("a", "b", "c", "a"):
            await runs.ainvoke({"items": [0]}, named(thread))
        assert saver.backend.statistics()["keys"] == 2
        for thread, items in (("a", [0, 1, 0, 1]), ("b", [0, 1]), ("c", [0, 1])):
            assert (await runs.aget_state(named(thread))).values["items"] == items


async def test_a_copy_is_encrypted_for_itself(tmp_path: Path) -> None:
    """A copied thread reads the same; nothing of it is the same bytes, or fits the other."""
    path = tmp_path / "threads.db"
    async with opened(path, encrypted()) as saver:
        state = await tell(saver, "one")
        await saver.acopy_thread("one", "two")
        await saver.adelete_thread("one")
        assert (await everything(saver).aget_state(named("two"))).values == state
        assert not await saver.averify("two")
    assert found_in(path) == []


async def test_an_archive_holds_what_storage_held(tmp_path: Path) -> None:
    """The file of an archived thread is as encrypted as the thread was, and needs the same key."""
    for name, encryption in (("plain", None), ("encrypted", encrypted())):
        folder = tmp_path / name
        path = folder / "threads.db"
        folder.mkdir()
        async with archiving(path, encryption) as saver:
            await everything(saver).ainvoke({"items": ["word-input"]}, named("thread"))
            await saver.aarchive_thread("thread")
        (file,) = [each for each in (folder / "archive").rglob("*") if each.is_file()]
        assert (b"word-" in file.read_bytes()) is (encryption is None)
    async with archiving(path, encrypted(OTHER)) as saver:
        with pytest.raises(DecryptionError):
            await everything(saver).aget_state(named("thread"))
    async with archiving(path, encrypted()) as saver:
        result = await everything(saver).ainvoke(Command(resume="word-answer"), named("thread"))
        assert result["last"] == "word-answer"


async def test_a_message_brings_an_archived_thread_back(tmp_path: Path) -> None:
    """What is left for a thread that was archived is encrypted with that thread's key; where there
    is no thread, nothing is."""
    key, sent = ThreadKey("", "thread"), Message("id", "answer", b"[1]", "somebody", 1.0)
    async with archiving(tmp_path / "threads.db", encrypted()) as saver:
        with pytest.raises(ThreadNotFoundError):
            await saver.backend.post(key, sent)
        await everything(saver).ainvoke({"items": ["word-input"]}, named("thread"))
        await saver.aarchive_thread("thread")
        assert await saver.backend.post(key, sent) == sent
        reading = await saver.backend.read(key)
        assert reading is not None
        assert list(reading.messages) == [sent]


def archiving(path: Path, encryption: Encryption | None) -> SqliteSaver:
    """A saver with an archive beside its file."""
    archive = FolderArchive(path.parent / "archive")
    return SqliteSaver(path, archive=archive, encryption=encryption)


async def test_pruning_works_on_what_it_cannot_read(tmp_path: Path) -> None:
    """The space of old checkpoints is freed, and what stays is read as before."""
    async with opened(tmp_path / "threads.db", encrypted()) as saver:
        graph = StateGraph(Items).add_node("n", lambda state: {"last": "x" * 3000})
        runs = graph.add_edge(START, "n").compile(saver)
        for _ in range(9):
            await runs.ainvoke({"items": ["y" * 3000]}, named("thread"))
        before = (await runs.aget_state(named("thread"))).values
        await saver.aprune(["thread"])
        assert (await runs.aget_state(named("thread"))).values == before
        assert not await saver.averify("thread")


async def test_deleting_takes_the_only_key(tmp_path: Path) -> None:
    """A deleted thread is gone with its wrapped secret; one of the same name has another."""
    path = tmp_path / "threads.db"
    async with opened(path, encrypted()) as saver:
        await tell(saver)
    ((first,),) = change(path, "SELECT secret FROM threads")
    async with opened(path, encrypted()) as saver:
        await saver.adelete_thread("thread")
        await tell(saver)
    ((second,),) = change(path, "SELECT secret FROM threads")
    assert first != second


async def test_a_thread_whose_key_is_lost_can_be_deleted(tmp_path: Path) -> None:
    """Also who cannot read it may delete it, and begin anew."""
    path = tmp_path / "threads.db"
    async with opened(path, encrypted()) as saver:
        await tell(saver)
    async with opened(path, encrypted(OTHER)) as saver:
        await saver.adelete_thread("thread")
        with pytest.raises(ThreadNotFoundError):
            await saver.averify("thread")
        await tell(saver)


async def test_a_thread_that_was_begun_anew_elsewhere_is_read(tmp_path: Path) -> None:
    """A process that holds the keys of a thread which another one has deleted and begun anew
    reads and writes the new one."""
    path = tmp_path / "threads.db"
    first, second = (encrypted().over(opened(path, None).backend) for _ in range(2))
    old, new = Log(), Log()
    new.secret = bytes(16)
    await write(first, old, commit("c1"), blobs={"d": b"old"})
    await second.read(old.key)
    await second.remove(old.key, Removal(everything=True))
    await write(second, new, commit("c1"), results(), blobs={"d": b"new"})
    assert list(await first.scan(new.key, ((1, 2),))) == new.records
    assert dict(await first.blobs(new.key, ["d"])) == {"d": b"new"}
    await write(first, new, mark())
    assert list(await second.scan(new.key, ((1, 3),))) == new.records
    await first.aclose()
    await second.aclose()


async def test_steps_in_a_transaction_are_encrypted(tmp_path: Path) -> None:
    """`runtime.transaction` stores its result encrypted, beside what the user writes in clear."""
    path = tmp_path / "threads.db"

    async def pay(state: Items, runtime: Runtime) -> Items:
        def work(db: sqlite3.Connection) -> str:
            db.execute("CREATE TABLE IF NOT EXISTS paid (what TEXT)")
            db.execute("INSERT INTO paid VALUES ('in clear')")
            return "word-result"

        return {"items": [await runtime.transaction(work)]}

    async with opened(path, encrypted()) as saver:
        graph = StateGraph(Items).add_node("pay", pay).add_edge(START, "pay").compile(saver)
        result = await graph.ainvoke({"items": ["word-input"]}, named("thread"))
        assert result["items"] == ["word-input", "word-result"]
        assert not await saver.averify("thread")
    assert found_in(path) == []
    assert change(path, "SELECT what FROM paid") == [("in clear",)]


async def test_a_transaction_of_another_thread_is_refused(tmp_path: Path) -> None:
    """An append under another secret than that of the thread is a mistake, and not stored."""
    backend: Any = encrypted().over(opened(tmp_path / "threads.db", None).backend)
    log = Log()
    await write(backend, log, commit("c1"))

    def work(connection: Any) -> Append:
        log.secret = bytes(16)
        return log.next(mark())

    with pytest.raises(ValueError, match="another thread"):
        await backend.transact(log.key, log.position, work)
    nobody = ThreadKey("", "nobody")
    assert await backend.transact(nobody, Position(1, 1, b""), work) is None
    found = await backend.thread(log.key)
    assert found.head.seq == 1
    await backend.aclose()


async def test_in_memory_too() -> None:
    """Any saver takes it; a backend that never waits has to once there are keys to wait for."""
    plain, saver = InMemorySaver(), InMemorySaver(encryption=encrypted())
    assert plain.backend.capabilities.immediate
    assert not saver.backend.capabilities.immediate
    assert await tell(saver) == await tell(plain)


def test_savers_by_url_take_it(tmp_path: Path) -> None:
    """`open_saver` hands it on to whichever saver the URL names."""
    for url in ("memory://", f"sqlite:///{tmp_path}/threads.db"):
        with open_saver(url, encryption=encrypted()) as saver:
            assert isinstance(saver.backend, EncryptedBackend)
            assert repr(saver.backend).startswith("<encrypted ")


def test_it_works_without_async(tmp_path: Path) -> None:
    """Through the synchronous face."""
    with opened(tmp_path / "threads.db", encrypted()) as saver:
        graph = StateGraph(Items).add_node("n", lambda state: {"items": [1]}).add_edge(START, "n")
        runs = graph.compile(saver)
        assert runs.invoke({"items": [0]}, named("thread"))["items"] == [0, 1]
        assert saver.rotate_keys() == []
    assert found_in(tmp_path / "threads.db") == []


async def test_what_makes_no_sense_is_refused() -> None:
    """Before anything is stored."""
    wrong: Any = {"2026": KEY}
    with pytest.raises(ConfigError, match="LocalKeys"):
        Encryption(wrong)
    with pytest.raises(ConfigError, match="cached_keys"):
        Encryption(LocalKeys({"2026": KEY}), cached_keys=0)
    with pytest.raises(ConfigError, match="does not encrypt"):
        await InMemorySaver().arotate_keys()


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cryptography there is no encryption, and the error names the extra to install."""
    for name in [n for n in sys.modules if n.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ImportError, match=r"durable-graph\[encryption\]"):
        LocalKeys({"2026": KEY})
