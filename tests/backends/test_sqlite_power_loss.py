"""A power loss at any moment: what `synchronous` promises is what the disk then holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from durable_graph.errors import DurableGraphError
from durable_graph_sqlite import SqliteSaver
from tests.backends import shim
from tests.backends.kit import TORTURE, child, counting, thread
from tests.backends.shim import Entry
from tests.backends.sqlite_under_shim import THREADS

pytestmark = pytest.mark.timeout(3600 if TORTURE else 60)

_WORKER: Final = Path(__file__).with_name("sqlite_under_shim.py")
_ROUNDS: Final = 8
_CUTS: Final = 200 if TORTURE else 25


@dataclass(slots=True)
class Recording:
    """What a process did to its files.

    Attributes:
        entries: in order, with its notes of what was acknowledged among them.
        whole: the items that each thread had at the end.
    """

    entries: list[Entry]
    whole: list[str]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim."""
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(params=["full", "normal"])
async def recording(request: pytest.FixtureRequest, library: Path, tmp_path: Path) -> Recording:
    """A run on a file, recorded."""
    path, journal = tmp_path / "threads.db", tmp_path / "journal"
    environment = shim.environment(library, path, journal)
    with child(_WORKER, path, request.param, _ROUNDS, environment=environment) as worker:
        worker.end()
    async with SqliteSaver(path) as saver:
        values = [(await counting(saver, 0).aget_state(thread(name))).values for name in THREADS]
    assert values[0] == values[1]
    assert len(values[0]["items"]) == 3 * _ROUNDS
    return Recording(shim.read_journal(journal), values[0]["items"])


@pytest.mark.parametrize("recording", ["full"], indirect=True)
async def test_full_survives_a_power_loss(recording: Recording, tmp_path: Path) -> None:
    """With synchronous="full", whatever had been acknowledged is there after a power loss at any
    moment, and every thread opens, verifies and goes on."""
    lost = 0
    for seed in range(_CUTS):
        cut, disk = _cut(recording, seed)
        acked = _acknowledged(recording.entries[:cut])
        counts = await _recover(recording, disk, tmp_path / str(seed))
        for name in THREADS:
            assert counts[name] >= acked[name], f"seed {seed}, cut at {cut}"
            lost += counts[name] < _written(recording.entries[:cut])
    assert lost > 0  # else nothing was ever cut off


@pytest.mark.parametrize("recording", ["normal"], indirect=True)
async def test_normal_survives_as_a_prefix(recording: Recording, tmp_path: Path) -> None:
    """With synchronous="normal", after a power loss at any moment every thread opens, verifies,
    is a prefix of what it was, and goes on; something that was acknowledged may be gone."""
    behind = 0
    for seed in range(_CUTS):
        cut, disk = _cut(recording, seed)
        acked = _acknowledged(recording.entries[:cut])
        counts = await _recover(recording, disk, tmp_path / str(seed))
        behind += sum(counts[name] < acked[name] for name in THREADS)
    assert behind > 0  # or the two levels are the same, and "full" is tested by nothing


@pytest.mark.parametrize("recording", ["full"], indirect=True)
async def test_a_disk_that_lies_is_noticed(recording: Recording, tmp_path: Path) -> None:
    """Where the disk does not do what a sync asks for, these tests find what is lost by it."""
    found = 0
    for seed in range(_CUTS):
        cut, disk = _cut(recording, seed, honest=False)
        acked = _acknowledged(recording.entries[:cut])
        try:
            counts = await _recover(recording, disk, tmp_path / str(seed))
        except (AssertionError, DurableGraphError):
            found += 1
        else:
            found += any(counts[name] < acked[name] for name in THREADS)
    assert found > _CUTS // 3


@pytest.mark.parametrize("recording", ["full"], indirect=True)
def test_each_acknowledgement_follows_a_sync(recording: Recording) -> None:
    """With synchronous="full", when a call returns nothing of the write-ahead log is unsynced."""
    synced = True
    acks = 0
    for entry in recording.entries:
        if shim.FILES.get(entry.file) == "-wal":
            synced = entry.what != shim.WRITTEN and (synced or entry.what == shim.SYNCED)
        elif entry.file == shim.ACKS and entry.what == shim.WRITTEN:
            acks += 1
            assert synced
    assert acks == _ROUNDS * len(THREADS)


def _cut(recording: Recording, seed: int, *, honest: bool = True) -> tuple[int, dict[str, bytes]]:
    """A moment at which the power fails, and what the disk may hold then."""
    chance = random.Random(seed)
    cut = chance.randrange(len(recording.entries) + 1)
    return cut, shim.disk_after(recording.entries[:cut], chance, honest=honest)


def _acknowledged(entries: Sequence[Entry]) -> dict[str, int]:
    """How many items each thread is known to have."""
    known = dict.fromkeys(THREADS, 0)
    for entry in entries:
        if entry.file == shim.ACKS and entry.what == shim.WRITTEN:
            name, _, count = entry.data.decode().partition(" ")
            known[name] = int(count)
    return known


def _written(entries: Sequence[Entry]) -> int:
    """How many items a thread may have at most: one more call than was acknowledged."""
    return max(_acknowledged(entries).values()) + 3


async def _recover(recording: Recording, disk: dict[str, bytes], folder: Path) -> dict[str, int]:
    """Open what a power loss has left; returns how many items each thread has."""
    folder.mkdir()
    path = folder / "threads.db"
    for ending, content in disk.items():
        path.with_name(path.name + ending).write_bytes(content)
    counts = {}
    async with SqliteSaver(path, synchronous="normal") as saver:
        for name in THREADS:
            graph = counting(saver, 1000)
            state = await graph.aget_state(thread(name))
            items: list[Any] = state.values.get("items", [])
            assert items == recording.whole[: len(items)], name
            counts[name] = len(items)
            if state.config["configurable"].get("checkpoint_id") is not None:
                assert await saver.averify(name) == []
            await counting(saver, len(items) + 3).ainvoke({"items": ["more"]}, thread(name))
            after = (await graph.aget_state(thread(name))).values["items"]
            assert len(after) > len(items)
            assert after[: len(items)] == items
    return counts
