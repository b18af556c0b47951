"""All targets under atheris, one after the other: ``python -m tests.fuzz.run [--minutes M]``.

What is learnt about inputs stays in `.fuzz`, so each run begins where the last one ended.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.fuzz.exploits import EXPLOITS
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

__all__ = ["main"]

_FOLDER: Final = Path(".fuzz")
_LONGEST: Final = 1 << 14
_SLICE: Final = 120  # seconds of one process: atheris keeps a few hundred bytes of every input


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; returns how many targets misbehaved."""
    parser = argparse.ArgumentParser(description="Fuzz what reads hostile bytes.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=3.0, help="for each target")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install 'durable-graph[fuzz]'")
    targets = [TARGETS[name] for name in given.names or TARGETS]
    found = [target.name for target in targets if not _fuzz(target, given.minutes)]
    if found:
        print(
            f"Found something in: {', '.join(found)}. See it again with python -m tests.fuzz.one "
            f"NAME {_FOLDER}/found/FILE, and make the file a seed of its target."
        )
    return len(found)


def _fuzz(target: Target, minutes: float) -> bool:
    """Whether nothing was found."""
    corpus, seeds, artifacts = (_FOLDER / part for part in (target.name, "seeds", "found"))
    for folder in (corpus, seeds / target.name, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*target.seeds, *EXPLOITS]):
        (seeds / target.name / str(number)).write_bytes(seed)
    print(f"-- {target.name}: {minutes:g} minutes", flush=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.one", target.name),
        *(str(corpus), str(seeds / target.name)),
        f"-max_len={_LONGEST}",
        *("-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"),
        f"-artifact_prefix={artifacts}/{target.name}-",
    ]
    left = round(minutes * 60)
    while left > 0:
        limit = f"-max_total_time={min(left, _SLICE)}"
        if subprocess.run([*command, limit], check=False).returncode != 0:
            return False
        left -= _SLICE
    return True


if __name__ == "__main__":
    sys.exit(main())
