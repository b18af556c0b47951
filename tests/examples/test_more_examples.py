"""The examples of a live view, a reducer and of tests show what they are there to show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.examples.conftest import EXAMPLES, Run, at_terminal


def test_a_live_view_shows_every_mode(run: Run) -> None:
    """Where nobody watches, its last picture: all tasks done, and each mode has shown something."""
    ended = run("live_view.py", COLUMNS="100")
    assert ended.returncode == 0, ended.stderr
    for task in ("encyclopedia", "newspaper", "diary", "write"):
        assert re.search(rf"│ {task} +│ done", ended.stdout), ended.stdout
    for mode in ("values", "updates", "messages", "tasks", "checkpoints", "custom", "debug"):
        assert re.search(rf"│ {mode} +│ [1-9]", ended.stdout), ended.stdout
    assert "On logs: diary has 20 pages on logs; encyclopedia has 9" in ended.stdout


def test_a_live_view_lives(tmp_path: Path) -> None:
    """At a terminal it is drawn again and again: tasks are seen running, then done."""
    code, shown = at_terminal("live_view.py", folder=tmp_path, COLUMNS="100", TERM="xterm")
    assert code == 0, shown
    assert shown.index("running") < shown.index("done")
    assert shown.count("encyclopedia") > 3


def test_a_reducer_of_ones_own_keeps_the_best(run: Run) -> None:
    """Three writers at once, a later one, and an update that goes past it."""
    ended = run("own_reducer.py")
    assert ended.returncode == 0, ended.stderr
    assert [line.split() for line in ended.stdout.splitlines()[1:5]] == [
        ["Riga", "60"],
        ["Rome", "80"],
        ["Athens", "110"],
        ["Oslo", "120"],
    ]
    assert ended.stdout.splitlines()[6].split() == ["Oslo", "45"]
    assert "past the reducer: {'Bergen': 20}" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("and as it was before: {'Oslo': 45")


def test_the_tests_of_a_graph_pass(tmp_path: Path) -> None:
    """Copied beside somebody's tests they pass, and show how a careless payment is found out."""
    copied = tmp_path / "test_refunds.py"
    copied.write_bytes((EXAMPLES / "testing_a_graph.py").read_bytes())
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-sq", "-p", "durable_graph", copied.name],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout
    assert "'refund' of node 'pay' happened 2 times" in ended.stdout


def test_every_example_is_on_the_list() -> None:
    """The folder's README names each program, and no other; none is long."""
    listed = re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))
    for path in EXAMPLES.glob("*.py"):
        if not path.name.startswith(("survey", "effect_log")):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 100, path.name
