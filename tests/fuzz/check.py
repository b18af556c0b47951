"""A process that has targets read what it is given, line by line, and says what they did wrong.

Reads JSON lines: a target's name, an input in hexadecimal. Answers each with a JSON line, ``null``
or the misbehaviour. The targets named "bad-..." are there to be caught.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from tests.fuzz.bounds import SECONDS, Bounds, MisbehaviourError
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


def _busy() -> None:
    until = time.process_time() + 1.2 * SECONDS
    while time.process_time() < until:
        pass


_BAD: Final[dict[str, Callable[[], object]]] = {
    "raises": lambda: dict[str, int]()["x"],
    "refuses otherwise": lambda: int("x"),
    "imports": lambda: importlib.import_module("antigravity_"),
    "opens": lambda: open("/dev/null").close(),  # noqa: PTH123
    "executes": lambda: exec("1"),
    "connects": lambda: socket.socket().close(),
    "reserves": lambda: bytes(100_000_000),
    "works on": _busy,
}


def _bad(what: str, do: Callable[[], object]) -> Target:
    return Target(f"bad-{what}", lambda data: do(), (ImportError,), ())


def main() -> None:
    """Answer until the input ends."""
    bad = [_bad(what, do) for what, do in _BAD.items()]
    targets = {**TARGETS, **{target.name: target for target in bad}}
    bounds = Bounds()
    for line in sys.stdin:
        name, data = json.loads(line)
        try:
            bounds.check(targets[name], bytes.fromhex(data))
            said = None
        except MisbehaviourError as error:
            said = str(error)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
