"""The page on state persistence: its loop, its file, and the same input again after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from durable_graph.types import RunnableConfig
from tests.seeds.notebook import Notebook, SaverMaker

NAME = "seed_004_state_persistence"
ROOT = Path(__file__).parents[2]
PRINTED = [
    "Incrementing: 0",
    "Done? False",
    "Incrementing: 1",
    "Done? False",
    "Incrementing: 2",
    "Done? False",
    "Incrementing: 3",
    "Done? False",
    "Incrementing: 4",
    "Done? True",
]
CONFIG: RunnableConfig = {"configurable": {"thread_id": "user-123"}}


def test_the_loop_prints_its_ten_lines_and_returns_five(
    notebook: Callable[..., Notebook], make_saver: SaverMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demonstration: a loop with a condition, and the output that the page shows."""
    book = notebook(NAME, InMemorySaver=make_saver)
    assert book.run("state", "graph", "invoke") == {"count": 5, "done": True}
    assert capsys.readouterr().out.splitlines() == PRINTED


def test_every_transition_is_a_checkpoint_with_time_and_metadata(
    notebook: Callable[..., Notebook], make_saver: SaverMaker
) -> None:
    """Sections 2 and 4: thread, position, state, time and metadata of each of the ten steps."""
    book = notebook(NAME, InMemorySaver=make_saver)
    book.run("state", "graph", "invoke")
    history = list(book["graph"].get_state_history(book["config"]))
    assert len(history) == 12  # the input, where it leads, and ten steps
    assert {snapshot.thread_id for snapshot in history} == {"demo"}
    assert [s.next for s in reversed(history)] == [
        ("__start__",),
        *[("inc",), ("check",)] * 5,
        (),
    ]
    times = [snapshot.created_at for snapshot in history]
    assert times == sorted(times, key=str, reverse=True)
    assert [s.values["count"] for s in history if s.values] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0]


def test_a_file_persists_the_state_for_another_graph(notebook: Callable[..., Notebook]) -> None:
    """Section 5: ``SqliteSaver("state.db")``; what was run is there when the file is reopened."""
    book = notebook(NAME, input_state={"count": 3, "done": False})
    book.run("state", "graph", "5 persistence in code")
    assert book.run("5 running with identity") == {"count": 5, "done": True}
    book.close()
    later = notebook(NAME)
    later.run("state", "graph", "5 persistence in code")
    assert later["graph"].get_state(CONFIG).values == {"count": 5, "done": True}


@pytest.mark.parametrize(("last", "left"), [("Incrementing: 2", 4), ("Done? False", 1)])
def test_the_same_input_after_a_crash_resumes_from_the_latest_checkpoint(
    last: str, left: int, notebook: Callable[..., Notebook], capsys: pytest.CaptureFixture[str]
) -> None:
    """Section 6: the process is killed in a node; the same call goes on at that very node."""
    cells = ["state", "graph", "5 persistence in code", "5 running with identity"]
    died = subprocess.run(
        [sys.executable, "-m", "tests.seeds.dying", NAME, last, *cells],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert died.stdout.splitlines() == PRINTED[: left + 1]

    book = notebook(NAME, input_state={"count": 0, "done": False}, config=CONFIG)
    book.run("state", "graph", "5 persistence in code")
    assert book.run("6 recovery") == {"count": 5, "done": True}
    assert capsys.readouterr().out.splitlines() == PRINTED[left:]


def test_the_same_input_after_the_end_is_a_new_run(
    notebook: Callable[..., Notebook], capsys: pytest.CaptureFixture[str]
) -> None:
    """Section 6 with nothing to recover: the graph is run again, from the input."""
    book = notebook(NAME, input_state={"count": 0, "done": False})
    book.run("state", "graph", "5 persistence in code", "5 running with identity")
    capsys.readouterr()
    assert book.run("6 recovery") == {"count": 5, "done": True}
    assert capsys.readouterr().out.splitlines() == PRINTED
