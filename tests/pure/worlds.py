"""Random graphs whose nodes end in a drawn order, and what is needed to run and compare them.

A world is drawn as stages, one behind the other: single nodes, fan-outs, sends, loops, branches
of unequal length that meet in a join, commands, questions, nodes that fail once, and graphs
within. What a node writes depends on everything it saw, so a difference anywhere shows in all
that follows.
"""

from __future__ import annotations

import asyncio
import itertools
import operator
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, get_args

from hypothesis import strategies as st

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.channels import AnyValue, BaseChannel, Topic
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.state.messages import Message, add_messages
from durable_graph.types import RunnableConfig, StateSnapshot
from tests.pure.definitions import schema_of
from tests.pure.values import form

__all__ = ["FlakyError", "Order", "Spec", "Stage", "World", "branch", "drive", "specs", "thread"]

PADDING = "and to make it long enough for a change to be worth finding: " * 2
LARGE = "a text that is stored by its content; " * 120


class FlakyError(Exception):
    """What a node fails with the first time."""


class Order:
    """Lets nodes that wait go on one at a time, in an order that a seed decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._waiting: list[asyncio.Future[None]] = []

    async def turn(self) -> None:
        """Wait for one's turn. Whoever arrives lets somebody go, a turn of the loop later."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        loop.call_soon(loop.call_soon, self._let_one_go)
        await mine

    def _let_one_go(self) -> None:
        chosen = self._waiting.pop(self._random.randrange(len(self._waiting)))
        if not chosen.done():
            chosen.set_result(None)


def last_five(old: list[Any], new: list[Any]) -> list[Any]:
    return (old + new)[-5:]


def in_front(old: list[Any], new: list[Any]) -> list[Any]:
    return new + old


def counts(old: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    return {**old, **{name: old.get(name, 0) + number for name, number in new.items()}}


Update: TypeAlias = Callable[[str, int, Any], Any]

# How a key is reduced, or of which kind it is; and what node `name`, which saw a state with this
# mark, writes to it.
CHANNELS: dict[str, tuple[Any, Callable[[Any, Any], Any] | BaseChannel, Update]] = {
    "log": (list, operator.add, lambda name, mark, old: [f"{name} saw {mark} {PADDING}"]),
    "total": (int, operator.add, lambda name, mark, old: mark % 7 - 3),
    "table": (dict, operator.or_, lambda name, mark, old: {f"{name}{mark % 3}": [mark, PADDING]}),
    "tags": (set, operator.or_, lambda name, mark, old: {(name, mark % 4)}),
    "recent": (list, last_five, lambda name, mark, old: [f"{name} {mark} {PADDING}"] * (mark % 3)),
    "front": (list, in_front, lambda name, mark, old: [mark]),
    "pages": (list, operator.add, lambda name, mark, old: [f"{mark % 3} {LARGE}"] * (mark % 2)),
    "messages": (
        list,
        add_messages,
        lambda name, mark, old: [Message("ai", f"{mark} {PADDING}", id=f"{name} {mark % 2}")],
    ),
    "talk": (
        list,
        add_messages,
        lambda name, mark, old: [*(old or []), Message("ai", PADDING, id=f"{name} {mark}")],
    ),
    "largest": (int, max, lambda name, mark, old: mark),
    "topic": (list, Topic(str), lambda name, mark, old: [f"{name} {mark} {PADDING}"] * (mark % 3)),
    "gossip": (list, Topic(accumulate=True), lambda name, mark, old: f"{name} {mark}"),
    "passing": (Any, AnyValue(), lambda name, mark, old: [name, *(old or [])][: mark % 5]),
}

FADING = {"topic", "passing"}
"""The keys among them that start anew in each superstep."""


def own_document(name: str, mark: int, old: Any) -> Any:
    """A node's own key, without a reducer: rewritten each time, mostly as it was."""
    pages = dict(old) if isinstance(old, dict) else {f"page {n}": PADDING for n in range(6)}
    match mark % 6:
        case 0:
            pages[f"page {mark}"] = LARGE
        case 1:
            pages.pop("page 0", None)
        case 2:
            return [*pages, mark]
        case 3:
            return None
    pages["page 1"] = mark
    return pages


Kind = Literal["node", "fan", "uneven", "sends", "loop", "ask", "command", "flaky", "graph"]


@dataclass(frozen=True)
class Stage:
    """A part of a graph: what it is, how wide or long, and whether its ends meet in a join."""

    kind: Kind
    size: int
    join: bool


@dataclass(frozen=True)
class Spec:
    """A graph to be made."""

    stages: tuple[Stage, ...]
    keys: tuple[str, ...]


specs: st.SearchStrategy[Spec] = st.builds(
    Spec,
    st.lists(
        st.builds(
            Stage,
            st.sampled_from(get_args(Kind)),
            st.integers(2, 4),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
    st.lists(st.sampled_from(sorted(CHANNELS)), min_size=2, max_size=5, unique=True).map(tuple),
)


@dataclass
class World:
    """A drawn graph, and what has to be remembered while it runs."""

    spec: Spec
    seed: int
    failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.order = Order(self.seed)
        self._names: list[str] = []

    def compile(self, saver: Saver) -> CompiledGraph:
        """The graph, over a saver."""
        self._names = []
        annotations: dict[str, Any] = {"turns": Annotated[dict, counts]}
        for key in self.spec.keys:
            type_, reducer, _ = CHANNELS[key]
            annotations[key] = Annotated[type_, reducer]
        for number, stage in enumerate(self.spec.stages):
            for letter in "abcde":
                annotations[f"of_{stage.kind}{number}{letter}"] = Any
        self._annotations = annotations
        graph = StateGraph(schema_of(**annotations))
        ends, join = [START], False
        for number, stage in enumerate(self.spec.stages):
            begins, next_ends = self._add(graph, f"{stage.kind}{number}", stage)
            for begin in begins:
                if join and len(ends) > 1:
                    graph.add_edge(ends, begin)
                else:
                    for end in ends:
                        graph.add_edge(end, begin)
            ends, join = next_ends, stage.join or stage.kind == "uneven"
        return graph.compile(saver)

    def _add(self, graph: StateGraph, name: str, stage: Stage) -> tuple[list[str], list[str]]:
        """Add a stage; returns where it begins and where it ends."""
        letters = [f"{name}{letter}" for letter in "abcd"[: stage.size]]
        match stage.kind:
            case "node" | "ask" | "flaky":
                letters = letters if stage.kind == "flaky" else letters[:1]
                for letter in letters:
                    graph.add_node(letter, self._node(letter, stage.kind))
                return letters, letters
            case "fan":
                for letter in letters:
                    graph.add_node(letter, self._node(letter))
                return letters, letters
            case "uneven":
                short, *long = letters
                for letter in letters:
                    graph.add_node(letter, self._node(letter))
                for before, after in itertools.pairwise(long):
                    graph.add_edge(before, after)
                return [short, long[0]], [short, long[-1]]
            case "sends":
                first, worker = f"{name}a", f"{name}b"
                graph.add_node(first, self._node(first)).add_node(worker, self._node(worker))

                async def scatter(state: Any) -> list[Send]:
                    packets = range(1 + _mark(state) % stage.size)
                    return [Send(worker, {"n": n, "text": LARGE, "total": n}) for n in packets]

                graph.add_conditional_edges(first, scatter, [worker])
                return [first], [worker]
            case "graph":
                graph.add_node(name, self._within(name, letters))
                return [name], [name]
            case "loop":
                body, out = f"{name}a", f"{name}b"
                graph.add_node(body, self._node(body)).add_node(out, self._node(out))

                async def again(state: Any) -> str:
                    return body if state["turns"].get(body, 0) % stage.size else out

                graph.add_conditional_edges(body, again, [body, out])
                return [body], [out]
            case "command":
                first, *others = letters
                graph.add_node(first, self._node(first, "command", others), destinations=others)
                for other in others:
                    graph.add_node(other, self._node(other))
                return [first], others

    def _within(self, name: str, letters: Sequence[str]) -> CompiledGraph:
        """A graph of its own: nodes side by side, of which one fails once, and one that asks."""
        shown = schema_of(**{f"of_{name}a": Any})  # what else it writes is its own
        graph = StateGraph(schema_of(**self._annotations), output_schema=shown)
        for letter in letters:
            graph.add_node(letter, self._node(letter, "flaky")).add_edge(START, letter)
        graph.add_node(f"{name}e", self._node(f"{name}e", "ask"))
        return graph.add_edge(letters, f"{name}e").compile()

    def _node(self, name: str, kind: Kind = "node", goto: Sequence[str] = ()) -> Any:
        self._names.append(name)

        async def node(state: dict[str, Any]) -> Any:
            mark = _mark(state)
            await self.order.turn()
            if kind == "flaky" and name not in self.failed and name.endswith("b"):
                self.failed.add(name)
                raise FlakyError(name)
            answer = interrupt(f"{name} saw {mark}?") if kind == "ask" else None
            update = self._update(name, mark + len(str(answer)), state)
            return Command(update=update, goto=list(goto)) if kind == "command" else update

        return node

    def _update(self, name: str, mark: int, state: Mapping[str, Any]) -> dict[str, Any]:
        written = {key: CHANNELS[key][2](name, mark, state.get(key)) for key in self.spec.keys}
        own = f"of_{name}"
        if "n" not in state:  # of several sends only one could write to a key of its node's own
            written[own] = own_document(name, mark, state.get(own))
        # Each node leaves out some keys.
        kept = {key: value for at, (key, value) in enumerate(written.items()) if (mark + at) % 4}
        return kept | {"turns": {name: 1}}


def _mark(state: Any) -> int:
    """A number that depends on everything in a state."""
    return zlib.crc32(repr(form(dict(sorted(state.items())))).encode()) % 9973


def thread(name: str, checkpoint: str | None = None) -> RunnableConfig:
    """The config that names a thread, or a checkpoint of it."""
    at = {} if checkpoint is None else {"checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": name, **at}}


async def drive(
    graph: CompiledGraph,
    input: Any,
    config: RunnableConfig,
    *,
    watch: Callable[[Any], None] | None = None,
    once: bool = False,
    **options: Any,
) -> StateSnapshot:
    """Run to the end, or once: answer every question, go on after every failure."""
    name = config["configurable"]["thread_id"]
    for _ in range(40):
        try:
            async for event in graph.astream(input, config, stream_mode="checkpoints", **options):
                if watch is not None:
                    watch(event)
        except FlakyError:
            input = None
        config = thread(name)
        state = await graph.aget_state(config)
        if state.interrupts:
            input = Command(resume={ask.id: f"as to {ask.value}" for ask in state.interrupts})
        elif once or not state.next:
            return state
        else:
            input = None
    raise AssertionError("The run does not come to an end.")


async def branch(graph: CompiledGraph, name: str) -> list[StateSnapshot]:
    """The checkpoints from a thread's first to its head, by their parents."""
    found: list[StateSnapshot] = []
    at = (await graph.aget_state(thread(name))).checkpoint_id
    while at is not None:
        state = await graph.aget_state(thread(name, at))
        found.append(state)
        parent = state.parent_config
        at = parent["configurable"]["checkpoint_id"] if parent is not None else None
    return found[::-1]
