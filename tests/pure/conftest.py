"""How many examples the laws are tried on: the same few every time, or many new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Measured against the clock of a shared machine, a deadline or "too slow" says nothing.
settings.register_profile(
    "default",
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "torture",
    settings.get_profile("default"),
    max_examples=2_000,
    derandomize=False,
    print_blob=True,
)
settings.load_profile("torture" if os.environ.get("DURABLE_GRAPH_TORTURE") else "default")
