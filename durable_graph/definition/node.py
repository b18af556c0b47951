"""A node: a user's function, and what the engine must know to call it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)

from durable_graph.definition.runnable import function_of, is_runnable, name_of_runnable
from durable_graph.errors import GraphDefinitionError
from durable_graph.state.schema import Schema
from durable_graph.types import CachePolicy, Command, RetryPolicy, TimeoutPolicy

if TYPE_CHECKING:
    from durable_graph.definition.graph import GraphDefinition

__all__ = [
    "NOTHING",
    "Branch",
    "Function",
    "Injection",
    "Join",
    "Node",
    "destinations_of",
    "hints_of",
    "injections_of",
    "name_of",
]

Injected: TypeAlias = Literal["config", "runtime", "writer", "store", "error"]
_INJECTED: Final[Mapping[str, Injected]] = {
    "config": "config",
    "runtime": "runtime",
    "writer": "writer",
    "store": "store",
}


class Injection(NamedTuple):
    """A parameter that the engine supplies.

    Attributes:
        parameter: its name.
        what: what it gets.
        needed: whether ``None`` will not do.
    """

    parameter: str
    what: Injected
    needed: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A user's function, examined once.

    Attributes:
        call: the function.
        is_async: whether it must be awaited on the loop; others run in a worker thread.
        injected: the parameters that the engine supplies.
        annotation: the type of its first parameter; ``None`` if it has none.
        takes_state: whether it takes the state as first argument.
    """

    call: Callable[..., Any]
    is_async: bool
    injected: tuple[Injection, ...]
    annotation: Any
    takes_state: bool

    @classmethod
    def of(cls, call: Any, what: str, *, handles: bool = False) -> Function:
        """Examine a function, a callable object, a partial or a runnable of LangChain's.

        Args:
            call: the function.
            what: what it is, for errors.
            handles: whether it is an error handler, which can ask for the `error` as well.

        Raises:
            GraphDefinitionError: it is none of these, or needs arguments nobody supplies.
        """
        if is_runnable(call):
            call = function_of(call)
        if not callable(call):
            raise GraphDefinitionError(f"{what} must be a function or callable, not {call!r}.")
        if inspect.isasyncgenfunction(_bare(call)) or inspect.isgeneratorfunction(_bare(call)):
            raise GraphDefinitionError(
                f"{what} is a generator; return the update, and emit what comes before it with "
                f"the stream writer."
            )
        try:
            parameters = list(inspect.signature(call).parameters.values())
        except (TypeError, ValueError):  # some built-in functions have no signature
            return cls(call, _is_async(call), (), None, takes_state=True)
        hints = hints_of(call)
        injected = []
        state = None
        for index, parameter in enumerate(parameters):
            positional = parameter.kind in (
                parameter.POSITIONAL_ONLY,
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.VAR_POSITIONAL,
            )
            supply = _what_is_injected(call, parameter, hints)
            if handles and supply is None and _is_error(parameter, hints):
                supply = "error"
            if index == 0 and supply == "store" and not _is_marked(hints.get("store"), "store"):
                supply = None  # a state may be called that
            if index == 0 and positional and supply is None:
                state = parameter
            elif supply is not None:
                injected.append(Injection(parameter.name, supply, _needed(parameter, hints)))
            elif parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                raise GraphDefinitionError(
                    f"{what} has a parameter {parameter.name!r} that nothing supplies. A node "
                    f"takes the state and, by name, any of {', '.join(_INJECTED)}; a parameter "
                    f"that is annotated with Runtime may have any name."
                )
        annotation = hints.get(state.name) if state is not None else None
        return cls(call, _is_async(call), tuple(injected), annotation, state is not None)


@dataclass(frozen=True, slots=True)
class Branch:
    """A conditional edge.

    Attributes:
        name: unique among the branches of its node.
        path: the router.
        ends: node by what the router returns; ``None`` if it returns nodes' names.
        input: what the router reads; ``None`` for what its node reads.
    """

    name: str
    path: Function
    ends: Mapping[Any, str] | None
    input: Schema | None


@dataclass(frozen=True, slots=True)
class Join:
    """An edge from several nodes: `target` runs once all of `sources` have."""

    name: str
    sources: tuple[str, ...]
    target: str


class CompiledNode(Protocol):
    """A graph that is a node."""

    @property
    def definition(self) -> GraphDefinition:
        """The graph."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with everything that leaves it.

    Attributes:
        name: its name.
        function: what it runs; for the start, what must not be run.
        input: what it reads.
        graph: the graph it runs, if it is one.
        retry: policies; the first whose `retry_on` matches an error decides.
        timeout: how long one attempt may take, if there is a limit.
        cache: when its result may be one that was kept, if ever.
        handler: what runs in its place once it has failed for good, if anything does.
        defer: whether it waits until nothing else is due.
        metadata: the user's, shown in events.
        destinations: nodes that its commands may go to, as far as it says so, each with what is
            written at the edge; ``None`` if it does not say.
        targets: nodes behind its plain edges.
        branches: its conditional edges.
        joins: the joins it is a source of.
    """

    name: str
    function: Function
    input: Schema
    graph: CompiledNode | None = None
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    cache: CachePolicy | None = None
    handler: Node | None = None
    defer: bool = False
    metadata: Mapping[str, Any] | None = None
    destinations: Mapping[str, str | None] | None = None
    targets: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()
    joins: tuple[Join, ...] = ()


def _no_function(state: Any) -> None:
    raise AssertionError("The start is no node that runs.")


NOTHING: Final = Function(
    _no_function, is_async=False, injected=(), annotation=None, takes_state=True
)
"""The function of the start."""


def name_of(call: Any) -> str | None:
    """The name that a function gives to its node; ``None`` if it has none to give."""
    bare = _bare(call)
    if is_runnable(bare):
        return name_of_runnable(bare)
    if not callable(bare):
        return None
    name = getattr(bare, "__name__", None) or type(bare).__name__
    return None if name == "<lambda>" else name


def destinations_of(call: Any) -> tuple[Any, ...] | None:
    """What ``-> Literal[...]`` or ``-> Command[Literal[...]]`` says about where it goes."""
    found: list[Any] = []
    for part in _flatten(hints_of(call).get("return")):
        if get_origin(part) is Literal:
            found.extend(get_args(part))
        elif get_origin(part) is Command:
            for inner in get_args(part):
                if get_origin(inner) is Literal:
                    found.extend(get_args(inner))
    return tuple(found) or None


def _flatten(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is not None and origin not in (Literal, Command):
        return [piece for argument in get_args(annotation) for piece in _flatten(argument)]
    return [annotation]


def injections_of(call: Any) -> tuple[Injection, ...]:
    """The parameters of a function that the engine supplies where its caller does not."""
    hints = hints_of(call)
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return ()
    found = ((p, _what_is_injected(call, p, hints)) for p in parameters)
    return tuple(Injection(p.name, what, _needed(p, hints)) for p, what in found if what)


def _what_is_injected(
    call: Any, parameter: inspect.Parameter, hints: Mapping[str, Any]
) -> Injected | None:
    """What a parameter gets: by its name, or because its type says so of itself."""
    if parameter.name in _INJECTED:
        return _INJECTED[parameter.name]
    annotation = hints.get(parameter.name)
    if annotation is None and isinstance(parameter.annotation, str):
        # What a generic is of may be local to a function, and so out of sight; it is not needed.
        name = parameter.annotation.partition("[")[0]
        annotation = getattr(_code(call), "__globals__", {}).get(name)
    return "runtime" if _is_marked(annotation, "runtime") else None


def _is_marked(annotation: Any, what: Injected) -> bool:
    """Whether a type, or one of a union, says that it is for what the engine supplies."""
    if get_origin(annotation) in (Union, UnionType):
        return any(_is_marked(part, what) for part in get_args(annotation))
    return getattr(get_origin(annotation) or annotation, "__injected__", None) == what


def _is_error(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    return parameter.name == "error" or _is_marked(hints.get(parameter.name), "error")


def _needed(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    annotation = hints.get(parameter.name)
    optional = get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation)
    return parameter.default is parameter.empty and not optional


def _bare(call: Any) -> Any:
    while isinstance(call, functools.partial):
        call = call.func
    return call


def _is_async(call: Any) -> bool:
    bare = _bare(call)
    return inspect.iscoroutinefunction(bare) or (
        not inspect.isroutine(bare) and inspect.iscoroutinefunction(type(bare).__call__)
    )


def _code(call: Any) -> Any:
    """What has the annotations of a function, or of an object that is called like one."""
    bare = _bare(call)
    return bare if inspect.isroutine(bare) or isinstance(bare, type) else type(bare).__call__


def hints_of(call: Any) -> dict[str, Any]:
    try:
        return inspect.get_annotations(_code(call), eval_str=True)
    except Exception:  # an annotation that cannot be resolved says nothing
        return {}
