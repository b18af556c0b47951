"""The demo: it holds, it shows, and it fails when something does not hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import survey_demo
from effect_log import EffectLog
from survey_demo import Stage
from tests.examples.conftest import Run, at_terminal

TITLES = (
    "1. A survey is killed in the middle",
    "2. The same command again goes on, and asks",
    "3. What a log outside the library says",
    "4. The thread's checkpoints, newest first",
    "5. From an old checkpoint with another limit",
)


def test_the_demo_of_the_running_python_holds(run: Run) -> None:
    """The main job, on real input, in a pipe: killed, gone on with, checked, looked at, forked."""
    ended = run("survey_demo.py", "--yes", COLUMNS="120")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for title in TITLES:
        assert title in ended.stdout
    assert "files in asyncio, concurrent, email, json, http" in ended.stdout
    assert "SIGKILL. The facts of " in ended.stdout
    assert "FAILED" not in ended.stdout
    assert ended.stdout.rstrip().endswith("Everything held.")
    assert ended.stderr == ""


@pytest.mark.parametrize(("terminal", "live"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_shows_a_live_display_unless_it_is_dumb(
    terminal: str, live: bool, tree: Path, tmp_path: Path
) -> None:
    """In a terminal the display is redrawn, and the cursor is back after the kill."""
    code, text = at_terminal(
        "survey_demo.py", tree, "--yes", folder=tmp_path, TERM=terminal, COLUMNS="100"
    )
    assert code == 0, text
    assert ("\x1b[2K" in text) is live  # a line is cleared, to be drawn again
    assert ("of 20 files" in text) is not live
    if live:
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_folder_of_a_single_file_is_enough(run: Run, tmp_path: Path) -> None:
    """With one file, the process is killed while it is being analysed."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "only.py").write_text("x = 1\n")
    ended = run("survey_demo.py", "one", "--yes", COLUMNS="120")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 of 1 finished, 1 in flight" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no folder."),
        (["empty"], "No Python files in "),
        (["tree", "--folder", "tree"], "tree exists already"),
    ],
)
def test_bad_input_gets_one_clear_line(
    arguments: list[str], message: str, run: Run, tree: Path, tmp_path: Path
) -> None:
    """Exit code 1 and a sentence, no traceback."""
    (tmp_path / "empty").mkdir()
    ended = run("survey_demo.py", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("survey: ")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


# -- planted: what must make it fail -----------------------------------------------------------


def analyse_a_finished_file_again(stage: Stage) -> None:
    log = stage.log("first")
    EffectLog(log.path, "second").add("analysed", log.files("acknowledged")[0])


def forget_the_database(stage: Stage) -> None:
    for file in stage.folder.glob("survey.db*"):
        file.unlink()


def forget_a_file(stage: Stage) -> None:
    log = stage.log("second").path
    lines = log.read_text().splitlines()
    log.write_text("\n".join(line for line in lines if "module_19" not in line) + "\n")


def publish_something_else(stage: Stage) -> None:
    (stage.folder / "report.md").write_text("nothing")


@pytest.mark.parametrize(
    ("after", "plant", "failing"),
    [
        ("second", analyse_a_finished_file_again, "no finished file was analysed twice"),
        ("first", forget_the_database, "what was acknowledged is stored"),
        ("second", forget_a_file, "no file was missed"),
        ("second", publish_something_else, "what was approved is published"),
    ],
)
def test_the_demo_fails_if_something_does_not_hold(
    after: str,
    plant: Callable[[Stage], None],
    failing: str,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever goes wrong between the two processes, or after them: it is named, and exit 1."""
    started = survey_demo.started

    def started_and_spoiled(process: str, stage: Stage, *more: str) -> int:
        code = started(process, stage, *more)
        if process == after:
            plant(stage)
        return code

    monkeypatch.setattr(survey_demo, "started", started_and_spoiled)
    monkeypatch.setenv("COLUMNS", "120")
    kept = str(tmp_path / "kept")
    monkeypatch.setattr(sys, "argv", ["demo", str(tree), "--yes", "--folder", kept])
    with pytest.raises(SystemExit) as exit_:
        survey_demo.main()
    assert exit_.value.code == 1
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith(f"FAILED  {failing}")]
    assert "Something did not hold" in shown
