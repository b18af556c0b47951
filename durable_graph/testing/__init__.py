"""For testing graphs and backends: a clock that is turned by hand, a backend that dies, and the
storage port's contract."""

from durable_graph.testing.clock import FakeClock
from durable_graph.testing.contract import CHECKS, Check, Storage, check_backend
from durable_graph.testing.crash import Crash, CrashingBackend

__all__ = [
    "CHECKS",
    "Check",
    "Crash",
    "CrashingBackend",
    "FakeClock",
    "Storage",
    "check_backend",
]
