"""The README and its tour say what happens: when commands are typed, snippets run, calls made."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from durable_graph.decisions.admission import Action, Asked, Situation, admit
from durable_graph.engine.storage import runlog
from durable_graph.engine.streams import stream
from durable_graph.errors import RunError
from durable_graph.log.records import Status
from durable_graph.saver import Lease
from durable_graph.types import Durability
from durable_graph_sqlite import SqliteSaver
from tests.examples.documents import ROOT, blocks, rows, section, spans, text_of

README = text_of("README.md")
SNIPPETS = re.findall(
    r"^```python\n(.*?)^```\n\n(?:```text\n(.*?)^```)?",
    README + text_of("docs/TOUR.md"),
    re.MULTILINE | re.DOTALL,
)


def typed(session: str, folder: Path) -> str:
    """What a terminal shows when a session's commands are typed in a folder."""
    shown = []
    for line in session.splitlines():
        if not line.startswith("$ "):
            continue
        shown.append(line)
        *settings, python, script = shlex.split(line[2:])
        assert python == "python"
        ended = subprocess.run(
            [sys.executable, script],
            cwd=folder,
            env={**os.environ, **dict(setting.split("=") for setting in settings)},
            stdout=subprocess.PIPE,
            check=False,
            text=True,
            timeout=50,
        )
        shown += ended.stdout.splitlines()
        if ended.returncode == -9:
            shown.append("Killed")  # as a shell says
        else:
            assert ended.returncode == 0
    return "\n".join(shown) + "\n"


def test_the_first_screen_is_the_example_of_its_commands() -> None:
    """The code shown is examples/crash_and_resume.py, and at most 20 lines."""
    shown = blocks("README.md", "python")[0]
    example = (ROOT / "examples/crash_and_resume.py").read_text(encoding="utf-8")
    assert example.partition('"""\n\n')[2] == shown
    assert len(shown.splitlines()) <= 20
    assert "examples/crash_and_resume.py" in blocks("README.md", "console")[0]


def test_the_first_screen_prints_what_is_shown(tmp_path: Path) -> None:
    """Its commands, typed one after the other: killed, then gone on with."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "crash_and_resume.py").write_text(blocks("README.md", "python")[0], encoding="utf-8")
    session = blocks("README.md", "console")[0]
    assert "Killed" in session
    assert typed(session, tmp_path) == session


@pytest.mark.parametrize(("code", "shown"), SNIPPETS[1:])
def test_every_snippet_prints_what_is_shown(code: str, shown: str, tmp_path: Path) -> None:
    """A snippet is a program that ends well, and what stands beneath it is what it prints."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == shown != ""


def test_no_snippet_is_left_out() -> None:
    """Each has its output beneath it, and no line is too wide to be read beside others."""
    shown = blocks("README.md", "python") + blocks("docs/TOUR.md", "python")
    assert [code for code, _ in SNIPPETS] == shown
    assert max(len(line) for code, _ in SNIPPETS for line in code.splitlines()) <= 100


def test_the_commands_of_a_newcomer_are_told() -> None:
    """`make demo` and `make test` are what one types first."""
    assert re.findall(r"^\$ make (\S+)", README, re.MULTILINE) == ["demo", "test"]


def test_the_table_of_calls_is_what_is_decided() -> None:
    """Each cell is what `admit` decides, in the words of the README."""
    table = rows(section("README.md", "What a call does"))
    columns: tuple[Asked, ...] = get_args(Asked)
    shown = {row[0]: row[1:] for row in table[1:]}
    situations: list[Situation] = ["new", "crashed", *get_args(Status)]
    assert set(shown) == set(situations)
    for situation in situations:
        for asked, cell in zip(columns, shown[situation], strict=True):
            assert cell == in_words(situation, asked), (situation, asked)


def in_words(situation: Situation, asked: Asked) -> str:
    """What a call does, as the table says it."""
    questions = int(situation == "asking")
    try:
        action = admit(situation, asked, thread="t", questions=questions)
    except RunError as error:
        return f"`{type(error).__name__}`"
    cut_off = situation in ("crashed", "failed", "stopped")
    return {
        Action.RETURN: "asks again" if questions else "returns the state",
        Action.GO_ON: "goes on",
        Action.BEGIN: "runs after what has finished" if cut_off else "runs",
        Action.ANSWER: "answers, goes on",
    }[action]


def test_the_levels_of_durability_are_all_there() -> None:
    """A row for each, the default first."""
    levels = text_of("README.md").partition("When a step counts as acknowledged")[2]
    named = [spans(row[0])[0] for row in rows(levels)[1:]]
    assert named == [*get_args(Durability)]


async def test_sqlite_is_set_as_the_table_says(tmp_path: Path) -> None:
    """The default is a write-ahead log that is synced at every commit."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        [_ async for _ in saver.alist_threads()]
        found = await saver.backend._writer.call(  # type: ignore[attr-defined]
            lambda db: [
                db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous")
            ],
            writes=False,
        )
    assert found == ["wal", 2]
    assert "WAL, synchronous=FULL" in README


def test_the_numbers_are_those_of_the_code() -> None:
    """How far a run may be ahead, how much a stream holds, and how long a lease is good."""
    assert f"at most {runlog._AHEAD + 1} records behind" in README
    assert f"once {stream._LIMIT} events wait" in " ".join(README.replace("> ", "").split())
    assert f"by default {Lease().length:g} s" in README
