"""Fixtures: the corpus as it is written now, by the command and in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.corpus import HERE

__all__ = ["rewritten"]


@pytest.fixture(scope="session")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as today's code writes it."""
    into = tmp_path_factory.mktemp("golden") / "now"
    command = [sys.executable, "-W", "error", "-m", "tests.golden.write", "--into", str(into)]
    done = subprocess.run(
        command, check=False, capture_output=True, cwd=HERE.parents[1], timeout=50
    )
    assert done.returncode == 0, done.stderr.decode()
    return into
