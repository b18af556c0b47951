"""Damage to heads, large values and whole pages of a SQLite file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable_graph.errors import IntegrityError, StorageError
from durable_graph.log.records import Head, ThreadKey
from durable_graph.ports.rows import head_values, to_head
from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import counting, thread
from tests.backends.sqlite_world import LARGE, LAST, STEPS, World, expect_others, make_world


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """The file."""
    return await make_world(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM blobs WHERE {blob}",
        "UPDATE blobs SET data = zeroblob(length(data)) WHERE {blob}",
        "UPDATE blobs SET data = substr(data, 1, 10) WHERE {blob}",
        "UPDATE blobs SET data = CAST(data AS TEXT) WHERE {blob}",
        "UPDATE blobs SET digest = replace(digest, 'a', 'b') WHERE {blob}",
    ],
    ids=["deleted", "zeros", "cut", "text", "digest"],
)
async def test_a_damaged_large_value_harms_what_refers_to_it(world: World, change: str) -> None:
    """A large value that is missing or changed is named with its record, and refused where it
    is used; checkpoints without it are what they were."""
    size = len(LARGE) + 2
    blob = f"length(data) = {size} AND thread_id = (SELECT id FROM threads WHERE thread = 'a')"
    world.change(lambda db: db.execute(change.format(blob=blob)))
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        (wrong,) = await saver.averify("a")
        assert f"record {LAST} " in str(wrong)
        with pytest.raises(IntegrityError, match="large value"):
            await graph.aget_state(thread("a"))
        history = [entry async for entry in graph.aget_state_history(thread("a"))]
        assert isinstance(history[0].values, IntegrityError)
        assert history[1:] == world.history[1:]
        await expect_others(saver, graph, set())


@pytest.mark.parametrize(
    "change",
    [
        "seq = 5",
        "epoch = epoch + 1",
        "link = zeroblob(32)",
        "link = 'text'",
        "secret = zeroblob(16)",
        "status = 'failed'",
        "status = 'running', owner = 'somebody'",
        "state = replace(state, '[[1,23]]', '[[1,12]]')",
        "state = replace(state, '\"step\":20', '\"step\":21')",
        "state = x'7b7d'",
        "state = x''",
        "state = 7",
        "created = created + 1",
        "updated = 'text'",
        "checksum = 0",
    ],
)
async def test_a_damaged_head_is_refused(world: World, change: str) -> None:
    """A head that is not what was written is refused for reading and running, by name; other
    threads are what they were."""
    world.change(lambda db: db.execute(f"UPDATE threads SET {change} WHERE thread = 'a'"))
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        for call in (
            graph.aget_state(thread("a")),
            graph.ainvoke({"items": ["more"]}, thread("a")),
            saver.averify("a"),
            _all(graph.aget_state_history(thread("a"))),
        ):
            with pytest.raises(IntegrityError, match="head of thread 'a'"):
                await call
        for name in ("before", "b"):
            assert await saver.averify(name) == []
            assert (await graph.aget_state(thread(name))).values["items"][-1] == LARGE


async def test_nothing_is_put_behind_a_head_of_earlier(world: World) -> None:
    """Behind an old head that was put back, there is something already: a named error says so."""
    columns: list[str] = []
    old: list[Any] = []

    def keep(db: sqlite3.Connection) -> None:
        columns.extend(row[1] for row in db.execute("PRAGMA table_info(threads)"))
        old.extend(db.execute("SELECT * FROM threads WHERE thread = 'a'").fetchone())

    world.change(keep)
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        await graph.aupdate_state(thread("a"), {"items": ["more"]}, as_node="step")
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    put_back = f"UPDATE threads SET ({names}) = ({places}) WHERE thread = 'a'"
    world.change(lambda db: db.execute(put_back, old))
    async with SqliteSaver(world.path) as saver:
        with pytest.raises(IntegrityError, match=r"Thread 'a'.*something already"):
            await counting(saver, STEPS).ainvoke({"items": ["more"]}, thread("a"))
        await expect_others(saver, counting(saver, STEPS), set())


async def test_a_head_of_another_thread_is_refused(world: World) -> None:
    """A thread that was renamed behind everybody's back does not pass for another."""
    world.change(lambda db: db.execute("UPDATE threads SET thread = 'c' WHERE thread = 'a'"))
    async with SqliteSaver(world.path) as saver:
        with pytest.raises(IntegrityError, match="head of thread 'c'"):
            await counting(saver, STEPS).aget_state(thread("c"))


@pytest.mark.parametrize("part", [0.3, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("page", [True, False], ids=["at a page", "within a page"])
async def test_a_file_that_was_cut_is_refused_or_right(
    world: World, part: float, page: bool
) -> None:
    """Of a file that lost its end, each thread is read as it was written or refused."""
    size = int(world.path.stat().st_size * part)
    with world.path.open("r+b") as file:
        file.truncate(size - size % 4096 + (0 if page else 1717))
    await _expect_right_or_refused(world)


async def test_a_page_of_zeros_is_refused_or_right(world: World, tmp_path: Path) -> None:
    """Whichever page of a file is zero, each thread is read as it was written or refused."""
    whole = world.path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 4096):
        copy = tmp_path / f"{place}.db"
        copy.write_bytes(whole[:place] + bytes(4096) + whole[place + 4096 :])
        refused += await _expect_right_or_refused(World(copy, world.history, world.paths))
    assert refused > len(whole) // 4096


async def _expect_right_or_refused(world: World) -> int:
    """Expect states as they were or typed errors; returns how many errors there were."""
    refused = 0
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        for name in ("before", "a", "b"):
            try:
                wrong: list[Any] = await saver.averify(name)
            except (IntegrityError, StorageError) as error:
                wrong = [error]
            try:
                state = await graph.aget_state(thread(name))
            except (IntegrityError, StorageError):
                assert wrong
                refused += 1
            else:
                assert state.values == world.history[0].values
    return refused


async def _all(entries: Any) -> list[Any]:
    return [entry async for entry in entries]


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "1"},
        {"seq": 0},
        {"weight": [9]},
        {"path": ((9, 1),)},
        {"path": ((1, "9"),)},
        {"checkpoint": None},
        {"run": 7},
    ],
    ids=str,
)
def test_a_head_that_was_made_to_fit_is_refused(wrong: dict[str, Any]) -> None:
    """Whoever edits a head by hand can put the right checksum beside it."""
    key = ThreadKey("", "a")
    numbers = {"seq": 1, "epoch": 1, "step": 0, "weight": 9, "fresh": 9, "size": 9}
    texts = {"owner": None, "run": "r", "checkpoint": "c", "input": None, "reason": None}
    times = {"created": 1.0, "updated": 1.0}
    rest: Any = {**numbers, **texts, **times, "status": "finished", "path": ((1, 1),)}
    sound = Head(key, link=b"l", secret=b"s", **rest)
    assert to_head(*key, head_values(sound)) == sound
    with pytest.raises(IntegrityError, match="head of thread 'a'"):
        to_head(*key, head_values(replace(sound, **wrong)))


@pytest.mark.parametrize(
    "values",
    ["'m', 5, x'7b7d', NULL", "'m', 'answer', 5, NULL", "'m', 'answer', 'text', x'00'"],
)
async def test_a_damaged_message_holds_up_nothing(world: World, values: str) -> None:
    """It is taken for an answer that nobody asked for: its thread goes on."""
    world.change(
        lambda db: db.execute(
            "INSERT INTO messages (thread_id, message, kind, body, author, time) "
            f"SELECT id, {values}, 'then' FROM threads WHERE thread = 'a'"
        )
    )
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        stopped = await graph.ainvoke({"items": ["more"]}, thread("a"), interrupt_after="*")
        assert stopped["items"][-2] == "more"
        await graph.ainvoke(None, thread("a"))
        await graph.aupdate_state(thread("a"), {"items": ["last"]}, as_node="step")
        assert (await graph.aget_state(thread("a"))).values["items"][-1] == "last"


@pytest.mark.parametrize(
    "values",
    ["'p', 'h', 5, 5, 'b', 1.0, 'x'", "x'01', 'h', 5, 5, 'b', 1, 1", "'p', 5, 'x', 5, 'b', 'x', 1"],
)
async def test_a_damaged_sign_of_life_holds_up_nothing(world: World, values: str) -> None:
    """Whose it is cannot be said; every other process goes on."""
    world.change(lambda db: db.execute(f"INSERT INTO processes VALUES ({values})"))
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        await graph.ainvoke({"items": ["more"]}, thread("a"))
        assert (await graph.aget_state(thread("a"))).values["items"][-2] == "more"
