"""The fault tolerance notebook: Ctrl-C in a node that hangs, then on with ``invoke(None)``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("where", ["memory", "threads.db"])
def test_ctrl_c_in_a_blocking_node_leaves_a_thread_that_goes_on_at_that_node(
    where: str, tmp_path: Path
) -> None:
    """Step 1 is not run again, step 2 is, step 3 follows; the hanging thread holds up nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.seeds.ctrl_c", where.replace("threads", f"{tmp_path}/t")],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with process:
        try:
            assert process.stdout is not None
            before = []
            for line in process.stdout:
                before.append(line.strip())
                if "Step 2 hanging" in line:
                    break
            assert process.stderr is not None
            assert process.stderr.readline() == "hanging\n"
            process.send_signal(signal.SIGINT)
            after, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert before == [
        "▶️ Running graph: Please manually interrupt during Step 2...",
        "✅ Step 1 executed",
        "⏳ Step 2 hanging... now manually interrupt from the notebook toolbar (STOP button)",
    ]
    assert [line for line in after.splitlines() if line] == [
        "❌ Kernel manually interrupted (crash simulated).",
        "🔁 Re-running the graph to demonstrate fault tolerance...",
        "⏳ Step 2 hanging... now manually interrupt from the notebook toolbar (STOP button)",
        "✅ Step 3 executed",
        "✅ Final State: {'input': 'start', 'step1': 'done', 'step2': 'done'}",
        "then",
        "then step_3",
        "then step_2",
        "then step_1",
        "then __start__",
    ]
    assert process.returncode == 0
    assert "step_3" in errors, (
        "the notebook's update with a key that is not in the state: a warning"
    )
    assert "'done'" in errors
