"""Scenario 22: the disk is full in the middle of a run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from durable_graph.errors import StorageFullError
from durable_graph.saver import Lease
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.programs import filling, go_on_after_full
from tests.services import postgres

ROOT = Path(__file__).parents[2]

WHEN = [
    pytest.param(False, id="once the thread was given up"),
    pytest.param(True, id="at once"),
]


def in_a_small_file_system(
    place: Path, command: Sequence[str], *, size: str = "8m", really_root: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run a command that sees a small file system in a folder, as nobody else does.

    Args:
        place: the folder.
        command: the command.
        size: of the file system.
        really_root: whether the command has to be root among all users, and not among its own.
    """
    mount = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    users = [] if really_root else ["--map-root-user"]
    return subprocess.run(
        ["unshare", *users, "--mount", "sh", "-c", mount, place, *command],
        check=False,
        capture_output=True,
        cwd=ROOT,
        timeout=50,
    )


def limit(saver: SqliteSaver, pages: int) -> None:
    """Let the file have no more than so many pages."""
    connection = saver.backend._writer  # type: ignore[attr-defined]
    connection._held._connection.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize("at_once", WHEN)
async def test_a_run_without_space_stops_and_goes_on_when_there_is_some(
    at_once: bool, tmp_path: Path
) -> None:
    """The error is clear, nothing partial is to be seen, reading works, and nothing is redone."""
    async with SqliteSaver(tmp_path / "threads.db", lease=Lease(1.0, 0.1)) as saver:
        await saver.adelete_thread("to have it opened")
        await saver.backend.beat(None)
        await saver.backend._writer.call(lambda db: None, writes=False)  # type: ignore[attr-defined]
        limit(saver, 60)
        effects = EffectFile(tmp_path / "effects")
        await go_on_after_full(saver, effects, partial(limit, saver, 2**30), at_once=at_once)


@pytest.mark.parametrize("at_once", WHEN)
def test_the_same_on_a_file_system_that_is_full(at_once: bool, tmp_path: Path) -> None:
    """What holds for a limit of SQLite's own holds for a device without space."""
    place = tmp_path / "small"
    place.mkdir()
    probe = in_a_small_file_system(place, ["true"])
    if probe.returncode:
        pytest.skip(f"no file system can be mounted here: {probe.stderr.decode()}")
    job = ["-m", "tests.crash.harness.main", "full_disk", str(place), str(int(at_once))]
    done = in_a_small_file_system(place, [sys.executable, *job])
    assert (done.stdout, done.returncode) == (b'["ended"]\n', 0), done.stderr.decode()


@pytest.mark.services
@pytest.mark.parametrize("what", ["rows", "log"])
def test_a_postgres_server_whose_disk_is_full(what: str, tmp_path: Path) -> None:
    """Where its tables find no space, a run stops as on a full disk of one's own; where its log
    finds none, the server is gone, and once it is back, all that was acknowledged is there."""
    postgres.dsn()  # which skips where there is none
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        place = Path(folder)
        postgres.unprivileged(place)  # where the server, which is not root, finds its way to
        probe = in_a_small_file_system(place, ["true"], really_root=True)
        if probe.returncode:
            pytest.skip(f"no file system can be mounted here: {probe.stderr.decode()}")
        job = ["-m", "tests.crash.harness.full_postgres", what, folder, str(tmp_path / "effects")]
        command = [sys.executable, *job]
        done = in_a_small_file_system(place, command, size="40m", really_root=True)
    assert (done.stdout, done.returncode) == (b"ended\n", 0), done.stderr.decode()


async def test_an_input_for_which_there_is_no_space_leaves_no_thread(tmp_path: Path) -> None:
    """A call that is refused for want of space has done nothing, and can be made again."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        effects = EffectFile(tmp_path / "effects")
        graph = filling(saver, effects)
        await saver.backend._writer.call(lambda db: None, writes=False)  # type: ignore[attr-defined]
        limit(saver, 1)
        config = {"configurable": {"thread_id": "thread"}}
        with pytest.raises(StorageFullError):
            await graph.ainvoke({"pages": ["x" * 50_000]}, config)  # type: ignore[arg-type]
        assert effects.read() == []
        assert [found async for found in saver.alist_threads()] == []
        limit(saver, 2**30)
        ended = await graph.ainvoke({"pages": []}, config)  # type: ignore[arg-type]
        assert len(ended["pages"]) == 40
