"""The functional API: functions whose results are kept, and a function as a graph."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from durable_graph.cache import BaseCache
from durable_graph.decisions.keeping import task_namespace
from durable_graph.decisions.results import Written
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import (
    NOTHING,
    Function,
    Injection,
    Node,
    hints_of,
    injections_of,
    name_of,
)
from durable_graph.definition.policies import NodePolicies, cache_of, retries_of, timeout_of
from durable_graph.engine.runs.call import Policies
from durable_graph.engine.tasks.context import current_task
from durable_graph.engine.tasks.future import StepFuture
from durable_graph.engine.tasks.steps import Call, Reconcile, make_call
from durable_graph.errors import CacheWarning, GraphDefinitionError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.graph.config import check_atomic
from durable_graph.saver import Saver
from durable_graph.state.channel import PREVIOUS, VALUE, Channel
from durable_graph.state.schema import Schema
from durable_graph.store import BaseStore
from durable_graph.types import START, CachePolicy, RetryPolicy, TimeoutPolicy

__all__ = ["TaskFunction", "entrypoint", "task"]

P = ParamSpec("P")
T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - the input
R = TypeVar("R")
S = TypeVar("S")


class TaskFunction(Generic[P, T]):
    """A function whose results are kept; made by `task`.

    Calling it within a node or an entrypoint starts it and gives a `StepFuture`.

    Attributes:
        func: the function.
        name: its name.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        name: str,
        *,
        retry: tuple[RetryPolicy, ...],
        timeout: TimeoutPolicy | None,
        cache: CachePolicy | None,
        idempotent: bool,
        reconcile: Reconcile | None,
    ) -> None:
        functools.update_wrapper(self, func)
        self.func = func
        self.name = name
        self._retry = retry
        self._timeout = timeout
        self._cache = cache
        self._idempotent = idempotent
        self._reconcile = reconcile
        self._injected = injections_of(func)

    def __repr__(self) -> str:
        return f"<task {self.name!r}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StepFuture[T]:
        call = Call(
            "task",
            self.name,
            self.func,
            args,
            kwargs,
            idempotent=self._idempotent,
            reconcile=self._reconcile,
            retry=self._retry,
            timeout=self._timeout,
            cache=self._cache,
            injected=self._missing(args, kwargs),
        )
        return make_call(call, f"Task {self.name!r}")

    async def aclear_cache(self, cache: BaseCache) -> None:
        """Forget what a cache keeps of it."""
        await cache.aclear([task_namespace(self.name, self.func)])

    def clear_cache(self, cache: BaseCache) -> None:
        """See `aclear_cache`."""
        cache.clear([task_namespace(self.name, self.func)])

    def _missing(self, args: Any, kwargs: Any) -> tuple[Injection, ...]:
        if not self._injected:
            return ()
        given = inspect.signature(self.func).bind_partial(*args, **kwargs).arguments
        return tuple(entry for entry in self._injected if entry.parameter not in given)


@overload
def task(fn: Callable[P, Awaitable[T]], /) -> TaskFunction[P, T]: ...


@overload
def task(fn: Callable[P, T], /) -> TaskFunction[P, T]: ...


@overload
def task(
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: float | timedelta | TimeoutPolicy | None = None,
    idempotent: bool = True,
    reconcile: Reconcile | None = None,
) -> _Decorator: ...


def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: float | timedelta | TimeoutPolicy | None = None,
    idempotent: bool = True,
    reconcile: Reconcile | None = None,
) -> Any:
    """Make a function one whose results are kept: ``@task`` or ``@task(...)``.

    Within a node or an entrypoint, calling it starts it at once; ``await`` what the call gives, or
    call its `result()` in synchronous code. When the node runs again, calls with the same
    arguments get their results from the log, whatever is called before or between them; several
    equal calls get theirs in order. Tasks can call tasks, and ask with `interrupt`.

    Args:
        fn: the function, sync or async; a sync one runs in a thread.
        name: its name; by default the function's. Stored results belong to it.
        retry_policy: when to try again.
        cache_policy: when its result may be one that the cache of the graph that calls it has
            kept for the same arguments, from whatever thread and graph.
        timeout: how long one attempt may take: seconds, a timedelta or a `TimeoutPolicy`.
        idempotent: whether it may run again if a crash has left its outcome unknown. If not, each
            call is claimed before it begins, and `reconcile` is asked; see `step`.
        reconcile: see `step`.

    Raises:
        GraphDefinitionError: it has no name, is a generator, or a policy cannot work.
    """

    def make(func: Callable[..., Any]) -> TaskFunction[..., Any]:
        given = name or name_of(func)
        if given is None:
            raise GraphDefinitionError(f"{func!r} has no name: @task(name=...).")
        bare = inspect.unwrap(func)
        if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare):
            raise GraphDefinitionError(
                f"Task {given!r} is a generator; return the result, and emit what comes before it "
                f"with the stream writer."
            )
        who = f"task {given!r}"
        return TaskFunction(
            func,
            given,
            retry=() if retry_policy is None else retries_of(retry_policy, who),
            timeout=None if timeout is None else timeout_of(timeout, who),
            cache=None if cache_policy is None else cache_of(cache_policy, who),
            idempotent=idempotent,
            reconcile=reconcile,
        )

    return make if fn is None else make(fn)


class _Decorator(Protocol):
    """What ``task(...)`` gives."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> TaskFunction[P, T]: ...

    @overload
    def __call__(self, fn: Callable[P, T], /) -> TaskFunction[P, T]: ...


class entrypoint:  # noqa: N801 - a decorator
    """Make a function a graph: ``@entrypoint(checkpointer=...)``.

    The function takes its input as first argument, whatever that is, and what it returns is the
    result. It is called like any graph: `ainvoke`, `astream`, `aget_state`, `Command(resume=...)`,
    and so on. When a run goes on it runs again from its first line: what it did through tasks and
    steps is not done again.

    Besides the input it may take, by name, `previous`: what the last run of the thread saved, which
    is what it returned or ``entrypoint.final(value=..., save=...)`` said; ``None`` in the first.
    And it may take what nodes may take.

    Args:
        checkpointer: where threads are stored; without one, nothing is. Of one that is called
            within a graph also True or False; see `StateGraph.compile`.
        store: what the function gets as its store.
        cache: where its results are kept, if it has a `cache_policy`.
        context_schema: the type of the context that a call brings.
        cache_policy: when a result may be one that the cache has kept, so that the function is not
            run; what it saved is kept along with it. The input is the key, and not `previous`.
        retry_policy: when to run the function again after it failed.
        timeout: how long one attempt may take: seconds, a timedelta or a `TimeoutPolicy`.

    Raises:
        TypeError: the checkpointer is no saver, or the store or cache is none.
    """

    @dataclass(frozen=True)  # see `Command` for why without slots
    class final(Generic[R, S]):  # noqa: N801 - it stands where a function returns
        """A result, and what the next run of the thread gets as `previous`.

        Attributes:
            value: what the call returns.
            save: what is saved.
        """

        value: R
        save: S

    def __init__(
        self,
        checkpointer: Saver | bool | None = None,
        store: BaseStore | None = None,
        cache: BaseCache | None = None,
        *,
        context_schema: Any = None,
        cache_policy: CachePolicy | None = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: float | timedelta | TimeoutPolicy | None = None,
    ) -> None:
        if checkpointer is not None and not isinstance(checkpointer, (Saver, bool)):
            hint = " Write @entrypoint()." if callable(checkpointer) else ""
            raise TypeError(
                f"The checkpointer is a saver such as InMemorySaver() or SqliteSaver('state.db'), "
                f"not {checkpointer!r}.{hint}"
            )
        self._checkpointer = checkpointer
        if store is not None and not isinstance(store, BaseStore):
            raise TypeError(f"The store is one such as InMemoryStore(), not {store!r}.")
        check_atomic(checkpointer, store)
        if cache is not None and not isinstance(cache, BaseCache):
            raise TypeError(f"The cache is one such as InMemoryCache(), not {cache!r}.")
        if cache_policy is not None and cache is None:
            warnings.warn(
                "The entrypoint has a cache_policy and no cache, so nothing is kept: "
                "entrypoint(cache=InMemoryCache(), ...).",
                CacheWarning,
                stacklevel=2,
            )
        self._store = store
        self._cache = cache
        self._cache_policy = cache_policy
        self._context = context_schema
        self._retry = retry_policy
        self._timeout = timeout

    @overload
    def __call__(
        self, func: Callable[Concatenate[I, ...], Awaitable[entrypoint.final[R, Any]]], /
    ) -> CompiledGraph[R, Any, I, R]: ...

    @overload
    def __call__(
        self, func: Callable[Concatenate[I, ...], entrypoint.final[R, Any]], /
    ) -> CompiledGraph[R, Any, I, R]: ...

    @overload
    def __call__(
        self, func: Callable[Concatenate[I, ...], Awaitable[R]], /
    ) -> CompiledGraph[R, Any, I, R]: ...

    @overload
    def __call__(
        self, func: Callable[Concatenate[I, ...], R], /
    ) -> CompiledGraph[R, Any, I, R]: ...

    def __call__(self, func: Callable[..., Any], /) -> CompiledGraph[Any, Any, Any, Any]:
        """The function as a graph.

        Raises:
            GraphDefinitionError: it takes no input, something that nobody supplies, or is a
                generator.
        """
        name = name_of(func)
        if name is None:
            raise GraphDefinitionError(f"{func!r} has no name to call the graph by.")
        function = _examined(func, name)
        value, saved = _results(func)
        channels = {VALUE: Channel(VALUE, value), PREVIOUS: Channel(PREVIOUS, saved)}
        state = Schema(object, channels, plain=False, key=VALUE)
        given = Schema(function.annotation or object, {}, plain=False, key=VALUE)
        policies = NodePolicies.of(
            f"entrypoint {name!r}",
            retry_policy=self._retry,
            timeout=self._timeout,
            cache_policy=self._cache_policy,
        )
        node = Node(
            name,
            function,
            given,
            retry=policies.retry or (),
            timeout=policies.timeout,
            cache=policies.cache,
        )
        definition = GraphDefinition.of(
            name=name,
            nodes={name: node},
            start=Node(START, NOTHING, state),
            state=state,
            input=given,
            output=Schema(object, {VALUE: channels[VALUE]}, plain=False, key=VALUE),
            strict=False,
            context=self._context,
            entry=name,
        )
        graph: CompiledGraph[Any, Any, Any, Any] = CompiledGraph(
            definition,
            self._checkpointer,
            store=self._store,
            policies=Policies(cache=self._cache),
        )
        graph.__doc__ = func.__doc__
        return graph


def _examined(func: Callable[..., Any], name: str) -> Function:
    """The function as a node that writes what it returns, and what it saves."""
    previous = "previous" in inspect.signature(func).parameters
    # Hidden from the examination: what nobody else takes.
    shown = functools.partial(func, previous=None) if previous else func
    function = Function.of(shown, f"The entrypoint {name!r}")
    if not function.takes_state:
        raise GraphDefinitionError(
            f"The entrypoint {name!r} takes no input; its first parameter is what it is called "
            f"with."
        )

    def call(value: Any, injected: dict[str, Any]) -> Any:
        if previous:
            injected["previous"] = current_task.get().host.previous
        return func(value, **injected)

    async def run(value: Any, **injected: Any) -> Written:
        return _written(await call(value, injected))

    def run_in_thread(value: Any, **injected: Any) -> Any:
        returned = call(value, injected)
        return _awaited(returned) if inspect.isawaitable(returned) else _written(returned)

    body: Callable[..., Any] = run if function.is_async else run_in_thread
    # A cache tells the results of functions apart by these.
    body.__module__, body.__qualname__ = func.__module__, getattr(func, "__qualname__", name)
    return Function(
        body, function.is_async, function.injected, function.annotation, takes_state=True
    )


async def _awaited(returned: Awaitable[Any]) -> Written:
    return _written(await returned)


def _written(returned: Any) -> Written:
    if isinstance(returned, entrypoint.final):
        return Written({VALUE: returned.value, PREVIOUS: returned.save})
    return Written({VALUE: returned, PREVIOUS: returned})


def _results(func: Callable[..., Any]) -> tuple[Any, Any]:
    """The types of what it returns and what it saves, as far as it says so."""
    annotation = hints_of(func).get("return", Any)
    if get_origin(annotation) is entrypoint.final:
        value, saved = get_args(annotation)
        return value, saved
    return annotation, annotation
