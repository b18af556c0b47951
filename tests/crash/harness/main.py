"""A script in a process of its own that another program may start: ``strace``, ``unshare``.

``python -m tests.crash.harness.main JOB ARGUMENT...`` does a job and prints a JSON line
for everything that it says.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from tests.crash.harness import programs, replay

JOBS: dict[str, Any] = {
    "faulty": programs.faulty,
    "full_disk": programs.full_disk,
    "go_on_with_all": replay.go_on_with_all,
}


class Printer:
    """A `Line` that can only be listened to."""

    def say(self, *message: Any) -> None:
        """Print a line, at once."""
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    asyncio.run(JOBS[job](Printer(), *arguments))
