"""One key of the state, as its annotation describes it."""

from __future__ import annotations

import collections
import collections.abc
import functools
import operator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, Optional, Required

import pytest

from durable_graph.errors import GraphDefinitionError
from durable_graph.state.channel import Channel, channel_of
from durable_graph.state.messages import add_messages
from durable_graph.types import UNSET


def join(old: Any, new: Any) -> Any:
    return old


class Joiner:
    def __call__(self, old: Any, new: Any) -> Any:
        return old

    def method(self, old: Any, new: Any) -> Any:
        return old


@dataclass
class Note:
    text: str


@pytest.mark.parametrize("annotation", [int, list[int], Any, int | None, Literal["a"], "Forward"])
def test_a_plain_annotation_is_a_key_that_takes_its_last_value(annotation: Any) -> None:
    """Without a reducer a key has no value before the first update."""
    assert channel_of("k", annotation) == Channel("k", annotation)


@pytest.mark.parametrize(
    "reducer",
    [
        join,
        operator.add,
        max,
        add_messages,
        list.__add__,
        Joiner(),
        Joiner().method,
        functools.partial(functools.reduce, max),
        lambda old, new: new,
        lambda old, new, more=1: new,
        lambda *both: both,
        lambda old, *rest: rest,
        lambda old=None, new=None: new,
    ],
)
def test_a_function_of_two_is_a_reducer(reducer: Any) -> None:
    """Anything that can be called with the present value and an update is a reducer."""
    assert channel_of("k", Annotated[Any, reducer]) == Channel("k", Any, reducer)


@pytest.mark.parametrize(
    "wrong", [lambda: 1, lambda one: one, lambda a, b, c: a, functools.partial(join, 1)]
)
def test_another_function_is_refused(wrong: Any) -> None:
    """A function that cannot be called so is a mistake; the error names the key."""
    with pytest.raises(GraphDefinitionError, match=r"reducer of 'k' must take \(current, update\)"):
        channel_of("k", Annotated[list, wrong])


def needy(old: Any, new: Any, *, how: str) -> Any:
    return old


@pytest.mark.parametrize("wrong", [needy, lambda a, b, c, *rest: a])
def test_a_function_that_needs_more_is_refused(wrong: Any) -> None:
    """Nobody supplies a third argument or a keyword, so the first update would fail."""
    with pytest.raises(GraphDefinitionError, match="must take"):
        channel_of("k", Annotated[list, wrong])


@pytest.mark.parametrize(
    ("annotation", "reducer"),
    [
        (Annotated[list, "a note", join], join),
        (Annotated[list, join, "a note"], join),
        (Annotated[list, join, operator.add], operator.add),
        (Annotated[Annotated[list, join], "a note"], join),
        (Required[Annotated[list, join]], join),
        (NotRequired[Annotated[list, join]], join),
        (Annotated[NotRequired[list], join], join),
        (Annotated[list, Note("x")], None),
        (Annotated[list, Note], None),
        (Annotated[list, 7, "x"], None),
    ],
)
def test_the_last_function_in_the_annotation_is_the_reducer(annotation: Any, reducer: Any) -> None:
    """Notes beside it, types and wrappers around it do not matter."""
    channel = channel_of("k", annotation)
    assert channel.reducer is reducer
    assert channel.annotation is list


@pytest.mark.parametrize(
    ("annotation", "initial"),
    [
        (list, []),
        (list[int], []),
        (dict[str, int], {}),
        (set, set()),
        (frozenset, frozenset()),
        (tuple[int, ...], ()),
        (int, 0),
        (float, 0.0),
        (bool, False),
        (str, ""),
        (bytes, b""),
        (collections.abc.Sequence[int], []),
        (collections.abc.MutableSequence, []),
        (collections.abc.Iterable[int], []),
        (collections.abc.Mapping[str, int], {}),
        (collections.abc.MutableMapping, {}),
        (collections.abc.Set[int], set()),
        (collections.deque, collections.deque()),
        (collections.Counter, collections.Counter()),
        (datetime, UNSET),
        (Note, UNSET),
        (int | None, UNSET),
        (Optional[list], UNSET),  # noqa: UP045 - the old spelling
        (Any, UNSET),
        (Literal["a"], UNSET),
    ],
)
def test_what_a_reduced_key_starts_as(annotation: Any, initial: Any) -> None:
    """The empty value of its type; none, if there is no such thing."""
    found = channel_of("k", Annotated[annotation, join]).initial
    assert (type(found), found) == (type(initial), initial)
