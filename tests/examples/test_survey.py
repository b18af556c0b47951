"""The survey: its report, its crash, its question, and what it says to bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from survey import AT_ONCE, fan_out, find
from tests.examples.conftest import EXAMPLES, Run, at_terminal

REPORT = """\
# Survey of tree

20 files, 250 lines, 20 functions.
50 % of what is public has a docstring. 20 TODOs.

4 functions with a complexity over 16:

      20  tree/package/module_19.py:2 f
      19  tree/module_18.py:2 f
      18  tree/package/module_17.py:2 f
      17  tree/module_16.py:2 f
"""


def test_a_tree_is_surveyed_and_its_report_published(run: Run, tree: Path, tmp_path: Path) -> None:
    """Unattended, the report is approved; a line per file tells how far it is."""
    ended = run("survey.py", tree, "--limit", 16)
    assert ended.returncode == 0, ended.stderr
    assert len([line for line in ended.stdout.splitlines() if " of 20 " in line]) == 20
    assert ended.stdout.endswith(f"Published: {tmp_path / 'report.md'}\n")
    assert (tmp_path / "report.md").read_text() == REPORT


def test_a_finished_survey_starts_afresh(run: Run, tree: Path, tmp_path: Path) -> None:
    """Run again, it sees what has changed, and nothing of the first time is counted twice."""
    run("survey.py", tree, "--limit", 16)
    (tree / "module_18.py").unlink()
    ended = run("survey.py", tree, "--limit", 16)
    assert ended.returncode == 0, ended.stderr
    report = (tmp_path / "report.md").read_text()
    assert "19 files" in report
    assert "3 functions with" in report


KILLED = """
import itertools, os, survey
numbers, facts_of = itertools.count(1), survey.facts_of
def die_at_the_thirteenth(base, file):
    if next(numbers) == 13:
        os.kill(os.getpid(), 9)
    return facts_of(base, file)
survey.facts_of = die_at_the_thirteenth
survey.main()
"""


def test_a_killed_survey_goes_on_where_it_was(run: Run, tree: Path, tmp_path: Path) -> None:
    """SIGKILL in the 13th file: what was told is stored, the rest is done, the report is whole."""
    killed = subprocess.run(
        [sys.executable, "-u", "-c", KILLED, str(tree), "--limit", "16"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    told = {line.split()[-1] for line in killed.stdout.splitlines()}
    ended = run("survey.py", tree, "--limit", 16)
    assert ended.returncode == 0, ended.stderr
    first, *lines = ended.stdout.splitlines()
    stored = int(first.removeprefix("Going on: ").removesuffix(" of 20 files are stored."))
    assert 13 - AT_ONCE <= stored < 13
    analysed = [line.split()[-1] for line in lines if " of 20 " in line]
    assert len(analysed) == 20 - stored
    assert not told & set(analysed)
    assert (tmp_path / "report.md").read_text() == REPORT


@pytest.mark.parametrize(
    ("answers", "published"),
    [
        (["a"], "Survey of tree"),
        (["reject"], None),
        (["what?", "", "e"], "EDITED of tree"),
    ],
)
def test_a_person_approves_edits_or_rejects(
    answers: list[str], published: str | None, tree: Path, tmp_path: Path
) -> None:
    """At a terminal it asks until it understands; an edited report is what is published."""
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(file.read_text().replace('Survey', 'EDITED'))\n"
    )
    visual = f"{sys.executable} {editor}"
    code, shown = at_terminal("survey.py", tree, folder=tmp_path, answers=answers, VISUAL=visual)
    assert code == 0, shown
    assert shown.count("[a]pprove, [e]dit, [r]eject: ") == len(answers)
    report = tmp_path / "report.md"
    assert (report.read_text().splitlines()[0][2:] if report.exists() else None) == published


def test_files_that_cannot_be_analysed_are_counted(run: Run, tree: Path, tmp_path: Path) -> None:
    """Bad syntax, bad bytes, a dangling link and an odd name: in the report, not a traceback."""
    (tree / "syntax.py").write_text("def f(:\n")
    (tree / "bytes.py").write_bytes(b'x = "\xff"\n')
    (tree / "link.py").symlink_to("nowhere.py")
    (tree / os.fsdecode(b"odd\xff.py")).write_text("x = 1\n")
    (tree / ".hidden").mkdir()
    (tree / ".hidden" / "not_seen.py").write_text("def f(:\n")
    ended = run("survey.py", tree)
    assert (ended.returncode, ended.stderr) == (0, "")
    report = (tmp_path / "report.md").read_text()
    assert "24 files" in report
    assert "3 files that could not be analysed" in report
    assert "tree/syntax.py: line 1: invalid syntax" in report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no folder."),
        (["empty"], "No Python files in "),
        (["tree", "--out", "nowhere/report.md"], "There is no folder nowhere to put the report"),
        (["tree", "--db", "nowhere/survey.db"], "unable to open database file"),
    ],
)
def test_bad_input_gets_one_clear_line(
    arguments: list[str], message: str, run: Run, tree: Path, tmp_path: Path
) -> None:
    """Exit code 1 and a sentence, no traceback."""
    (tmp_path / "empty").mkdir()
    ended = run("survey.py", *arguments)
    assert ended.returncode == 1
    assert ended.stderr.startswith("survey: ")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_every_file_is_sent_to_a_task_of_its_own(tree: Path) -> None:
    """The fan-out: as many `Send`s as files, in order."""
    survey = find({"base": str(tree.parent), "folders": ["tree"]})
    sends = fan_out({"base": str(tree.parent), "files": survey["files"]})
    assert [send.arg["file"] for send in sends] == sorted(survey["files"])
    assert {send.node for send in sends} == {"analyse"}
    assert len(sends) == 20
