"""A pytest plugin for those who test graphs; pytest loads it by itself where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from durable_graph import InMemorySaver
    from durable_graph.testing import EffectLog, FakeClock, ScriptedModel

__all__ = ["durable_clock", "durable_effects", "durable_model", "durable_saver"]


@pytest.fixture
def durable_clock() -> FakeClock:
    """A clock that the test turns: ``await durable_clock.advance(seconds)``."""
    from durable_graph.testing import FakeClock

    return FakeClock()


@pytest.fixture
def durable_saver(durable_clock: FakeClock) -> InMemorySaver:
    """A saver in memory, for which time passes on `durable_clock`."""
    from durable_graph import InMemorySaver

    return InMemorySaver(clock=durable_clock)


@pytest.fixture
def durable_effects() -> EffectLog:
    """A service for nodes to call, which remembers its calls. See `EffectLog`."""
    from durable_graph.testing import EffectLog

    return EffectLog()


@pytest.fixture
def durable_model() -> Iterator[Callable[..., ScriptedModel]]:
    """Makes chat models that follow a script, ``durable_model("Hello", by="call")``, and fails
    the test if some line was not said. See `ScriptedModel`."""
    from durable_graph.testing import ScriptedModel

    made: list[ScriptedModel] = []

    def make(*script: object, **options: object) -> ScriptedModel:
        made.append(ScriptedModel(*script, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for model in made:
        model.check()
