"""Scenario 62: what is secret is found nowhere afterwards, whatever has become of the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.crash.harness import canary

ROOT = Path(__file__).parents[2]


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The program, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.harness.canary", str(path), *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")]),
            canary.VARIABLE: canary.TOKENS["environment"],
        },
        capture_output=True,
        timeout=50,
        check=False,
    )


def test_no_secret_is_found_anywhere(tmp_path: Path) -> None:
    """A program with secrets in its context, config, environment, errors and arguments is killed
    and goes on: neither its files nor its events nor its errors have any of them."""
    path = tmp_path / "threads.db"
    killed = run(path, "crash")
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left["threads.db-wal"]  # what a crash leaves is more than the file
    ended = run(path)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.rstrip().endswith(b"to the end")
    found = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    # It did what it is tried for: showed errors, and secrets as what they may be shown as.
    for words in (
        b"LookupError: ('refused', Secret('***')",
        b"The question of node 'ask' cannot be stored",
        b"'anything'",
        b"in the context of the call",
    ):
        assert words in ended.stderr
    assert b"Secret('***')" in killed.stdout
    assert b"characters were enough" in left["threads.db-wal"]
    places = {
        "what was printed before": killed.stdout + killed.stderr,
        "what was printed after": ended.stdout + ended.stderr,
        **{f"{name} after the crash": data for name, data in left.items()},
        **{f"{name} at the end": data for name, data in found.items()},
    }
    for place, data in places.items():
        for name, token in canary.TOKENS.items():
            assert token.encode() not in data, f"{name} in {place}"
