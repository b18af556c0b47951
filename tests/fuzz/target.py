"""What is fuzzed: functions that read bytes which anybody may have written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A function that reads what may be hostile, and how it may refuse it.

    Attributes:
        name: what it is called on the command line.
        read: reads the bytes, or raises.
        refusals: what it may raise; everything else is a fault.
        seeds: inputs to begin with, most of them good ones, so that mutations get far.
    """

    name: str
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Sequence[bytes]
