"""What can go wrong between a process and its storage, and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

__all__ = ["CALM", "Faults"]


@dataclass(frozen=True, slots=True)
class Faults:
    """What befalls the calls of a simulated storage system. The default: a bad day.

    Attributes:
        delay: seconds that a call takes at least and at most, there and back.
        slow: how many of the calls take long.
        slow_delay: seconds that those take at least and at most.
        busy: how many fail with `StorageBusyError`, having done nothing.
        broken: how many fail with another `StorageError`, having done nothing.
        lost: how many take effect, but their answer does not arrive: `OutcomeUnknownError` for
            one that writes.
        late: how many writes are given up on with `OutcomeUnknownError`, and take effect later,
            or never.
        again: how many writes arrive once more, later. A storage system that holds to the port
            takes no notice.
        lateness: seconds after which what is late arrives, at most.
    """

    delay: tuple[float, float] = (0.0002, 0.02)
    slow: float = 0.03
    slow_delay: tuple[float, float] = (0.1, 8.0)
    busy: float = 0.01
    broken: float = 0.005
    lost: float = 0.02
    late: float = 0.01
    again: float = 0.03
    lateness: float = 30.0

    def wait(self, numbers: random.Random) -> float:
        """How long one way of a call takes, in seconds."""
        if self.slow and numbers.random() < self.slow:
            return numbers.uniform(*self.slow_delay)
        return numbers.uniform(*self.delay) / 2


CALM: Final = Faults((0.0, 0.0), 0.0, (0.0, 0.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Nothing goes wrong, and nothing takes time."""
