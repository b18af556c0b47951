"""Threads of every format there has been read as they did when they were stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest

from durable_graph import START, InMemorySaver, StateGraph
from durable_graph.errors import UnknownTypeError
from tests.golden.clockwork import Clockwork
from tests.golden.corpus import FILE, folders, records_file, states, states_file, unpack
from tests.golden.reading import as_read
from tests.golden.stored import as_text, load, threads_of, to_things
from tests.golden.stories import STORIES, story_of
from tests.golden.story import Telling, telling

STORED = [
    pytest.param(folder, path.name.removesuffix(".states.txt"), id=f"{folder.name}-{path.stem}")
    for folder in folders()
    for path in sorted(folder.glob("*.states.txt"))
]


@pytest.mark.parametrize(("folder", "thread"), STORED)
async def test_a_stored_thread_reads_the_same(folder: Path, thread: str, tmp_path: Path) -> None:
    """State and history are what they were; and a thread that had not ended goes on to the same
    end."""
    path = unpack(folder, tmp_path)
    expected = states_file(folder, thread).read_text(encoding="utf-8")
    assert (await states(story_of(thread), path)).splitlines() == expected.splitlines()


@pytest.mark.parametrize(("folder", "thread"), STORED)
async def test_a_stored_thread_is_sound_and_stays_as_it_is(
    folder: Path, thread: str, tmp_path: Path
) -> None:
    """Every record fits the hash chain; and looking at a thread changes nothing of it."""
    path = unpack(folder, tmp_path)
    before = threads_of(path)
    async with telling(story_of(thread), path, seed="checked") as told:
        assert await told.saver.averify(thread) == []
        await as_read(told)
    assert threads_of(path) == before


@pytest.mark.parametrize(("folder", "thread"), STORED)
async def test_a_thread_reads_the_same_in_another_backend(folder: Path, thread: str) -> None:
    """The text holds all that there is: brought into memory, it is the same thread."""
    story, trouble = story_of(thread), False
    expected = states_file(folder, thread).read_text(encoding="utf-8")
    things = to_things(records_file(folder, thread).read_text(encoding="utf-8"))
    async with InMemorySaver() as saver:
        await load(saver.backend, things)
        assert await saver.averify(thread) == []
        told = Telling(saver, Clockwork(), story.build(saver, trouble), thread)
        text = await as_read(told)
    assert text.splitlines() == expected.partition("\n= gone on with\n")[0].splitlines()


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_the_file_and_the_texts_say_the_same(folder: Path, tmp_path: Path) -> None:
    """The SQLite file holds just what the texts say."""
    stored = threads_of(unpack(folder, tmp_path))
    texts = {
        path.name.removesuffix(".records.txt"): path.read_text(encoding="utf-8")
        for path in folder.glob("*.records.txt")
    }
    assert {thread: as_text(things) for thread, things in stored.items()} == texts


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
async def test_all_threads_of_a_file_are_listed(folder: Path, tmp_path: Path) -> None:
    """A list of threads shows all of them, with the status they were left in."""
    path = unpack(folder, tmp_path)
    stored = threads_of(path)
    async with telling(STORIES[0], path, seed="listed") as told:
        listed = {info.thread_id: info async for info in told.saver.alist_threads()}
    assert listed.keys() == stored.keys()
    for thread, things in stored.items():
        (head,) = (thing for kind, thing in things if kind == "thread")
        assert listed[thread].status == head["status"]
        assert listed[thread].records == sum(kind == "record" for kind, _ in things)


class Foreign(TypedDict, total=False):
    """A state with a key of the stored one, but not with its type."""

    shape: Any


async def test_a_type_that_is_not_registered_is_refused(tmp_path: Path) -> None:
    """A graph that lacks a stored type says so, instead of showing something else."""
    path = unpack(folders()[0], tmp_path)
    async with telling(story_of("types"), path, seed="refused") as told:
        graph = StateGraph(Foreign).add_node("idle", lambda state: None)
        foreign = graph.add_edge(START, "idle").compile(told.saver)
        with pytest.raises(
            UnknownTypeError,
            match=r"Thread 'types', checkpoint .*'Shape', which this program does not know",
        ):
            await foreign.aget_state(told.config())


def test_every_corpus_is_complete() -> None:
    """Each folder has its file, and two texts for each thread."""
    assert folders()
    for folder in folders():
        names = {path.name for path in folder.iterdir()}
        threads = {name.removesuffix(".states.txt") for name in names if "states" in name}
        texts = {f"{thread}.{kind}.txt" for thread in threads for kind in ("states", "records")}
        assert names == texts | {FILE}, folder
        assert threads <= {story.thread for story in STORIES}
