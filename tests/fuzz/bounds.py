"""What reading hostile bytes may do: refuse them as declared, soon, in little memory, and nothing
else in the world."""

from __future__ import annotations

import sys
import time
import tracemalloc
from typing import Final
from zoneinfo import ZoneInfo

from durable_graph.log.standard import _zones
from tests.fuzz.target import Target
from tests.pure.audited_decode import Watch

__all__ = ["Bounds", "MisbehaviourError"]

SECONDS: Final = 1.0
BYTES: Final = 64 * 2**20
"""For an input of up to a million bytes."""

# pydantic asks for the signature of a field's `default_factory`, and `inspect` parses that of a
# builtin, as it stands in Python itself. Nothing of it comes from the data.
_HARMLESS: Final = ("builtins.id ", "compile (b'def foo(iterable=()): pass', '<unknown>')")

# All of them are held, so that reading a time opens no file: a zone's is opened on first use.
_HELD: Final = [ZoneInfo(name) for name in sorted(_zones())]


class MisbehaviourError(Exception):
    """Reading did what it must not."""


class Bounds:
    """Watches readers, in a process of its own: an audit hook cannot be removed."""

    def __init__(self) -> None:
        self._watch = Watch()
        sys.addaudithook(self._watch.hook)
        sys.meta_path.insert(0, self._watch)

    def check(self, target: Target, data: bytes) -> None:
        """Have a target read something.

        Raises:
            MisbehaviourError: it raised what it has not declared, imported, opened or executed
                something, or took too much time or memory.
        """
        tracemalloc.start()  # counts also what is reserved and never touched
        try:
            took = self._read(target, data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if took > SECONDS:
            took = self._read(target, data)  # again, since counting takes time
        if took > SECONDS or peak > BYTES:
            raise MisbehaviourError(
                f"{target.name} took {took:.1f} s and {peak / 2**20:.0f} MB for {len(data)} bytes."
            )

    def _read(self, target: Target, data: bytes) -> float:
        """How many seconds of the processor it took."""
        raised = None
        self._watch.seen, self._watch.watching = [], True
        began = time.process_time()
        try:
            target.read(data)
        except target.refusals:
            pass
        except Exception as error:
            raised = error
        finally:
            took = time.process_time() - began
            self._watch.watching = False
        if raised is not None:
            raise MisbehaviourError(f"{target.name} raised {raised!r:.300}.") from raised
        if done := [seen for seen in self._watch.seen if not seen.startswith(_HARMLESS)]:
            raise MisbehaviourError(f"{target.name} was more than reading: {done}.")
        return took
