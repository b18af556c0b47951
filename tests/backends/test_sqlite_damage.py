"""Damage to single records in a SQLite file: named exactly, and kept to itself."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from durable_graph.errors import CheckpointNotFoundError, IntegrityError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.testing.contract_kit import Log, commit, message, write
from durable_graph.types import StateSnapshot
from durable_graph_sqlite import SqliteBackend, SqliteSaver
from tests.backends.kit import counting, thread
from tests.backends.sqlite_damages import (
    DAMAGES,
    beyond_the_head,
    first_deleted,
    last_deleted,
    swapped_across,
)
from tests.backends.sqlite_world import LAST, STEPS, World, expect_others, make_world


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """The file."""
    return await make_world(tmp_path)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_named_and_kept_to_itself(
    world: World, damage: Callable[[sqlite3.Connection], set[int]]
) -> None:
    """`averify` names the damaged records and no others; a state that is made of one is refused,
    and any other shown as it was, at the head, at a checkpoint and in the history alike; other
    threads are what they were."""
    named: set[int] = set()
    world.change(lambda db: named.update(damage(db)))
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        assert _numbers(await saver.averify("a")) == named
        await _expect_states(world, graph, named)
        await expect_others(saver, graph, {"before"} if damage is swapped_across else set())
        if world.paths[LAST] & named:
            with pytest.raises(IntegrityError, match="ecord"):
                await graph.aget_state(thread("a"))
            with pytest.raises(IntegrityError, match="ecord"):
                await graph.ainvoke({"items": ["more"]}, thread("a"))
        else:
            assert (await graph.aget_state(thread("a"))).values == world.history[0].values
            await graph.aupdate_state(thread("a"), {"items": ["more"]}, as_node="step")
            assert _numbers(await saver.averify("a")) == named


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage is not last_deleted])
async def test_the_last_good_step_can_be_gone_on_from(
    world: World, damage: Callable[[sqlite3.Connection], set[int]]
) -> None:
    """Before the damage, and behind it, a thread can be branched off; the branch is sound."""
    named: set[int] = set()
    world.change(lambda db: named.update(damage(db)))
    sound = [
        (number, entry)
        for number, entry in enumerate(reversed(world.history), 1)
        if not world.paths[number] & named and number + 1 not in named
    ]
    before = [entry for number, entry in sound if number < min(named)][-1:]
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        for entry in [*before, sound[-1][1]] if sound else []:
            await graph.aupdate_state(entry.config, {"items": ["fork"]}, as_node="step")
            state = await graph.aget_state(thread("a"))
            assert state.values["items"] == [*entry.values.get("items", []), "fork"]
            assert _numbers(await saver.averify("a")) == named
    assert sound or damage is first_deleted


async def test_nothing_is_put_behind_a_last_record_that_is_missing(world: World) -> None:
    """Nobody could ever read it; what is there before stays readable, and nothing changes."""
    world.change(last_deleted)
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        earlier = world.history[-2]
        for call in (
            graph.aupdate_state(earlier.config, {"items": ["fork"]}, as_node="step"),
            graph.ainvoke({"items": ["more"]}, earlier.config),
            graph.ainvoke(None, earlier.config),
        ):
            with pytest.raises(IntegrityError, match="last record of thread 'a'"):
                await call
        assert (await graph.aget_state(earlier.config)).values == earlier.values
        assert _numbers(await saver.averify("a")) == {LAST}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE threads SET status = CAST(x'ff' AS TEXT) WHERE thread = 'a'", "head of thread"),
        ("UPDATE threads SET owner = CAST(x'ff' AS TEXT) WHERE thread = 'a'", "head of thread"),
        ("UPDATE threads SET link = CAST(link AS TEXT) WHERE thread = 'a'", "head of thread"),
        ("UPDATE cards SET metadata = CAST(x'ff' AS TEXT) WHERE thread = 'a'", "card of thread"),
        ("UPDATE cards SET owner = CAST(x'ff' AS TEXT) WHERE thread = 'a'", "card of thread"),
    ],
)
async def test_text_that_is_none_is_damage_of_its_thread(
    world: World, damage: str, named: str
) -> None:
    """In what is known of a thread, as in its records: told as other damage is, also in a list."""
    async with SqliteSaver(world.path) as saver:
        await saver.threads.update("a", metadata={"n": 1})
    world.change(lambda db: db.executescript(f"PRAGMA ignore_check_constraints = ON; {damage}"))
    async with SqliteSaver(world.path) as saver:
        for _ in range(2):  # whoever asks again is told the same
            with pytest.raises(IntegrityError, match=f"{named} 'a'"):
                await saver.threads.get("a")
            with pytest.raises(IntegrityError, match=f"{named} 'a'"):
                _ = [info async for info in saver.threads.list()]
        assert await saver.averify("b") == []


async def test_text_that_is_none_in_a_name_is_shown_as_it_is(world: World) -> None:
    """In a list; other threads can be asked for."""
    world.change(
        lambda db: db.execute("UPDATE threads SET thread = CAST(x'ff' AS TEXT) WHERE thread = 'a'")
    )
    async with SqliteSaver(world.path) as saver:
        with pytest.raises(IntegrityError, match=r"thread <text that .* b'\\xff'> is damaged"):
            _ = [info async for info in saver.threads.list()]
        assert await saver.averify("b") == []


@pytest.mark.parametrize("column", ["message", "kind", "author"])
async def test_a_message_whose_text_is_none_stops_nobody(tmp_path: Path, column: str) -> None:
    """As one that says nothing: the run goes on, and its sender is heard once he asks again."""
    backend = SqliteBackend(tmp_path / "a.db")
    log = Log("a")
    await write(backend, log, commit("c1"))
    for name in ("damaged", "sound"):
        await backend.post(log.key, message(name))
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as db, db:
        db.execute(f"UPDATE messages SET {column} = CAST(x'ff' AS TEXT) WHERE message = 'damaged'")
    reading = await backend.read(log.key)
    assert reading is not None
    assert reading.messages[-1] == message("sound")
    if column == "message":
        assert len(reading.messages) == 1
        assert await backend.post(log.key, message("damaged")) == message("damaged")
    else:
        assert (reading.messages[0].id, reading.messages[0].body) == ("damaged", b"")
    await backend.aclose()


async def _expect_states(world: World, graph: CompiledGraph, damaged: set[int]) -> None:
    """Expect each checkpoint as it was; or an error if a damaged record is part of it."""
    history = [entry async for entry in graph.aget_state_history(thread("a"))]
    assert len(history) == LAST
    for number, truth in enumerate(reversed(world.history), 1):
        entry = history[-number]
        harmed = bool(world.paths[number] & damaged)
        if harmed:
            assert isinstance(entry.values, IntegrityError), number
            assert re.search("record", str(entry.values), re.IGNORECASE)
        else:
            _expect_shown(entry, truth, followed=number + 1 not in damaged)
        try:
            state = await graph.aget_state(truth.config)
        except IntegrityError:
            assert harmed or number + 1 in damaged, number
        except CheckpointNotFoundError:
            assert number in damaged
        else:
            assert not harmed
            _expect_shown(state, truth, followed=number + 1 not in damaged)


def _expect_shown(entry: StateSnapshot, truth: StateSnapshot, *, followed: bool) -> None:
    """Expect a checkpoint as it was; only what became of its tasks may be lost with what follows
    it."""
    if followed:
        assert entry == truth
    else:
        assert entry._replace(tasks=truth.tasks) == truth
        for task, was in zip(entry.tasks, truth.tasks, strict=True):
            assert task in (was, was._replace(result=None))


async def test_a_record_after_the_last_one_is_not_overwritten(world: World) -> None:
    """A stray record beyond the head is no part of the log; but nothing is written in its place."""
    world.change(beyond_the_head)
    async with SqliteSaver(world.path) as saver:
        graph = counting(saver, STEPS)
        assert (await graph.aget_state(thread("a"))).values == world.history[0].values
        with pytest.raises(IntegrityError, match="something already"):
            await graph.aupdate_state(thread("a"), {"items": ["more"]}, as_node="step")
        assert (await graph.aget_state(thread("a"))).values == world.history[0].values
        await expect_others(saver, graph, set())


def _numbers(errors: list[IntegrityError]) -> set[int]:
    found: set[int] = set()
    for error in errors:
        if "head" in str(error):
            continue  # it is right: it is the last record that is not
        first, last = re.findall(r"[Rr]ecords? (\d+)(?: to (\d+))?", str(error))[0]
        found.update(range(int(first), int(last or first) + 1))
    return found
