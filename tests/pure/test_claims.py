"""Results that exclude each other, told as each comes."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.channels import AnyValue
from durable_graph.decisions.advance import changes
from durable_graph.decisions.claims import Claims
from durable_graph.decisions.reduce import Reducers
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.records import Outcome
from durable_graph.types import Overwrite
from tests.pure.definitions import define, freezer_of, schema_of

_LISTS = st.lists(st.integers(0, 9), max_size=2)
_UPDATES = st.fixed_dictionaries(
    {},
    optional={
        "one": st.integers(0, 9),
        "other": st.integers(0, 9) | st.integers(0, 9).map(Overwrite),
        "any": st.integers(0, 9),
        "all": _LISTS | _LISTS.map(Overwrite),
    },
)


@given(st.permutations(range(5)), st.lists(_UPDATES, min_size=5, max_size=5))
def test_rivals_are_those_it_cannot_be_taken_with(
    order: list[int], updates: list[dict[str, Any]]
) -> None:
    """In whatever order results come: those that stay can be taken all together."""
    schema = schema_of(
        one=int, other=int, any=Annotated[int, AnyValue()], all=Annotated[list, operator.add]
    )
    definition = define(schema=schema)
    freezer = freezer_of(definition)
    came = [Outcome(index, [freezer.update("n", updates[index], {})]) for index in order]
    claims, stay = Claims(definition.channels), list[Outcome]()

    def take(outcomes: list[Outcome]) -> None:
        ordered = sorted(outcomes, key=lambda outcome: outcome.index)
        changes(definition, Reducers(freezer), {}, [("n", outcome) for outcome in ordered])

    for outcome in came:
        rivals = claims.rivals(outcome)
        for known in stay:
            if known.index not in rivals:
                take([known, outcome])
                continue
            with pytest.raises(InvalidUpdateError) as caught:
                take([known, outcome])
            assert caught.value.tasks == {known.index, outcome.index}
        if not rivals:
            claims.add(outcome)
            stay.append(outcome)
    take(stay)
