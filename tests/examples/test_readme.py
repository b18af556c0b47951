"""The README says what happens when its commands are typed."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


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
    shown = blocks("python")[0]
    example = (ROOT / "examples/crash_and_resume.py").read_text(encoding="utf-8")
    assert example.partition('"""\n\n')[2] == shown
    assert len(shown.splitlines()) <= 20
    assert "examples/crash_and_resume.py" in blocks("console")[0]


def test_the_first_screen_prints_what_is_shown(tmp_path: Path) -> None:
    """Its commands, typed one after the other: killed, then gone on with."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "crash_and_resume.py").write_text(blocks("python")[0], encoding="utf-8")
    session = blocks("console")[0]
    assert "Killed" in session
    assert typed(session, tmp_path) == session


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_snippet_runs(number: int, tmp_path: Path) -> None:
    """A Python block of the README is a program that ends well."""
    code = blocks("python")[number]
    ast.parse(code)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr


def test_the_make_targets_it_names_exist() -> None:
    """`make demo` and `make test` are known to make."""
    targets = re.findall(r"^\$ make (\S+)", README, re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_the_files_it_links_to_exist() -> None:
    """Every relative link leads somewhere."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)
