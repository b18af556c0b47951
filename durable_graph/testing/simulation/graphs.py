"""Random graphs whose nodes say in the state what they have seen.

A node's update is a function of what it read, of its `Send` argument and of the answers it got.
It appends one token to ``log``, which names the node and digests the log as the node saw it. So
each token is unique within a state, its place says when its node ran, and a value that was lost,
applied twice or read at the wrong time shows in every later token.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypedDict

from durable_graph import (
    END,
    NOT_DONE,
    START,
    Command,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    StepClaim,
    get_runtime,
    interrupt,
    step,
)

__all__ = [
    "GraphSpec",
    "NodeSpec",
    "Route",
    "SimulatedNodeError",
    "digest",
    "question",
    "random_graph",
    "spell",
    "update_of",
    "with_steps",
]

Pace = Literal["instant", "quick", "slow", "long"]
Act = Callable[["NodeSpec", Runtime, str], Awaitable[None]]


class SimulatedNodeError(Exception):
    """A node of a simulated graph fails."""


def merge(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    """A reducer of the user's own."""
    return {**first, **second}


def digest(log: Sequence[str]) -> str:
    """What a node has seen, in eight digits."""
    return hashlib.blake2b("\n".join(log).encode(), digest_size=4).hexdigest()


@dataclass(frozen=True, slots=True)
class Route:
    """Where a conditional edge, or a command, leads; a function of the state.

    Attributes:
        kind: "choose" one of the nodes; "loop" back to the first for some rounds, then on to the
            second; "send" some packets to the first, or go straight to the second.
        nodes: the nodes it may lead to.
        times: how many rounds or packets at most.
    """

    kind: Literal["choose", "loop", "send"]
    nodes: tuple[str, ...]
    times: int = 1

    def __call__(self, state: Any) -> list[str | Send]:
        seen = digest(state["log"])
        number = int(seen, 16)
        if self.kind == "choose":
            return [self.nodes[number % len(self.nodes)]]
        if self.kind == "loop":
            rounds = 0
            for token in reversed(state["log"]):
                if token.startswith("in:"):
                    break
                rounds += token.startswith(f"{self.nodes[0]}.")
            return [self.nodes[0] if rounds <= number % (self.times + 1) else self.nodes[1]]
        count = number % (self.times + 1)
        packets = [Send(self.nodes[0], {"item": item, "of": seen}) for item in range(count)]
        return [*packets] if packets else [self.nodes[1]]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node.

    Attributes:
        name: its name.
        writes: whether it writes anything.
        padding: bytes that it adds to what it writes.
        asks: how many questions it asks, one after the other.
        same: whether they are all the same.
        pace: how long it takes.
        fails: how often an attempt fails, from 0 to 1.
        steps: how many steps it makes before it asks.
        attempts: how many attempts its policy allows.
        threaded: whether it is a plain function.
        packet: whether it is sent to.
        targets: where its edges lead.
        route: its conditional edge.
        command: where the command leads that it returns.
        within: how many graphs, one in the other, are around its function.
    """

    name: str
    writes: bool = True
    padding: int = 0
    asks: int = 0
    same: bool = False
    pace: Pace = "quick"
    fails: float = 0.0
    steps: int = 0
    attempts: int = 1
    threaded: bool = False
    packet: bool = False
    targets: tuple[str, ...] = ()
    route: Route | None = None
    command: Route | None = None
    within: int = 0


@dataclass(slots=True)
class GraphSpec:
    """A graph.

    Attributes:
        nodes: its nodes by name.
        start: what follows the input.
        joins: edges from several nodes.
    """

    nodes: dict[str, NodeSpec] = field(default_factory=dict)
    start: NodeSpec = field(default_factory=lambda: NodeSpec(START))
    joins: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def build(self, act: Act) -> StateGraph:
        """The graph as users build it; `act` is awaited at the begin and the end of each node."""
        fields: dict[str, Any] = {
            "log": Annotated[list[str], operator.add],
            "total": Annotated[int, operator.add],
            "bag": Annotated[dict[str, int], merge],
            **{f"note_{name}": str for name in self.nodes},
        }
        graph = StateGraph(TypedDict("State", fields))  # type: ignore[operator]
        for spec in self.nodes.values():
            policy = RetryPolicy(0.5, 2.0, 8.0, spec.attempts, retry_on=SimulatedNodeError)
            graph.add_node(
                spec.name,
                _function(spec, act),
                retry_policy=policy if spec.attempts > 1 else None,
                destinations=spec.command.nodes if spec.command else None,
            )
        for spec in (self.start, *self.nodes.values()):
            for target in spec.targets:
                graph.add_edge(spec.name, target)
            if spec.route is not None:
                graph.add_conditional_edges(spec.name, spec.route, list(spec.route.nodes))
        for sources, target in self.joins:
            graph.add_edge(list(sources), target)
        return graph

    def node(self, name: str) -> NodeSpec:
        """A node by name, the start included."""
        return self.start if name == START else self.nodes[name]


def spell(spec: NodeSpec, seen: str, item: int | None) -> str:
    """How a task is named in questions and tokens."""
    return f"{spec.name}.{seen}" if item is None else f"{spec.name}/{item}.{seen}"


def question(spec: NodeSpec, number: int, seen: str, item: int | None) -> str:
    """What a node asks, the first time, the second time and so on."""
    return f"{spell(spec, seen, item)}?{'' if spec.same else number}"


def update_of(
    spec: NodeSpec, seen: str, item: int | None, answers: Sequence[Any]
) -> dict[str, Any] | None:
    """What a node writes."""
    if not spec.writes:
        return None
    token = "=".join([spell(spec, seen, item), *map(_plain, answers)])
    update: dict[str, Any] = {"log": [token], "total": 1, "bag": {token: len(answers)}}
    if item is None:
        update[f"note_{spec.name}"] = token + "." * spec.padding
    return update


def _plain(answer: Any) -> str:
    return answer if isinstance(answer, str) else f"input {answer['log'][0]}"


def _function(spec: NodeSpec, act: Act) -> Callable[..., Any]:
    happened: set[str] = set()  # outside, where no crash takes it back

    def ask(state: Any) -> tuple[str, int | None, list[Any]]:
        seen, item = (state["of"], state["item"]) if spec.packet else (digest(state["log"]), None)
        answers = [interrupt(question(spec, n, seen, item)) for n in range(spec.asks)]
        return seen, item, answers

    def result(state: Any, seen: str, item: int | None, answers: list[Any]) -> Any:
        update = update_of(spec, seen, item, answers)
        if spec.command is None:
            return update
        after = {"log": [*state["log"], *(update or {"log": ()})["log"]]}
        return Command(update=update, goto=spec.command(after))

    async def make(name: str) -> str:
        runtime = get_runtime()
        await act(spec, runtime, f"step {name}")
        happened.add(runtime.idempotency_key)
        return f"{spec.name} {name}"

    def look(claim: StepClaim) -> Any:
        known = claim.idempotency_key in happened
        return f"{spec.name} {claim.key}" if known else NOT_DONE

    async def run(state: Any, runtime: Runtime) -> Any:
        await act(spec, runtime, "begin")
        for name in map(str, range(spec.steps)):
            made = await step(name, make, name, reconcile=look)
            if made != f"{spec.name} {name}":
                raise AssertionError(f"Step {name} of {spec.name} has come to {made!r}.")
        asked = ask(state)
        await act(spec, runtime, "end")
        return result(state, *asked)

    def run_at_once(state: Any, runtime: Runtime) -> Any:
        # Nothing of this waits: a thread's code runs in one go here.
        for when in ("begin", "end"):
            waiting = act(spec, runtime, f"{when} at once")
            with contextlib.suppress(StopIteration):
                waiting.__await__().__next__()
        return result(state, *ask(state))

    if spec.within and not spec.steps:
        return _from_within(spec, act, ask)
    return run_at_once if spec.threaded else run


def with_steps(graph: GraphSpec, numbers: random.Random) -> GraphSpec:
    """The graph, and in one of three some of its nodes make steps."""
    if numbers.random() < 2 / 3:
        return graph
    nodes = {
        name: replace(spec, steps=0 if spec.threaded else numbers.choice((0, 1, 1, 2, 4)))
        for name, spec in graph.nodes.items()
    }
    return replace(graph, nodes=nodes)


class Inner(TypedDict, total=False):
    """The state of a graph within: what its node was given, what it has done, and what it makes."""

    given: Any
    trail: Annotated[list[str], operator.add]
    made: Any


def _from_within(spec: NodeSpec, act: Act, ask: Callable[[Any], Any]) -> Callable[..., Any]:
    """A node that calls a graph, in whose innermost one the work is done."""

    async def before(state: Inner, runtime: Runtime) -> Inner:
        await act(spec, runtime, "begin")
        return {"trail": [f"{spec.name} begins"]}

    async def work(state: Inner, runtime: Runtime) -> Inner:
        await act(spec, runtime, "begin")
        seen, item, answers = ask(state["given"])
        await act(spec, runtime, "end")
        return {"made": update_of(spec, seen, item, answers)}

    graph = StateGraph(Inner).add_sequence([("before", before), ("work", work)])
    inner = graph.add_edge(START, "before").compile()
    for level in range(1, spec.within):
        around = StateGraph(Inner).add_node(f"level {level}", inner)
        inner = around.add_edge(START, f"level {level}").compile()

    async def run(state: Any) -> Any:
        return (await inner.ainvoke({"given": state}))["made"]

    return run


def random_graph(numbers: random.Random) -> GraphSpec:
    """A graph of random shape: a sequence of parts, each a chain, a loop, a fan-out, ..."""
    maker = _Maker(numbers)
    for _ in range(numbers.randint(1, 4)):
        maker.part(numbers.choice(maker.kinds))
    return maker.finish()


class _Maker:
    """Puts a graph together from its end to its beginning, since edges lead forward."""

    def __init__(self, numbers: random.Random) -> None:
        self.kinds = (
            *("chain", "chain", "loop", "fan", "fan", "ask", "uneven", "send", "choose", "command"),
        )
        self._numbers = numbers
        self._graph = GraphSpec()
        self._next: str = END
        self._heavy = numbers.choice((0, 0, 40, 600, 5000))
        self._asking = numbers.choice((0.0, 0.2, 0.7))
        self._failing = numbers.choice((0.0, 0.2, 0.5))
        # Numbers of its own: what it draws changes no other part of a graph.
        self._levels = random.Random(repr(numbers.getstate()[1][:4]))  # noqa: S311 - chance

    def part(self, kind: str) -> None:
        """Put a part before what there is."""
        after = self._next
        match kind:
            case "loop":
                leave = self._add(targets=(after,))
                again = self._add(writes=True)
                self._graph.nodes[again] = replace(
                    self._graph.nodes[again], route=Route("loop", (again, leave), 2)
                )
                self._next = again
            case "fan":
                collector = self._add(targets=(after,))
                arms = [self._add() for _ in range(self._numbers.randint(2, 4))]
                if self._numbers.random() < 0.5:
                    self._graph.joins.append((tuple(arms), collector))
                else:
                    self._lead(arms, collector)
                self._next = self._add(targets=tuple(arms))
            case "ask":
                collector = self._add(targets=(after,))
                asks, works = self._add(targets=(collector,)), self._add(targets=(collector,))
                nodes = self._graph.nodes
                nodes[asks] = replace(nodes[asks], writes=True, asks=1, pace="quick")
                # There is time to answer while the run goes on.
                nodes[works] = replace(nodes[works], pace="long", threaded=False)
                self._next = self._add(targets=(asks, works))
            case "uneven":
                collector = self._add(targets=(after,))
                short, last = self._add(), self._add()
                long = self._add(targets=(last,))
                self._graph.joins.append(((short, last), collector))
                self._next = self._add(targets=(short, long))
            case "send":
                collector = self._add(targets=(after,))
                worker = self._add(packet=True, targets=(collector,))
                self._next = self._add(route=Route("send", (worker, collector), 4))
            case "choose":
                arms = [self._add(targets=(after,)) for _ in range(2)]
                self._next = self._add(route=Route("choose", tuple(arms)))
            case "command":
                arms = [self._add(targets=(after,)) for _ in range(2)]
                self._next = self._add(command=Route("choose", tuple(arms)))
            case _:
                self._next = self._add(targets=(after,))

    def finish(self) -> GraphSpec:
        """The graph."""
        way = self._numbers.random()
        if way < 0.6:
            start = NodeSpec(START, targets=(self._next,))
        else:
            other = self._add(targets=(self._next,))
            nodes = (self._next, other)
            start = (
                NodeSpec(START, route=Route("choose", nodes))
                if way < 0.9
                else NodeSpec(START, targets=(other,))
            )
        self._graph.start = start
        return self._graph

    def _lead(self, sources: Sequence[str], target: str) -> None:
        for name in sources:
            self._graph.nodes[name] = replace(self._graph.nodes[name], targets=(target,))

    def _add(self, *, writes: bool | None = None, **options: Any) -> str:
        numbers, name = self._numbers, f"n{len(self._graph.nodes)}"
        asks = numbers.choice((1, 1, 2)) if numbers.random() < self._asking else 0
        spec = NodeSpec(
            name,
            writes=bool(writes or asks or numbers.random() < 0.9),
            padding=self._heavy if numbers.random() < 0.7 else 0,
            asks=asks,
            same=numbers.random() < 0.3,
            pace=numbers.choice(("instant", "quick", "quick", "slow", "long")),
            fails=self._failing if numbers.random() < 0.5 else 0.0,
            attempts=numbers.choice((1, 2, 3)),
            threaded=numbers.random() < 0.15,
            **options,
        )
        within = self._levels.choice((0, 0, 0, 1, 2))
        if spec.command is None:
            spec = replace(spec, within=within)
        self._graph.nodes[name] = spec
        return name
