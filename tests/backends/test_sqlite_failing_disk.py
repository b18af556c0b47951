"""A disk that fails: nothing is acknowledged that is not stored, and healing is enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from durable_graph.log.records import ThreadKey
from durable_graph.log.seal import open_record
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends import shim
from tests.backends.kit import TORTURE, child

pytestmark = pytest.mark.timeout(1200 if TORTURE else 60)

_WORKER: Final = Path(__file__).with_name("sqlite_on_failing_disk.py")
_SEEDS: Final = 20 if TORTURE else 2
_CUTS: Final = 100 if TORTURE else 15
_RATES: Final = [(0.05, 0.0), (0.3, 0.0), (0.0, 0.02), (0.0, 0.1), (0.1, 0.03)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim."""
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(("sync", "writes"), [(0.1, 0.0), (0.0, 0.05), (0.1, 0.05)])
def test_a_run_comes_to_its_end(library: Path, tmp_path: Path, sync: float, writes: float) -> None:
    """A graph on a failing disk, called again whenever that is told, ends with the result of an
    undisturbed run; each step is in its history once."""
    failures = 0
    for seed in range(1, _SEEDS + 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        told = _run(library, folder, "runs", sync, writes, seed)
        failures += told["failures"]  # a seed may be lucky
        assert set(told["errors"]) <= {"OutcomeUnknownError", "StorageError"}, seed
        assert (told["right"], told["wrong"], told["steps"]) == (True, 0, 14), seed
    assert failures > 0


@pytest.mark.parametrize("space", [0, 1000, 50_000, 123_457])
def test_a_full_disk_is_told_as_full(library: Path, tmp_path: Path, space: int) -> None:
    """When the disk has no space, appends raise `StorageFullError` and store nothing, what is
    there can be read, and the same saver goes on once there is space."""
    told = _run(library, tmp_path, "full", space)
    assert told["told"] == 5
    assert told["fitted"] >= 1 + space // 40_000


async def _stored(disk: dict[str, bytes], folder: Path) -> int:
    """How many records of the thread there are, each of which is checked."""
    folder.mkdir()
    for ending, content in disk.items():
        (folder / f"threads.db{ending}").write_bytes(content)
    backend = SqliteBackend(folder / "threads.db", synchronous="normal")
    key = ThreadKey("", "thread")
    reading = await backend.read(key)
    records = [] if reading is None else list(await backend.scan(key, ((1, reading.head.seq),)))
    for record in records:
        assert reading is not None
        open_record(record, reading.head.secret, key.thread)
    await backend.aclose()
    return len(records)


def _run(library: Path, folder: Path, scenario: str, *numbers: float) -> Any:
    path = folder / "threads.db"
    environment = shim.environment(library, path, folder / "journal")
    with child(_WORKER, path, scenario, *numbers, environment=environment) as worker:
        return json.loads(worker.end(timeout=300 if TORTURE else 50))
