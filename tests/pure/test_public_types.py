"""The public data types, as users write them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any, Literal

import pytest

from durable_graph import Command, entrypoint
from durable_graph.types import GraphOutput

MADE: dict[str, tuple[Any, Any]] = {
    "Command": (Command[Literal["next"]](goto="next"), Command(goto="next")),
    "GraphOutput": (GraphOutput[dict[str, int]]({"n": 1}), GraphOutput({"n": 1})),
    "entrypoint.final": (
        entrypoint.final[int, str](value=1, save="s"),
        entrypoint.final(value=1, save="s"),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_a_generic_one_is_made_with_or_without_its_parameter(name: str) -> None:
    """Both are the same value, which nobody can change."""
    with_parameter, without = MADE[name]
    assert with_parameter == without
    assert repr(with_parameter) == repr(without)
    with pytest.raises(FrozenInstanceError):
        with_parameter.value = 2
