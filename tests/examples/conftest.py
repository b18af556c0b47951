"""Runs the examples as a newcomer does: as programs, in an empty folder."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# The scripts import each other by name, and so do the tests of their functions.
sys.path.insert(0, str(EXAMPLES))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs an example to its end, with nobody at the terminal."""

    def run_example(
        script: str, *arguments: object, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=50,
        )

    return run_example


def at_terminal(
    script: str, *arguments: object, folder: Path, answers: Sequence[str] = (), **environment: str
) -> tuple[int, str]:
    """Runs an example in a terminal of its own; its exit code, and what the terminal got.

    Args:
        script: the example.
        arguments: its arguments.
        folder: where it runs.
        answers: what is typed, one after the other, when it asks.
        environment: additions to the environment.
    """
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    ) as process:
        os.close(inner)
        left, shown = list(answers), b""
        try:
            while True:
                try:
                    shown += os.read(outer, 65536)
                except OSError:  # how Linux says that the other side is closed
                    break
                if left and shown.endswith(b"[r]eject: "):
                    os.write(outer, f"{left.pop(0)}\n".encode())
        finally:
            os.close(outer)
    return process.returncode, shown.decode()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree of 20 modules, each with a function of another complexity."""
    folder = tmp_path / "tree"
    (folder / "package").mkdir(parents=True)
    for number in range(20):
        ifs = "".join(f"    if a == {n}: return {n}\n" for n in range(number))
        where = folder / ("package" if number % 2 else ".") / f"module_{number:02}.py"
        where.write_text(f'"""Module {number}."""\ndef f(a):\n{ifs}    return a  # TODO\n')
    return folder
