"""Typical programs are accepted by mypy and pyright at their strictest, and mistakes are found."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from durable_graph.graph.compiled import CompiledGraph
from durable_graph.graph.state_graph import StateGraph
from durable_graph.typing import NodeOptions, RunOptions

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PROGRAMS: Final = sorted((HERE / "programs").glob("*.py"))
MISTAKES: Final = HERE / "mistakes.py"

Found = dict[tuple[str, int], str]


def run(*command: str) -> str:
    """What a checker says."""
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # as if it were installed there, not linked to
        capture_output=True,
        check=False,
        text=True,
        timeout=150,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.stdout


def by_mypy() -> Found:
    """What mypy finds, by file and line. It reads the project's settings, which are strict."""
    files = map(str, (*PROGRAMS, MISTAKES))
    said = run("mypy", "--no-pretty", "--hide-error-context", *files)
    lines = re.findall(r"^(.+?):(\d+): error: (.*)$", said, re.MULTILINE)
    assert lines or "Success" in said, said
    return {(Path(file).name, int(line)): text for file, line, text in lines}


def by_pyright() -> Found:
    """What pyright finds, by file and line, with the settings of this folder."""
    said = run("pyright", "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson")
    report = json.loads(said)
    assert report["summary"]["filesAnalyzed"] == len(PROGRAMS) + 1, report["summary"]
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


CHECKERS: Final[dict[str, Callable[[], Found]]] = {"mypy": by_mypy, "pyright": by_pyright}


@pytest.mark.timeout(180)  # without a cache, a checker reads everything anew
@pytest.mark.parametrize("checker", CHECKERS)
def test_programs_are_accepted_and_mistakes_found(checker: str) -> None:
    """Every line that is marked as wrong is found, and no other."""
    found = CHECKERS[checker]()
    wrong = {
        (MISTAKES.name, number)
        for number, line in enumerate(MISTAKES.read_text(encoding="utf-8").splitlines(), 1)
        if "# wrong" in line
    }
    assert len(wrong) > 15
    assert {place: text for place, text in found.items() if place not in wrong} == {}
    assert wrong - found.keys() == set()


@pytest.mark.parametrize("program", [program.stem for program in PROGRAMS])
async def test_the_programs_run(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is accepted is also right: each runs to its end and prints something."""
    await importlib.import_module(f"tests.typing.programs.{program}").main()
    assert capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.stem))
def test_no_program_silences_a_checker(program: Path) -> None:
    """No casts, no comments that switch a check off."""
    assert not re.search(r"\bcast\(|type: ignore|pyright:", program.read_text(encoding="utf-8"))


def by_name(function: Callable[..., object]) -> set[str]:
    """What a method takes by name only."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


def test_options_are_those_of_the_methods() -> None:
    """What overloads and the synchronous face pass on is all that the methods take."""
    assert {*RunOptions.__annotations__, "stream_mode", "version"} == by_name(CompiledGraph.ainvoke)
    shaping = {"stream_mode", "subgraphs", "version"}
    assert {*RunOptions.__annotations__, *shaping} == by_name(CompiledGraph.astream)
    assert {*NodeOptions.__annotations__, "input_schema"} == by_name(StateGraph.add_node)


PUBLIC: Final = (
    "durable_graph.errors.",
    "durable_graph.graph.compiled.",
    "durable_graph.graph.state_graph.",
    "durable_graph.engine.ownership.keeper.",
    "durable_graph.engine.ownership.owner.Lease.",
    "durable_graph.engine.tasks.runtime.",
    "durable_graph.registry.",
    "durable_graph.saver.",
    "durable_graph.store.",
    "durable_graph.sync.",
    "durable_graph.testing.clock.",
    "durable_graph.testing.crash.",
    "durable_graph.testing.effects.",
    "durable_graph.testing.models.",
    "durable_graph.testing.sweep.",
    "durable_graph.types.",
    "durable_graph.typing.",
)


@pytest.mark.timeout(180)
def test_what_users_touch_has_its_type_written_down() -> None:
    """In an installed package a checker guesses nothing: what has no annotation is unknown."""
    said = run(
        *("pyright", "--pythonpath", sys.executable, "--ignoreexternal", "--outputjson"),
        *("--verifytypes", "durable_graph"),
    )
    report = json.loads(said)["typeCompleteness"]
    assert len(report["symbols"]) > 1000
    bare = [
        symbol["name"]
        for symbol in report["symbols"]
        if symbol["isExported"] and symbol["name"].startswith(PUBLIC)
        for found in symbol.get("diagnostics", ())
        if "missing" in found["message"]
    ]
    assert bare == []
