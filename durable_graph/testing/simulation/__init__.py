"""Deterministic simulation of graphs that run on several processes over failing storage."""

from durable_graph.testing.simulation.backend import SimulatedBackend
from durable_graph.testing.simulation.faults import CALM, Faults
from durable_graph.testing.simulation.loop import (
    DeadlockError,
    LivelockError,
    SimulationError,
    VirtualLoop,
)
from durable_graph.testing.simulation.simulate import (
    Simulation,
    Worker,
    WorkerCrashedError,
    simulate,
)
from durable_graph.testing.simulation.storage import SimulatedStorage

__all__ = [
    "CALM",
    "DeadlockError",
    "Faults",
    "LivelockError",
    "SimulatedBackend",
    "SimulatedStorage",
    "Simulation",
    "SimulationError",
    "VirtualLoop",
    "Worker",
    "WorkerCrashedError",
    "simulate",
]
