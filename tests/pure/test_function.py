"""What the engine must know of a user's function to call it."""

from __future__ import annotations

import functools
from typing import Any, Literal, TypedDict

import pytest

from durable_graph import Command, Runtime
from durable_graph.definition.node import Function, Injection, destinations_of, name_of
from durable_graph.errors import GraphDefinitionError
from durable_graph.store import BaseStore


class State(TypedDict):
    a: int


async def node(state: State) -> None:
    pass


def plain(state: Any) -> None:
    pass


class Awaitable:
    async def __call__(self, state: State, runtime: Any) -> None:
        pass


class Sync:
    def __call__(self, state: State) -> None:
        pass

    async def method(self, state: State) -> None:
        pass


async def with_more(state: State, extra: int, config: Any = None) -> None:
    pass


@pytest.mark.parametrize(
    ("call", "is_async", "injected", "annotation"),
    [
        (node, True, (), State),
        (plain, False, (), Any),
        (lambda state: None, False, (), None),
        (Awaitable(), True, ("runtime",), State),
        (Sync(), False, (), State),
        (Sync().method, True, (), State),
        (functools.partial(with_more, extra=1), True, ("config",), State),
        (functools.partial(functools.partial(plain)), False, (), Any),
        (len, False, (), None),
        (dict, False, (), None),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_function_is_examined_once(
    call: Any, is_async: bool, injected: Any, annotation: Any
) -> None:
    """Whether it is awaited, what it is given by name, and what it reads."""
    function = Function.of(call, "Node 'n'")
    assert (function.is_async, _names(function)) == (is_async, injected)
    assert function.annotation in (annotation, None if annotation is Any else annotation)
    assert function.takes_state


def _names(function: Function) -> tuple[str, ...]:
    return tuple(injection.parameter for injection in function.injected)


class Called:
    async def __call__(self, state: Any, rt: Runtime[Missing]) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass


class Own:
    """What a runtime may be of."""


def test_what_is_annotated_with_runtime_may_have_any_name() -> None:
    """Also in first place, with a type that only the function's own scope knows, and in text."""

    class Local:
        pass

    async def anywhere(state: Any, rt: Runtime[Own]) -> None:
        pass

    async def first(rt: Runtime[Local], writer: Any) -> None:
        pass

    def optional(state: Any, rt: Runtime[Own] | None = None) -> None:
        pass

    assert Function.of(anywhere, "n").injected == (Injection("rt", "runtime", needed=True),)
    assert _names(Function.of(first, "n")) == ("rt", "writer")
    assert not Function.of(first, "n").takes_state
    assert Function.of(optional, "n").injected == (Injection("rt", "runtime", needed=False),)
    assert _names(Function.of(Called(), "n")) == ("rt",)


def test_a_state_may_be_called_store() -> None:
    """In first place that name alone says nothing; a store's type does."""

    def state(store: dict[str, Any]) -> None:
        pass

    def one(store: BaseStore) -> None:
        pass

    def other(state: Any, store: BaseStore | None) -> None:
        pass

    def third(state: Any, store: Any = None) -> None:
        pass

    assert (Function.of(state, "n").injected, Function.of(state, "n").takes_state) == ((), True)
    assert Function.of(one, "n").injected == (Injection("store", "store", needed=True),)
    assert Function.of(other, "n").injected == (Injection("store", "store", needed=False),)
    assert Function.of(third, "n").injected == (Injection("store", "store", needed=False),)


def test_the_first_parameter_is_the_state() -> None:
    """Unless it is one of the names that are supplied; then there is none."""

    async def only(config: Any, *, writer: Any) -> None:
        pass

    async def nothing() -> None:
        pass

    async def all_(
        s: Any, config: Any, runtime: Any, writer: Any, more: int = 1, **rest: Any
    ) -> None:
        pass

    assert _names(Function.of(only, "n")) == ("config", "writer")
    assert not Function.of(only, "n").takes_state
    assert not Function.of(nothing, "n").takes_state
    assert _names(Function.of(all_, "n")) == ("config", "runtime", "writer")
    assert Function.of(all_, "n").takes_state
    assert Function.of(lambda *state: None, "n").takes_state


def _generator(state: Any) -> Any:
    yield


async def _async_generator(state: Any) -> Any:
    yield


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (7, "The thing must be a function or callable, not 7"),
        (None, "The thing must be a function or callable, not None"),
        (_generator, "The thing is a generator"),
        (_async_generator, "The thing is a generator"),
        (functools.partial(_async_generator), "The thing is a generator"),
        (with_more, "The thing has a parameter 'extra' that nothing supplies"),
        (lambda state, *, needed: None, "The thing has a parameter 'needed'"),
        (lambda *, state: None, "The thing has a parameter 'state'"),
    ],
)
def test_what_cannot_be_called_is_refused(call: Any, message: str) -> None:
    """The error says what it was for and what is wrong."""
    with pytest.raises(GraphDefinitionError, match=message):
        Function.of(call, "The thing")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (node, "node"),
        (functools.partial(node), "node"),
        (Awaitable(), "Awaitable"),
        (Sync().method, "method"),
        (lambda: None, None),
        (7, None),
    ],
)
def test_a_function_names_its_node(call: Any, name: str | None) -> None:
    """Its own name, that of what a partial wraps, or its class's."""
    assert name_of(call) == name


def to_one(state: Any) -> Literal["a"]:
    return "a"


def to_several(state: Any) -> list[Literal["a", "b"]] | Literal["c"]:
    return "c"


def by_command(state: Any) -> Command[Literal["a", "b"]] | None:
    return None


def unresolved(state: Any) -> Missing:  # type: ignore[name-defined]  # noqa: F821
    return None


@pytest.mark.parametrize(
    ("call", "destinations"),
    [
        (to_one, ("a",)),
        (to_several, ("a", "b", "c")),
        (by_command, ("a", "b")),
        (functools.partial(to_one), ("a",)),
        (plain, None),
        (lambda state: "a", None),
        (unresolved, None),
    ],
)
def test_a_return_annotation_says_where_a_function_leads(call: Any, destinations: Any) -> None:
    """``Literal`` names destinations, alone, in lists, unions and commands."""
    assert destinations_of(call) == destinations
