"""Stories about what is done with whole threads, and what only the format itself can say."""

from __future__ import annotations

from typing import Any, Final, Literal

from durable_graph import END, START, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log.records import Commit, Outcome
from durable_graph.log.seal import CommitInfo, Draft, seal
from durable_graph.ports.backend import Append
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling, chain, says

__all__ = ["STORIES"]


_ROUNDS: Final = 7


async def _fill(state: Items) -> Items:
    size = 800 if state.get("count", 0) % _ROUNDS else 2050  # the first one is a large value
    return {"last": f"{state.get('count', 0)} " * size, "count": 1}


def _again(state: Items) -> Literal["fill", "__end__"]:
    return "fill" if state["count"] % _ROUNDS else END


def _growing(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items).add_node("fill", _fill).add_edge(START, "fill")
    return graph.add_conditional_edges("fill", _again).compile(saver)


async def _tell_pruned(story: Telling) -> None:
    await story.run({"items": ["input"]})
    await story.later()
    await story.saver.aprune([story.thread], keep=2)
    await story.edit({"last": "after that"}, as_node=END)


def _letters(saver: Saver, trouble: bool) -> CompiledGraph:
    return chain(saver, ("a", says("a")), ("b", says("b", last="b")), ("c", says("c")))


async def _tell_copied(story: Telling) -> None:
    original = Telling(story.saver, story.clock, story.graph, f"{story.thread}-original")
    await original.run({"items": ["input"]}, interrupt_before=["c"])
    await story.later()
    await story.saver.acopy_thread(original.thread, story.thread)
    await story.saver.adelete_thread(original.thread)


async def _go_on(story: Telling) -> Any:
    return await story.run(None)


async def _tell_spelled(story: Telling) -> None:
    """A thread made by hand: a key that loses its value, which no graph can bring about."""
    definition, chance = story.graph.definition, story.saver.chance
    written = {"items": b'["kept"]', "last": b'"lost"'}
    bodies = (
        Commit([Outcome(-1, [written])], {"items": ("w", -1), "last": ("w", -1)}),
        Commit(delta={"last": ("-",), "items": ("+", b'["more"]')}),
    )
    run, time = chance.id(), story.clock.time()
    names = [chance.id() for _ in bodies]
    drafts = [
        Draft(
            body,
            time,
            run,
            commit=CommitInfo(
                id=name,
                parent=parent,
                branch=names[0],
                step=step,
                source="update",
                nodes=("a",),
                meta={},
                graph=definition.fingerprint,
            ),
        )
        for step, (body, name, parent) in enumerate(
            zip(bodies, names, (None, names[0]), strict=True), -1
        )
    ]
    blobs = {definition.fingerprint: definition.description}
    head, records = seal(
        None,
        drafts,
        key=story.key,
        secret=chance.secret(),
        epoch=1,
        status="finished",
        owner=None,
        input=None,
        reason=None,
        now=time,
        large=sum(map(len, blobs.values())),
    )
    await story.saver.backend.append([Append(None, head, records, blobs, {})])


STORIES: Final = (
    Story("pruned", _growing, _tell_pruned),
    Story("copied", _letters, _tell_copied, _go_on),
    Story("spelled", _letters, _tell_spelled),
)
