"""The golden corpus: threads as they were stored, and the command that writes them.

What is here fixes the record format. The threads in `format_N` were written by the engine of
that format, with a time and a chance that are the same on every machine, and they must read the
same for ever. As long as `FORMAT` (`durable_graph/log/records.py`) is N, the engine must also
write them byte for byte as they stand here.

The stories (`stories_of_*.py`) say how each thread came to be, and how one that has not ended
goes on. `corpus.py` says which files there are. To write the corpus of the present format::

    python -m tests.golden.write

It refuses to touch a corpus that is there. When the tests of this folder say that something is
written differently from how it was:

- If it was not meant to be, mend the code.
- If old records are still read and what they mean has not changed (the engine says something at
  another moment, but in the same words), look at the difference of the texts and write the
  corpus anew: ``python -m tests.golden.write --overwrite``.
- If the words have changed: raise `FORMAT`, keep reading the old, and write a new folder beside
  the old one with ``python -m tests.golden.write``. Never write over the old one then.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from durable_graph.log.records import FORMAT
from tests.golden.corpus import folder_of, write

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the corpus of the present format; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.golden.write", description="Write the corpus.")
    parser.add_argument("--overwrite", action="store_true", help="replace a corpus that is there")
    parser.add_argument("--into", type=Path, default=folder_of(), help="another folder")
    options = parser.parse_args(arguments)
    into: Path = options.into
    if into.exists() and not options.overwrite:
        print(
            f"{into} holds the corpus of format {FORMAT} already. Threads that were stored like "
            f"that are out there: if what is written has changed, raise FORMAT and write a new "
            f"folder beside it. To replace it all the same, call with --overwrite.",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        made.mkdir()
        asyncio.run(write(made))
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(made, into)
    size = sum(file.stat().st_size for file in into.iterdir())
    print(f"{into}: {len(list(into.iterdir()))} files, {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
