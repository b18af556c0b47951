"""The fault tolerance notebook as a program, for a test that presses Ctrl-C.

Called as ``python -m tests.seeds.ctrl_c memory`` or with a path of a SQLite file instead.
"""

from __future__ import annotations

import signal
import sys

from durable_graph import InMemorySaver
from durable_graph_sqlite import SqliteSaver
from tests.seeds.notebook import Notebook
from tests.seeds.standins import time

if __name__ == "__main__":
    # Whoever started the tests may have had Ctrl-C ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Between what the node prints and its sleep, Ctrl-C would find a node that does not hang yet.
    time.hanging = lambda: print("hanging", file=sys.stderr, flush=True)
    where = sys.argv[1]
    saver = InMemorySaver if where == "memory" else lambda: SqliteSaver(where)
    notebook = Notebook("seed_001_fault_tolerance", InMemorySaver=saver)
    notebook.run("imports", "state", "steps", "graph", "interrupted", "again")
    for snapshot in notebook.run("history"):
        print("then", *snapshot.next)
