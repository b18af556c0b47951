"""Threads in cold storage: moved there as one file, and back when they are used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from durable_graph import Command, FolderArchive, InMemorySaver
from durable_graph.errors import (
    ConfigError,
    FencedError,
    IntegrityError,
    ThreadArchivedError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from durable_graph.log.records import Head
from durable_graph.ports.backend import (
    Append,
    Card,
    Message,
    Outcome,
    Position,
    Removal,
    ThreadKey,
)
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.conftest import SAVERS, savers, thread
from tests.runtime.kit import Items, chain, collect, history, key_of, records_of, says
from tests.runtime.persistence.test_threads import ask

BIG = "x" * 10_000


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    """An archive in a folder of its own."""
    return FolderArchive(tmp_path / "archive")


@pytest_asyncio.fixture(params=savers())
async def cold(
    request: pytest.FixtureRequest, tmp_path: Path, archive: FolderArchive
) -> AsyncIterator[Saver]:
    """A saver over each backend, with an archive."""
    made = Saver(SAVERS[request.param](tmp_path).backend, archive=archive)
    yield made
    await made.aclose()


def files(tmp_path: Path) -> list[Path]:
    """The files in the archive."""
    return [path for path in (tmp_path / "archive").rglob("*") if path.is_file()]


async def test_an_archived_thread_is_one_file_and_no_records(
    cold: Saver, config: RunnableConfig, tmp_path: Path
) -> None:
    """Its log and its large values leave the storage; a card says where they are."""
    graph = chain(("a", says("a", BIG)), saver=cold)
    await graph.ainvoke({}, config)
    key = key_of(config)
    held = await cold.backend.thread(key)
    assert held is not None
    assert held.head is not None
    await cold.aarchive_thread(key.thread)
    left = await cold.backend.thread(key)
    assert left is not None
    assert left.card is not None
    (file,) = files(tmp_path)
    assert left.head is None
    assert left.card.archived == file.as_uri()
    assert list(await cold.backend.scan(key, ((1, 100),))) == []
    assert file.read_bytes().startswith(b"durable_graph thread 1 ")
    assert BIG.encode() in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


async def test_a_thread_comes_back_when_it_is_read(
    cold: Saver, config: RunnableConfig, tmp_path: Path
) -> None:
    """State, history, records and checkpoint ids are what they were, and the file is gone."""
    graph = chain(("a", says("a", BIG)), ("b", says("b")), saver=cold)
    await graph.ainvoke({}, config)
    await graph.ainvoke({"items": ["again"]}, config)
    before = await history(graph, config)
    records = await records_of(cold, config)
    await cold.aarchive_thread(key_of(config).thread)
    assert await history(graph, config) == before
    assert await records_of(cold, config) == records
    assert await cold.averify(key_of(config).thread) == []
    assert files(tmp_path) == []


async def test_a_call_goes_on_with_an_archived_thread(cold: Saver, config: RunnableConfig) -> None:
    """A new input finds the state of before."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    await cold.aarchive_thread(key_of(config).thread)
    assert (await graph.ainvoke({}, config))["items"] == ["a", "a"]


async def test_a_question_is_answered_out_of_the_archive(
    cold: Saver, config: RunnableConfig
) -> None:
    """An archived thread still asks, and an answer brings it back and is taken."""
    graph = chain(("ask", ask), saver=cold)
    await graph.ainvoke({}, config)
    await cold.aarchive_thread(key_of(config).thread)
    assert (await graph.ainvoke(Command(resume="yes"), config))["items"] == ["yes"]


async def test_an_earlier_checkpoint_is_read_out_of_the_archive(
    cold: Saver, config: RunnableConfig
) -> None:
    """Naming a checkpoint of an archived thread brings it back as well."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=cold)
    await graph.ainvoke({}, config)
    past = (await history(graph, config))[1]
    await cold.aarchive_thread(key_of(config).thread)
    assert await graph.aget_state(past.config) == past


async def test_archiving_again_is_harmless(
    cold: Saver, config: RunnableConfig, tmp_path: Path
) -> None:
    """What is there already stays there; what has come back goes there anew, and one file is left
    of it."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    for _ in range(3):
        await cold.aarchive_thread(key_of(config).thread)
    first = files(tmp_path)
    await graph.ainvoke({}, config)
    await cold.aarchive_thread(key_of(config).thread)
    assert len(first) == len(files(tmp_path)) == 1
    assert files(tmp_path) != first


async def test_the_card_stays_with_the_thread(cold: Saver, config: RunnableConfig) -> None:
    """What is known of a thread is known while it is archived, can be changed then, and is there
    when it comes back."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    key = key_of(config)
    await cold.backend.label(key, Card(1, "owner", ("tag",), {"a": 1}))
    await cold.aarchive_thread(key.thread)
    found = await cold.backend.thread(key)
    assert found is not None
    assert found.card is not None
    assert (found.card.version, found.card.owner, found.card.tags) == (2, "owner", ("tag",))
    assert await cold.backend.label(key, replace(found.card, version=3, tags=("other",)))
    await graph.aget_state(config)
    found = await cold.backend.thread(key)
    assert found is not None
    assert found.card is not None
    assert (found.card.version, found.card.tags, found.card.archived) == (4, ("other",), None)


async def test_deleting_an_archived_thread_deletes_its_file(
    cold: Saver, config: RunnableConfig, tmp_path: Path
) -> None:
    """Deleted means gone, wherever it was; and it is not brought back for that."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    await cold.aarchive_thread(key_of(config).thread)
    files(tmp_path)[0].write_bytes(b"damaged")
    await cold.adelete_thread(key_of(config).thread)
    assert files(tmp_path) == []
    assert await cold.backend.thread(key_of(config)) is None
    assert (await graph.aget_state(config)).values == {}


async def test_deleting_a_thread_clears_away_what_a_crash_has_left(
    cold: Saver, config: RunnableConfig, tmp_path: Path, archive: FolderArchive
) -> None:
    """A file that no card names goes with the thread, and those of other threads stay."""
    graph = chain(("a", says("a")), saver=cold)
    for name in ("other", key_of(config).thread):
        await graph.ainvoke({}, thread(name))
        await cold.aarchive_thread(name)
    mine = next(path for path in files(tmp_path) if key_of(config).thread in str(path))
    mine.with_name("1-left.thread").write_bytes(mine.read_bytes())
    await cold.adelete_thread(key_of(config).thread)
    assert [path.parent.name.partition(".")[0] for path in files(tmp_path)] == ["other"]


async def test_without_an_archive_the_error_says_what_to_do(
    cold: Saver, config: RunnableConfig
) -> None:
    """A saver that was not given the archive reads nothing, deletes nothing and begins nothing."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    await cold.aarchive_thread(key_of(config).thread)
    assert cold.archiving is not None
    bare = Saver(cold.archiving._stored)
    other = chain(("a", says("a")), saver=bare)
    for call in (
        lambda: other.aget_state(config),
        lambda: other.ainvoke({}, config),
        lambda: bare.adelete_thread(key_of(config).thread),
    ):
        with pytest.raises(ThreadArchivedError, match="Give the saver that archive"):
            await call()
    with pytest.raises(ConfigError, match="no archive"):
        await bare.aarchive_thread("any")
    assert (await graph.aget_state(config)).values["items"] == ["a"]


async def test_what_cannot_be_archived_is_refused(cold: Saver, config: RunnableConfig) -> None:
    """A thread that does not exist, one that is only a card, and one that is being run."""
    with pytest.raises(ThreadNotFoundError):
        await cold.aarchive_thread("missing")
    await cold.backend.label(key_of(config), Card(1))
    with pytest.raises(ThreadNotFoundError):
        await cold.aarchive_thread(key_of(config).thread)
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        begun.set()
        await goes_on.wait()
        return {}

    run = asyncio.ensure_future(chain(("node", node), saver=cold).ainvoke({}, config))
    await begun.wait()
    with pytest.raises(ThreadBusyError):
        await cold.aarchive_thread(key_of(config).thread)
    goes_on.set()
    await run


async def test_a_thread_with_answers_that_wait_is_not_archived(
    cold: Saver, config: RunnableConfig
) -> None:
    """An answer that was left is never lost: it is taken up first."""
    graph = chain(("ask", ask), saver=cold)
    await graph.ainvoke({}, config)
    await cold.backend.post(key_of(config), Message("id", "answer", b"{}", None, 1.0))
    with pytest.raises(ThreadBusyError, match="answers wait"):
        await cold.aarchive_thread(key_of(config).thread)
    assert (await graph.aget_state(config)).next == ("ask",)


async def head_of(saver: Saver, config: RunnableConfig) -> Head | None:
    """The head of a thread, which reading brings back."""
    reading = await saver.backend.read(key_of(config))
    return None if reading is None else reading.head


async def test_a_damaged_thread_is_not_archived(
    cold: Saver, config: RunnableConfig, tmp_path: Path
) -> None:
    """Damage is told where it can still be mended, and not put into a file."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    head = await head_of(cold, config)
    assert head is not None
    records = await records_of(cold, config)
    records[0] = replace(records[0], body=b"[]")
    await cold.backend.remove(key_of(config), Removal(everything=True))
    await cold.backend.append([Append(None, head, records, {}, {})])
    with pytest.raises(IntegrityError):
        await cold.aarchive_thread(key_of(config).thread)
    assert files(tmp_path) == []


async def test_a_damaged_file_is_told(cold: Saver, config: RunnableConfig, tmp_path: Path) -> None:
    """A file that was changed, is another thread's, or is missing, brings nothing back; once it is
    put in order, the thread is there."""
    graph = chain(("a", says("a")), saver=cold)
    for name in ("other", key_of(config).thread):
        await graph.ainvoke({}, thread(name))
        await cold.aarchive_thread(name)
    mine = next(path for path in files(tmp_path) if key_of(config).thread in str(path))
    other = next(path for path in files(tmp_path) if path != mine)
    whole = mine.read_bytes()
    for wrong in (whole[:-1], whole.replace(b'"a"', b'"b"'), other.read_bytes(), None):
        if wrong is None:
            mine.unlink()
        else:
            mine.write_bytes(wrong)
        with pytest.raises(IntegrityError, match=mine.name):
            await graph.ainvoke({}, config)
        left = await cold.backend.thread(key_of(config))
        assert left is not None
        assert left.head is None
    mine.write_bytes(whole)
    assert (await graph.aget_state(config)).values["items"] == ["a"]


async def test_a_card_cannot_lead_to_other_files(cold: Saver, config: RunnableConfig) -> None:
    """Whatever a card says, only files of its own thread are read and deleted."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, thread("other"))
    await cold.aarchive_thread("other")
    stolen = await cold.backend.thread(key_of(thread("other")))
    assert stolen is not None
    assert stolen.card is not None
    for where in (stolen.card.archived, "../../etc/passwd", "s3://a/b/c"):
        key = replace_thread(config, str(where))
        await cold.backend.label(key_of(key), Card(1, archived=where))
        with pytest.raises(IntegrityError):
            await graph.aget_state(key)
    assert (await graph.aget_state(thread("other"))).values["items"] == ["a"]


def replace_thread(config: RunnableConfig, where: str) -> RunnableConfig:
    """A thread of its own for each place."""
    return thread(f"{key_of(config).thread} at {len(where)}")


async def test_an_owner_of_before_is_fenced(cold: Saver, config: RunnableConfig) -> None:
    """Whoever owned the thread before it was archived finds it where it was when it is back, and
    must not write to it."""
    graph = chain(("ask", ask), saver=cold)
    await graph.ainvoke({}, config)
    before = await head_of(cold, config)
    assert before is not None
    await cold.aarchive_thread(key_of(config).thread)
    back = await head_of(cold, config)
    assert back == replace(before, epoch=before.epoch + 1)
    late = Append(Position.of(before), replace(back, seq=back.seq + 1), [], {}, {})
    records = await records_of(cold, config)
    late.records = [replace(records[-1], seq=back.seq + 1, link=b"x" * 32)]
    assert list(await cold.backend.append([late])) == [Outcome.REFUSED]


async def test_many_bring_a_thread_back_at_once(cold: Saver, config: RunnableConfig) -> None:
    """Of many that need it at the same time, one brings it back, and all have it."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)
    assert cold.archiving is not None
    for _ in range(3):
        await cold.aarchive_thread(key_of(config).thread)
        states = await asyncio.gather(*(graph.aget_state(config) for _ in range(8)))
        assert [state.values["items"] for state in states] == [["a"]] * 8
    assert cold.backend.statistics()["archived"] == 3


async def test_archiving_and_using_at_once_loses_nothing(
    cold: Saver, config: RunnableConfig, tmp_path: Path
) -> None:
    """Whatever comes first, every input is there at the end, and no file too many."""
    graph = chain(("a", says("a")), saver=cold)
    await graph.ainvoke({}, config)

    stop = asyncio.Event()

    async def keep_archiving() -> None:
        while not stop.is_set():
            with contextlib.suppress(ThreadBusyError):
                await cold.aarchive_thread(key_of(config).thread)
            await asyncio.sleep(0)

    archiving = asyncio.gather(*(keep_archiving() for _ in range(2)))
    done, tries = 1, 0
    while done < 8:
        tries += 1
        assert tries < 1000
        with contextlib.suppress(ThreadBusyError, FencedError):
            await graph.ainvoke({}, config)
            done += 1
        await asyncio.sleep(0)
    stop.set()
    await archiving
    state = await graph.aget_state(config)
    assert state.values["items"] == ["a"] * done
    await cold.aarchive_thread(key_of(config).thread)
    assert len(files(tmp_path)) == 1


async def test_of_two_who_archive_at_once_the_slower_finds_it_done(
    config: RunnableConfig, tmp_path: Path
) -> None:
    """One that has looked at the thread before the other moved it has nothing left to do."""

    class Overtaken(FolderArchive):
        others: ClassVar[list[Saver]] = []

        async def names(self, folder: str) -> list[str]:
            found = await super().names(folder)
            if self.others:
                await self.others.pop().aarchive_thread(key_of(config).thread)
            return list(found)

    saver = InMemorySaver(archive=Overtaken(tmp_path / "archive"))
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    Overtaken.others.append(saver)
    await saver.aarchive_thread(key_of(config).thread)
    assert len(files(tmp_path)) == 1
    assert (await graph.aget_state(config)).values["items"] == ["a"]
    await saver.aclose()


def test_archiving_has_a_synchronous_face(archive: FolderArchive, config: RunnableConfig) -> None:
    """`archive_thread` without await."""
    saver = InMemorySaver(archive=archive)
    graph = chain(("a", says("a")), saver=saver)
    graph.invoke({}, config)
    saver.archive_thread(key_of(config).thread)
    assert graph.invoke({}, config)["items"] == ["a", "a"]
    saver.close()


async def test_an_archived_thread_is_not_listed_with_those_that_have_a_state(
    cold: Saver, config: RunnableConfig
) -> None:
    """A list of threads shows what can be read at once."""
    graph = chain(("a", says("a")), saver=cold)
    for name in ("stays", "goes"):
        await graph.ainvoke({}, thread(name))
    await cold.aarchive_thread("goes")
    assert [info.thread_id for info in await collect(cold.alist_threads())] == ["stays"]


class SaysNo(InMemoryBackend):
    """Storage whose removals are sent twice on their way, and answered for the second time."""

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        await super().remove(thread, what)
        return await super().remove(thread, what)


async def test_a_removal_that_was_done_does_not_cost_the_file(
    archive: FolderArchive, config: RunnableConfig
) -> None:
    """Storage may say that there was nothing to remove, although this very removal has taken the
    thread away: its file stays."""
    saver = Saver(SaysNo(), archive=archive)
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    await saver.aarchive_thread(key_of(config).thread)
    assert (await graph.aget_state(config)).values["items"] == ["a"]


@pytest.mark.parametrize("after", ["the files were listed", "the thread was looked at"])
async def test_deleting_a_thread_that_others_archive_anew_leaves_no_file(
    archive: FolderArchive,
    config: RunnableConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: str,
) -> None:
    """Brought back and archived again in the middle of it, its file is another one."""
    stored = InMemoryBackend()
    cold = Saver(stored, archive=archive)
    await chain(("a", says("a")), saver=cold).ainvoke({}, config)
    await cold.aarchive_thread(name := key_of(config).thread)
    names, remove = archive.names, stored.remove

    async def archived_anew() -> None:
        monkeypatch.undo()
        await cold.backend.read(key_of(config))
        await cold.aarchive_thread(name)

    async def listed(folder: str) -> Sequence[str]:
        found = await names(folder)
        await archived_anew()
        return found

    async def removed(thread: ThreadKey, what: Removal) -> bool:
        await archived_anew()
        return await remove(thread, what)

    if after == "the files were listed":
        monkeypatch.setattr(archive, "names", listed)
    else:
        monkeypatch.setattr(stored, "remove", removed)
    await cold.adelete_thread(name)
    assert files(tmp_path) == []
    assert await stored.thread(key_of(config)) is None
