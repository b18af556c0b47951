"""Scenario 17: a process forks while it has a saver open."""

from __future__ import annotations

from pathlib import Path

from tests.crash.harness.forking import child_makes_its_own, child_uses_inherited
from tests.crash.harness.oracle import check_file
from tests.crash.harness.processes import Worker


def test_a_forked_child_cannot_use_its_parents_saver(tmp_path: Path) -> None:
    """The child is told so at every call; the parent goes on as if nothing had happened."""
    with Worker(child_uses_inherited, tmp_path / "threads.db") as worker:
        assert worker.end() == ("ended", ("refused refused refused", ["after", "before"]))
    check_file(tmp_path / "threads.db")


def test_a_forked_child_that_makes_its_own_saver_loses_nothing(tmp_path: Path) -> None:
    """What the child was told is stored stays stored, whatever its parent does with the file."""
    with Worker(child_makes_its_own, tmp_path / "threads.db") as worker:
        assert worker.end() == ("ended", ("", ["before", "child 1", "child 2"]))
    check_file(tmp_path / "threads.db")
