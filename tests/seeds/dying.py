"""Runs cells of a snippet in a process that kills itself when it prints a certain line.

Called as ``python -m tests.seeds.dying SNIPPET LINE CELL...``, in the folder of the database.
"""

from __future__ import annotations

import os
import signal
import sys

from tests.seeds.notebook import Notebook
from tests.seeds.standins import create_deep_agent

if __name__ == "__main__":
    name, last, *cells = sys.argv[1:]

    def print_and_die(*values: object, **options: object) -> None:
        line = " ".join(map(str, values))
        print(line, flush=True)
        if last in line:
            os.kill(os.getpid(), signal.SIGKILL)

    Notebook(
        name,
        print=print_and_die,
        create_deep_agent=create_deep_agent,
        input_state={"count": 0, "done": False},
    ).run(*cells)
