"""Editing a thread's state from outside its graph."""

from __future__ import annotations

from collections.abc import Sequence

from durable_graph.decisions.plan import Plan, plan, without_deferred
from durable_graph.decisions.reduce import Reducers
from durable_graph.decisions.results import read_result
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.history.pictures import graph_at
from durable_graph.engine.history.reading import Place, View, check_end, check_ns, load
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.runs.call import Call
from durable_graph.engine.runs.forking import Fork
from durable_graph.engine.runs.live import LiveThread, Onto
from durable_graph.engine.runs.opening import hold, situation_of
from durable_graph.engine.runs.run import Run
from durable_graph.engine.streams import shapes
from durable_graph.engine.streams.stream import Stream
from durable_graph.engine.tasks.context import TaskContext
from durable_graph.engine.tasks.execute import choose_route, new_context
from durable_graph.errors import (
    CheckpointNotFoundError,
    FencedError,
    InvalidUpdateError,
    ThreadBusyError,
)
from durable_graph.log.fold import Due, Scope
from durable_graph.log.records import DueTask, Outcome
from durable_graph.types import END, START, RunnableConfig, StateUpdate

__all__ = ["edit"]

_TRIES = 8


async def edit(
    definition: GraphDefinition,
    keeper: Keeper,
    call: Call,
    supersteps: Sequence[Sequence[StateUpdate]],
) -> RunnableConfig:
    """Write to the state of a graph of a thread as if nodes had; returns the config that names
    the new checkpoint.

    What the nodes lead to is due afterwards, and so is what siblings that had finished lead to.
    A task that asks something keeps its questions. Whatever else was due is dropped.

    Args:
        definition: the graph.
        keeper: where threads are stored.
        call: names the thread, and who edits it.
        supersteps: what is written; a checkpoint for each, all in one durable write.

    Raises:
        ThreadBusyError: a live run owns the thread.
        InvalidUpdateError: the update cannot become part of the state, or it is not clear as
            which node it is meant.
        CheckpointNotFoundError: there is no such checkpoint, or no such graph in the thread.
        IncompatibleGraphError: the graph is not found among those that the nodes refer to.
    """
    key = keeper.key(call.thread)
    await keeper.until_ended(key)
    async with keeper.running(key, call.run) as owner:
        for _ in range(_TRIES):
            view = await load(keeper, definition, key, call.checkpoint)
            if view is None and call.checkpoint is not None:
                raise CheckpointNotFoundError(f"There is no thread {key.thread!r}.")
            if await situation_of(keeper.backend, None if view is None else view.head) == "running":
                raise ThreadBusyError(
                    f"Thread {key.thread!r} is being run; edit its state when it rests."
                )
            if view is not None and call.checkpoint is not None:
                check_ns(Place(key.thread, call.checkpoint, call.ns), view)
            if view is not None and view.after is not None and view.at_head:
                view.take_results()
            live = hold(keeper, owner, definition, call, key, view)
            if live.log is not None and view is not None and not view.at_head:
                await check_end(keeper, view.head)
                live.log.input = None  # the branch was never given what the head was given
            if view is not None and view.origin is not None:
                # What is due and has neither finished nor asked is dropped, known or not.
                goes_on = bool(live.scope.outcomes) and view.at_head
                origin, freezer = view.origin, live.freezer
                origin.check(definition, live.scope, freezer, key.thread, due=goes_on)
            edited = await _edited(live, view, supersteps)
            try:
                if live.log is not None:
                    await live.log.flush(wait=True)
            except FencedError:
                continue
            finally:
                keeper.hot.take(key)
            return shapes.config_of(edited, key.thread)
    raise ThreadBusyError(f"Others keep changing thread {key.thread!r}; edit it when it rests.")


async def _edited(
    live: LiveThread, view: View | None, supersteps: Sequence[Sequence[StateUpdate]]
) -> Scope:
    """Edit the graph that the call names; returns its state."""
    call = live.call
    ns = view.ns if view is not None and view.ns else call.ns
    branch = view is not None and not view.at_head
    onto = (live.scope.path, live.scope.weight) if branch else None
    if onto is not None and (ns or live.pending is not None):
        # The thread branches off, and is edited on the new branch.
        ns = Fork(live, live.scope.copy(), onto, whole=bool(ns)).ns(ns)
        onto = None
    elif live.pending is not None:
        live.migrate(live.pending)
    root = live.scope
    edited = live
    if ns:
        if ns not in root.nested:
            raise CheckpointNotFoundError(f"Thread {call.thread!r} has no graph at {ns!r} now.")
        definition = graph_at(live.definition, root, ns)
        freezer = live.freezer.inside(definition)
        reducers, clock, chance = Reducers(freezer), live.clock, live.chance
        inner = root.nested[ns]
        edited = LiveThread(definition, call, inner, freezer, reducers, live.log, clock, chance)
        branch = False
    for updates in supersteps:
        await _write(edited, updates, branch=branch, onto=onto)
        branch, onto = False, None
    if live.log is not None:
        asking = bool(root.all_open_asks())
        live.log.status = "asking" if asking else "stopped" if root.due else "finished"
        live.log.reason = "edited" if root.due and not asking else None
    return root.nested[ns] if ns else root


async def _write(
    live: LiveThread, updates: Sequence[StateUpdate], *, branch: bool, onto: Onto | None
) -> None:
    scope, definition = live.scope, live.definition
    # An input that was accepted and not taken in yet has finished, too.
    led = live.promote(keep=True) if not branch else 0
    before = [] if branch else list(scope.due)
    results = [
        await _result(live, update, index=-1 - place) for place, update in enumerate(updates)
    ]
    nodes = [node for node, _ in results]
    planned = Plan([], without_deferred(scope.joins))
    if leading := [(node, outcome) for node, outcome in results if node != END]:
        kept = [
            index
            for index, task in enumerate(before)
            if task.node not in nodes and (scope.open_asks(index) or index >= len(before) - led)
        ]
        planned = plan(definition, scope.joins, leading, busy=bool(kept))
        planned.due = _with_carried(planned.due, before, kept)
    info = live.next_info("update", nodes, branch=onto is not None)
    live.add_results(results, info, planned, onto=onto, by=live.call.by)


async def _result(live: LiveThread, update: StateUpdate, index: int) -> tuple[str, Outcome]:
    """The node that an update counts for, and the update as its result."""
    definition = live.definition
    node = update.as_node or _last_node(live)
    if node not in (START, END) and node not in definition.nodes:
        raise InvalidUpdateError(
            f"There is no node {node!r} to write as; the nodes are {', '.join(definition.nodes)}."
        )
    outcome = live.outcome_of(node, read_result(definition, node, update.values), index)
    return node, outcome if node == END else await _routed(live, node, outcome)


def _last_node(live: LiveThread) -> str:
    """The node that an edit is taken to come from, if nobody says.

    Raises:
        InvalidUpdateError: several nodes ran in the last superstep.
    """
    nodes = live.scope.nodes
    if not nodes:
        return START
    if len(nodes) > 1:
        raise InvalidUpdateError(
            f"Ambiguous update: {', '.join(nodes)} ran last. Say as which of them it is meant: "
            f"as_node=..."
        )
    return nodes[0]


async def _routed(live: LiveThread, node: str, outcome: Outcome) -> Outcome:
    """The outcome with where the node's conditional edges lead from the edited state."""
    branches = live.definition.node(node).branches
    if not branches:
        return outcome
    run = Run(live, Stream(), None)
    values = live.merged(node, outcome)
    goto, sends = list(outcome.goto), list(outcome.sends)
    for branch in branches:
        schema = branch.input or live.definition.node(node).input
        task = TaskContext(run, Due(live.scope.branch, "", live.scope.step, node), 1)
        state = live.view(schema, values)
        chosen = await choose_route(run, node, branch, new_context(task), state)
        more, packets = live.targets(node, chosen)
        goto += more
        sends += packets
    return Outcome(outcome.index, outcome.writes, tuple(dict.fromkeys(goto)), tuple(sends))


def _with_carried(planned: list[DueTask], before: list[Due], stays: list[int]) -> list[DueTask]:
    """What is due after an edit: what its node leads to, and still whatever asks something or
    follows from a result that was put into the state.

    A task that was due and is due again stays the same task, with its questions.
    """
    waiting = {task.node: i for i, task in enumerate(before) if task.arg is None}
    carried: set[int] = set()
    due: list[DueTask] = []
    for entry in planned:
        index = waiting.get(entry.node) if entry.arg is None else None
        if index is None:
            due.append(entry)
        else:
            carried.add(index)
            due.append(DueTask(entry.node, carried=index))
    kept = [DueTask(before[i].node, before[i].arg, i) for i in stays if i not in carried]
    return [*due, *kept]
