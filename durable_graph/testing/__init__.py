"""For testing graphs and backends: a clock that is turned by hand, models that follow a script,
crashes wherever a process can die, and the storage port's contract.

pytest finds the fixtures of `durable_graph.testing.plugin` by itself.
"""

from durable_graph.testing.clock import FakeClock
from durable_graph.testing.contract import CHECKS, Check, Storage, check_backend
from durable_graph.testing.contract_hooks import Line, Raw
from durable_graph.testing.crash import Crash, CrashingBackend
from durable_graph.testing.effects import Effect, EffectLog
from durable_graph.testing.models import ScriptedModel, ScriptExhaustedError
from durable_graph.testing.store_contract import (
    STORE_CHECKS,
    StoreCheck,
    StoreStorage,
    check_store,
)
from durable_graph.testing.sweep import CrashPoint, CrashSweepError, Sweep, crash_sweep

__all__ = [
    "CHECKS",
    "STORE_CHECKS",
    "Check",
    "Crash",
    "CrashPoint",
    "CrashSweepError",
    "CrashingBackend",
    "Effect",
    "EffectLog",
    "FakeClock",
    "Line",
    "Raw",
    "ScriptExhaustedError",
    "ScriptedModel",
    "Storage",
    "StoreCheck",
    "StoreStorage",
    "Sweep",
    "check_backend",
    "check_store",
    "crash_sweep",
]
