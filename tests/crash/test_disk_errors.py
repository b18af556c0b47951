"""Scenario 21: the disk fails while something is written."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.harness.counts import rounds
from tests.crash.harness.trial import Trial, in_parallel

ROOT = Path(__file__).parents[2]
ERRORS = {"StorageError", "StorageFullError", "OutcomeUnknownError"}
STRACE = shutil.which("strace")
TRACED = [STRACE or "strace", "-f", "-o", "/dev/null", "-e"]


def can_trace() -> bool:
    """Whether system calls of a process can be made to fail here."""
    if STRACE is None:
        return False
    probe = [*TRACED, "inject=fdatasync:error=EIO:when=1", "true"]
    return subprocess.run(probe, check=False, capture_output=True, timeout=30).returncode == 0


pytestmark = pytest.mark.skipif(not can_trace(), reason="strace cannot be used here")


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=SIGKILL"])
def test_what_was_not_written_is_never_acknowledged(call: str, fault: str, tmp_path: Path) -> None:
    """A run whose n-th write or flush fails, or is its last deed, can be gone on with."""

    def one(seed: int, random: random.Random) -> None:
        trial = Trial("long", tmp_path / str(seed))
        at = random.randint(1, 32 if call == "fdatasync" else 120)
        job = ["-m", "tests.crash.harness.main", "faulty", trial.place.where]
        injected = f"inject={call}:{fault}:when={at}"
        with subprocess.Popen(
            [*TRACED, injected, sys.executable, *job, str(trial.effects.path)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        ) as program:
            assert program.stdout is not None
            said = []
            for line in program.stdout:
                said.append(json.loads(line))
                if said[-1][0] == "ack":
                    trial.acks.note(*said[-1][1:])
            left = program.wait(60)
        if left == 0:
            how, *what = said[-1]
            assert how == "ended" or what[0] in ERRORS, f"{said[-1]}, with {injected}"
        else:
            assert fault == "signal=SIGKILL", f"it exited with {left}, with {injected}"
        trial.finish()
        trial.check()

    in_parallel(rounds(5, 300), one)
