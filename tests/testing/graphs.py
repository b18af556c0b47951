"""Graphs to be swept: sound ones, and some in which a crash can be seen."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from durable_graph import END, START, MessagesState, Runtime, Send, StateGraph, interrupt, step
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import EffectLog, ScriptedModel
from durable_graph.types import NOT_DONE, StepClaim

__all__ = ["SOUND", "WRONG", "Log", "order"]


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    parts: list[str]
    approved: str


class Part(TypedDict):
    part: str


def order(service: EffectLog, key: Callable[[Runtime], str | None]) -> StateGraph[Log]:
    """Asks, pays and tells; the payment is sent under a key."""

    def check(state: Log) -> Log:
        return {"approved": interrupt("Pay?")}

    async def pay(state: Log, runtime: Runtime) -> Log:
        service.add("charge", key=key(runtime))
        return {"log": ["paid"]}

    def tell(state: Log) -> Log:
        return {"log": [f"told {state['approved']}"]}

    return StateGraph(Log).add_sequence([check, pay, tell]).add_edge(START, "check")


def parts(service: EffectLog, key: Callable[[Runtime], str | None]) -> StateGraph[Log]:
    """One task for each part, in threads; then one that gathers."""

    def each(state: Log) -> list[Send]:
        return [Send("make", Part(part=part)) for part in state["parts"]]

    def make(task: Part, runtime: Runtime) -> Log:
        service.add(f"make {task['part']}", key=key(runtime))
        return {"log": [task["part"]]}

    async def gather(state: Log) -> Log:
        return {"log": ["gathered"]}

    graph = StateGraph(Log).add_node(make, input_schema=Part).add_node(gather)
    return graph.add_conditional_edges(START, each, ["make"]).add_edge("make", "gather")


def chat(service: EffectLog, key: Callable[[Runtime], str | None]) -> StateGraph[MessagesState]:
    """Talks to itself for two turns."""
    model = ScriptedModel("Hello", "Goodbye", by="turn")

    async def speak(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def again(state: MessagesState) -> str:
        return END if state["messages"][-1].content == "Goodbye" else "speak"

    graph = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak")
    return graph.add_conditional_edges("speak", again, ["speak", END])


def steps(service: EffectLog, key: Callable[[Runtime], str | None]) -> StateGraph[Log]:
    """One node with an effect at each of two steps, of which each is asked about after a crash."""

    async def charge() -> str:
        service.add("charge")
        return "charged"

    def asked(claim: StepClaim) -> Any:
        (*done,) = (call for call in service.calls if call.place == claim.idempotency_key)
        return "charged" if done else NOT_DONE

    async def pay(state: Log) -> Log:
        first = await step("deposit", charge, reconcile=asked)
        rest = await step("rest", charge, reconcile=asked)
        return {"log": [first, rest]}

    return StateGraph(Log).add_node(pay).add_edge(START, "pay")


def nested(service: EffectLog, key: Callable[[Runtime], str | None]) -> StateGraph[Log]:
    """A graph as a node, and the same graph called by a node; it asks each time."""

    def pay(state: Log, runtime: Runtime) -> Log:
        answer: str = interrupt("Pay?")
        service.add("charge", key=key(runtime))
        return {"log": [answer]}

    inner = StateGraph(Log).add_node(pay).add_edge(START, "pay").compile()

    async def call(state: Log) -> Log:
        return {"log": (await inner.ainvoke({}))["log"]}

    graph = StateGraph(Log).add_node("inner", inner).add_node(call)
    return graph.add_edge(START, "inner").add_edge("inner", "call")


SOUND: dict[str, tuple[Callable[..., StateGraph[Any]], dict[str, Any]]] = {
    "order": (order, {"log": ["ordered"]}),
    "parts": (parts, {"parts": ["a", "b", "c"]}),
    "chat": (chat, {"messages": "Hi"}),
    "steps": (steps, {"log": ["ordered"]}),
    "nested": (nested, {"log": ["ordered"]}),
}


# -- what a crash can be seen in -------------------------------------------------------------------


def _without_key(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    return order(service, lambda runtime: None)


def _another_key_each_time(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    return order(service, lambda runtime: str(uuid.uuid4()))


def _one_key_for_all(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    return parts(service, lambda runtime: runtime.thread_id)


def _counts_beside_the_state(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    async def count(state: Log) -> Log:
        kept["runs"] = kept.get("runs", 0) + 1
        return {"log": [f"run {kept['runs']}"]}

    return StateGraph(Log).add_node(count).add_edge(START, "count")


def _refuses_to_run_again(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    async def create(state: Log) -> Log:
        if "created" in kept:
            raise ValueError("It exists already.")
        kept["created"] = 1
        return {"log": ["created"]}

    return StateGraph(Log).add_node(create).add_edge(START, "create")


def _skips_what_it_began(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    async def begin(state: Log) -> Log:
        if "begun" in kept:
            service.add("excuse")
        kept["begun"] = 1
        return {}

    async def goal(state: Log) -> Log:
        return {"log": ["goal"]}

    async def detour(state: Log) -> Log:
        return {"log": ["goal"]}

    async def where(state: Log) -> str:
        kept["asked"] = kept.get("asked", 0) + 1
        return "goal" if kept["asked"] == 1 else "detour"

    graph = StateGraph(Log).add_node(begin).add_node(goal).add_node(detour)
    return graph.add_edge(START, "begin").add_conditional_edges("begin", where, ["goal", "detour"])


def _fresh(
    build: Callable[[EffectLog, dict[str, int]], StateGraph[Any]],
) -> Callable[[EffectLog], Callable[[Saver], CompiledGraph]]:
    """What a graph keeps beside its state is new for each thread, as a wrong disk would be."""

    def bind(service: EffectLog) -> Callable[[Saver], CompiledGraph]:
        kept: dict[int, dict[str, int]] = {}

        def make(saver: Saver) -> CompiledGraph:
            # Lives on one storage have one clock, and nothing else in common.
            return build(service, kept.setdefault(id(saver.clock), {})).compile(saver)

        return make

    return bind


def _step_without_question(service: EffectLog, kept: dict[str, int]) -> StateGraph[Log]:
    async def pay(state: Log) -> Log:
        return {"log": [await step("charge", lambda: str(service.add("charge")))]}

    return StateGraph(Log).add_node(pay).add_edge(START, "pay")


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an effect without a key": (
        _fresh(_without_key),
        {"log": []},
        "'charge' of node 'pay' happened 2 times.*send a key",
    ),
    "a new key each time": (
        _fresh(_another_key_each_time),
        {"log": []},
        "'charge' of node 'pay' happened 2 times.*under 2 keys",
    ),
    "one key for several effects": (
        _fresh(_one_key_for_all),
        {"parts": ["a", "b"]},
        "Without any crash:\n.*'make [ab]' of node 'make' never happened",
    ),
    "a count beside the state": (
        _fresh(_counts_beside_the_state),
        {"log": []},
        r"the state has 'log': \['run 2'\], undisturbed 'log': \['run 1'\]",
    ),
    "a node that runs once only": (
        _fresh(_refuses_to_run_again),
        {"log": []},
        "going on raises ValueError: It exists already",
    ),
    "another way after a crash": (
        _fresh(_skips_what_it_began),
        {"log": []},
        r"checkpoint 2 is loop step 1, then detour, undisturbed loop step 1, then goal",
    ),
    "a step of which nobody asks": (
        _fresh(_step_without_question),
        {"log": []},
        "going on raises StepOutcomeUnknownError: .*'charge'",
    ),
    "an effect after a crash only": (
        _fresh(_skips_what_it_began),
        {"log": []},
        "'excuse' of node 'begin' happens only after a crash",
    ),
}
