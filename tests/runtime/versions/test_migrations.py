"""Migrations: what another version has written is shown, and gone on with, as this one has it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, Overwrite, Runtime, Send, StateGraph, interrupt, step
from durable_graph.errors import GraphDefinitionError, IncompatibleGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.migration import (
    Migration,
    convert_key,
    convert_question,
    convert_result,
    convert_send,
    drop_key,
    rename_key,
    rename_node,
)
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.testing.crash import Crash, CrashingBackend, When
from durable_graph.types import Durability, RunnableConfig
from tests.runtime.backends import counted
from tests.runtime.kit import identities, records_of

Log = Annotated[list[str], operator.add]
KEYS: list[str] = []


def typed(**keys: Any) -> Any:
    """A state with these keys."""
    return TypedDict("State", keys, total=False)  # type: ignore[operator]


def fan(
    state: Any,
    saver: Saver,
    *nodes: tuple[str, Callable[..., Any]],
    migrations: Sequence[Any] = (),
    join: str | None = None,
) -> CompiledGraph:
    """Nodes side by side, with one that comes after them all."""
    built = StateGraph(state)
    for name, action in nodes:
        built.add_node(name, action).add_edge(START, name)
    if join is not None:
        built.add_node(join, says("joined")).add_edge([name for name, _ in nodes], join)
    return built.compile(saver, migrations=migrations)


def says(*words: str, key: str = "log") -> Callable[[Any], Any]:
    async def node(state: Any) -> Any:
        return {key: list(words)}

    return node


def asks(question: Any = "?", key: str = "log") -> Callable[[Any, Runtime], Any]:
    async def node(state: Any, runtime: Runtime) -> Any:
        KEYS.append(runtime.idempotency_key)
        return {key: [interrupt(question)]}

    return node


async def written(saver: Saver, config: RunnableConfig) -> list[str]:
    """The sources of a thread's checkpoints, in order."""
    graph = fan(typed(log=Log), saver, ("say", says("x")))
    found = [one async for one in graph.aget_state_history(config)]
    return [(one.metadata or {})["source"] for one in reversed(found)]


async def test_a_node_and_a_key_have_other_names(saver: Saver, config: RunnableConfig) -> None:
    """Due task, finished result, join, question and state: all of it goes on under new names."""
    old = fan(typed(log=Log), saver, ("ask", asks()), ("say", says("said")), join="end")
    (question,) = (await old.ainvoke({"log": ["in"]}, config))["__interrupt__"]
    changes = [rename_node("ask", "inquire"), rename_node("say", "tell"), rename_node("end", "all")]
    changes.append(rename_key("log", "words"))  # type: ignore[arg-type]
    nodes = (("inquire", asks(key="words")), ("tell", says("told", key="words")))
    new = StateGraph(typed(words=Log)).add_node("all", says("joined", key="words"))
    for name, action in nodes:
        new.add_node(name, action).add_edge(START, name)
    compiled = new.add_edge(["inquire", "tell"], "all").compile(saver, migrations=changes)
    before = await identities(saver, config)
    state = await compiled.aget_state(config)
    assert state.values == {"words": ["in", "said"]}
    assert [(task.name, task.result) for task in state.tasks] == [
        ("inquire", None),
        ("tell", {"words": ["said"]}),
    ]
    assert state.interrupts == (question,)  # under the same id
    assert await identities(saver, config) == before  # reading writes nothing
    result = await compiled.ainvoke(Command(resume={question.id: "!"}), config)
    assert result == {"words": ["in", "!", "said", "joined"]}
    assert KEYS[-1] == KEYS[-2]  # the task keeps its key: outside, it is the same task


async def test_it_is_written_down_as_one_commit_by_the_first_call(
    saver: Saver, config: RunnableConfig
) -> None:
    """With the call's own claim, in one append; later calls find nothing to migrate."""
    old = fan(typed(log=Log), saver, ("ask", asks()))
    await old.ainvoke({"log": ["in"]}, config)
    count = len(await records_of(saver, config))
    new = fan(typed(words=Log), saver, ("ask", asks(key="words")), migrations=[rename()])
    around = counted(saver)
    await new.ainvoke(None, config)  # only asks again: nothing is written
    assert (around.appends, len(await records_of(saver, config))) == (0, count)
    await new.ainvoke(Command(resume="!"), config, interrupt_after="*")
    sources = [(one.metadata or {})["source"] async for one in new.aget_state_history(config)]
    assert sources == ["loop", "migration", "loop", "input"]
    fingerprint = fan(typed(words=Log), saver, ("ask", asks(key="words")))
    assert (await fingerprint.aget_state(config)).values == {"words": ["in", "!"]}


def rename() -> Any:
    return rename_key("log", "words")


async def test_a_refused_call_migrates_nothing(saver: Saver, config: RunnableConfig) -> None:
    """The commit stands and falls with the call that carries it."""
    old = fan(typed(log=Log), saver, ("ask", asks()), ("gone", asks("g?")))
    await old.ainvoke({}, config)
    new = fan(typed(words=Log), saver, ("ask", asks(key="words")), migrations=[rename()])
    before = await identities(saver, config)
    asked = (await new.aget_state(config)).interrupts[0].id
    with pytest.raises(IncompatibleGraphError, match="node 'gone' is due"):
        await new.ainvoke(Command(resume={asked: "!"}), config)
    assert await identities(saver, config) == before
    mended = fan(
        typed(words=Log),
        saver,
        ("ask", asks(key="words")),
        ("gone", asks("g?", key="words")),
        migrations=[rename()],
    )
    with pytest.raises(Exception, match="asks 2 questions"):
        await mended.ainvoke(Command(resume="which?"), config)
    assert await identities(saver, config) == before
    assert (await old.ainvoke(None, config))["__interrupt__"]  # the old version still goes on


async def test_history_and_branches_are_migrated(saver: Saver, config: RunnableConfig) -> None:
    """Every checkpoint is shown as this version has it, and can be branched from."""
    old = fan(typed(log=Log), saver, ("ask", asks()), ("say", says("said")))
    await old.ainvoke({"log": ["in"]}, config)
    await old.ainvoke(Command(resume="first"), config)
    nodes = (("inquire", asks(key="words")), ("say", says("said", key="words")))
    changes = [rename(), rename_node("ask", "inquire")]
    new = fan(typed(words=Log), saver, *nodes, migrations=changes)
    shown = [one async for one in new.aget_state_history(config)]
    assert [one.values for one in shown] == [
        {"words": ["in", "first", "said"]},
        {"words": ["in"]},
        {"words": []},
    ]
    asking = shown[1]
    assert asking.next == ("inquire", "say")
    (question,) = asking.interrupts
    assert question.answer is not None
    answered = await new.ainvoke(Command(resume={question.id: "again"}), asking.config)
    assert answered == {"words": ["in", "again"]} or answered["words"][:2] == ["in", "again"]
    rerun = await new.ainvoke(None, asking.config)
    assert rerun["words"] == ["in", "said"]
    begun = await new.ainvoke({"words": ["else"]}, asking.config)
    assert begun["words"][:2] == ["in", "else"]
    edited = await new.aupdate_state(asking.config, {"words": ["edited"]}, as_node="say")
    assert (await new.aget_state(edited)).values == {"words": ["in", "edited"]}
    assert (await old.aget_state(shown[0].config)).values == {"log": ["in", "first", "said"]}


async def test_a_join_that_waits_goes_on_waiting(saver: Saver, config: RunnableConfig) -> None:
    """One of its sources has run; under other names, it still fires once the other has."""

    def build(*names: str, migrations: Sequence[Any] = ()) -> CompiledGraph:
        short, first, long, end = names
        built = StateGraph(typed(log=Log)).add_node(short, says("short")).add_node(end, says("end"))
        built.add_node(first, says("first")).add_node(long, asks())
        built.add_edge(START, short).add_edge(START, first).add_edge(first, long)
        return built.add_edge([short, long], end).compile(saver, migrations=migrations)

    await build("a", "b", "c", "d").ainvoke({}, config)
    pairs = zip(("a", "b", "c", "d"), ("z", "y", "x", "w"), strict=True)
    new = build("z", "y", "x", "w", migrations=[rename_node(*pair) for pair in pairs])
    result = await new.ainvoke(Command(resume="!"), config)
    assert result["log"][-2:] == ["!", "end"]


async def test_a_key_is_dropped(saver: Saver, config: RunnableConfig) -> None:
    """From the state, and from what waits to become part of it."""

    async def both(state: Any) -> Any:
        return {"log": ["said"], "scrap": 2}

    old = fan(typed(log=Log, scrap=int), saver, ("ask", asks()), ("say", both))
    await old.ainvoke({"scrap": 1}, config)
    new = fan(typed(log=Log), saver, ("ask", asks()), ("say", both), migrations=[drop_key("scrap")])
    assert await new.ainvoke(Command(resume="!"), config) == {"log": ["!", "said"]}


async def test_a_value_is_converted_once(saver: Saver, config: RunnableConfig) -> None:
    """Whatever versions come after: a thread that was converted is not converted again."""
    nodes = (("ask", asks()),)
    await fan(typed(log=Log, n=str), saver, *nodes).ainvoke({"n": "7"}, config)
    changes = [convert_key("n", int, was="str")]
    v2 = fan(typed(log=Log, n=int), saver, *nodes, migrations=changes)
    assert (await v2.aget_state(config)).values["n"] == 7
    await v2.aupdate_state(config, {"log": ["edited"]}, as_node="ask")
    changes.append(convert_key("n", lambda n: [n], was="int"))
    v3 = fan(typed(log=Log, n=list[int], more=int), saver, *nodes, migrations=changes)
    assert (await v3.aget_state(config)).values["n"] == [7]


async def test_a_chain_brings_threads_of_any_age_up_to_date(saver: Saver) -> None:
    """Each version adds its changes at the end; a thread skips those that it does not need."""
    changes: list[Any] = []
    versions: list[tuple[str, str, Any]] = [
        ("ask", "a", None),
        ("inquire", "a", rename_node("ask", "inquire")),
        ("inquire", "b", rename_key("a", "b")),
        ("question", "b", rename_node("inquire", "question")),
        ("question", "c", rename_key("b", "c")),
    ]
    for number, (node, key, change) in enumerate(versions):
        changes += [change] if change is not None else []
        graph = fan(typed(**{key: Log}), saver, (node, asks(key=key)), migrations=changes)
        await graph.ainvoke({key: [str(number)]}, {"configurable": {"thread_id": str(number)}})
    for number in range(len(versions)):
        config: RunnableConfig = {"configurable": {"thread_id": str(number)}}
        assert (await graph.aget_state(config)).next == ("question",)
        result = await graph.ainvoke(Command(resume="!"), config)
        assert result == {"c": [str(number), "!"]}


async def test_a_migration_may_be_for_fingerprints(saver: Saver) -> None:
    """From one version to the next, by their fingerprints: also what no description can tell."""
    configs: list[RunnableConfig] = [{"configurable": {"thread_id": str(n)}} for n in range(3)]
    states = [typed(n=int), typed(n=int, b=int), typed(n=int, b=int, c=int)]

    def build(state: Any, *changes: Any) -> CompiledGraph:
        return fan(state, saver, ("ask", asks_for_n), migrations=changes)

    async def asks_for_n(state: Any) -> Any:
        interrupt("?")

    v0, v1 = build(states[0]), build(states[1])
    first, second = v0.definition.fingerprint, v1.definition.fingerprint
    await v0.ainvoke({"n": 1}, configs[0])
    await v1.ainvoke({"n": 10}, configs[1])
    v2 = build(
        states[2],
        Migration(convert_key("n", lambda n: n * 10), when=first, to=second),
        Migration(convert_key("n", lambda n: n * 10), when=second),
    )
    await v2.ainvoke({"n": 100}, configs[2])
    for config in configs:
        assert (await v2.aget_state(config)).values["n"] == 100
        assert (await v2.ainvoke(Command(resume="!"), config))["n"] == 100


async def test_pending_results_packets_and_questions_are_converted(
    saver: Saver, config: RunnableConfig
) -> None:
    """Everything that waits in the middle of a superstep, not only the state."""

    async def packet(arg: Any) -> Any:
        return {"log": [f"{arg['n']} for {interrupt({'really': arg['n']})}"]}

    async def result(state: Any) -> Any:
        return {"log": ["said"], "last": Overwrite("text")}

    def build(send: Any, *changes: Any, last: Any = str) -> CompiledGraph:
        built = StateGraph(typed(log=Log, last=last))
        built.add_node("result", result).add_node("packet", send).add_edge(START, "result")
        built.add_conditional_edges(
            START, lambda s: [Send("packet", n) for n in (1, 2)], ["packet"]
        )
        return built.compile(saver, migrations=changes)

    async def before(arg: Any) -> Any:
        return {"log": [interrupt(f"really {arg}?")]}

    await build(before).ainvoke({"log": ["in"]}, config)
    new = build(
        packet,
        Migration(
            convert_send("packet", lambda n: {"n": n}),
            convert_question("packet", lambda text: {"really": int(text[7:-1])}),
            convert_result("result", lambda u: {**u, "log": ["I", *u["log"]]}),
            convert_key("last", len),
            when=lambda graph: graph.has_key("last", "str"),
        ),
        last=int,
    )
    asked = {q.value["really"]: q.id for q in (await new.aget_state(config)).interrupts}
    assert (await new.aget_state(config)).values == {"log": ["in", "I", "said"], "last": 4}
    done = await new.ainvoke(Command(resume={asked[1]: "one", asked[2]: "two"}), config)
    assert done == {"log": ["in", "I", "said", "1 for one", "2 for two"], "last": 4}


async def test_answers_that_were_given_go_along(saver: Saver, config: RunnableConfig) -> None:
    """An answer, with its author, to a question that is asked in other words now."""

    def node(*questions: Any) -> Callable[[Any], Any]:
        async def ask(state: Any) -> Any:
            return {"log": [interrupt(question) for question in questions]}

        return ask

    old = fan(typed(log=Log), saver, ("ask", node("one?", "two?")))
    await old.ainvoke({}, config)
    await old.ainvoke(Command(resume="first"), config, by="ann")
    change = Migration(convert_question("ask", lambda q: [q]), when=lambda graph: True)
    new = fan(typed(log=Log, m=int), saver, ("ask", node(["one?"], ["two?"])), migrations=[change])
    (open_,) = (await new.aget_state(config)).interrupts
    assert open_.value == ["two?"]
    result = await new.ainvoke(Command(resume={open_.id: "second"}), config)
    assert result["log"] == ["first", "second"]
    given = [
        (q.value, q.answer)
        async for one in new.aget_state_history(config)
        for q in one.interrupts
        if (one.metadata or {})["source"] == "migration"
    ]
    assert [(value, *answer[:2]) for value, answer in given if answer is not None] == [
        ("one?", "first", "ann"),  # as it was asked and answered
        (["one?"], "first", "ann"),
        (["two?"], "second", None),
    ]


async def test_questions_of_steps_and_handlers_and_not_of_graphs_within_are_converted(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each is found again by who asks it; what a graph within asks are words of another graph."""
    child = fan(typed(log=Log), saver, ("inner", asks("inner?")))

    def asking(question: Any) -> CompiledGraph:
        async def handler(state: Any) -> Any:
            answers = [await step(key, lambda: interrupt(question)) for key in ("one", "two")]
            within: Any = await child.ainvoke({})
            return {"log": [*answers, interrupt(question), *within["log"]]}

        async def bad(state: Any) -> Any:
            raise ValueError("bad")

        built = StateGraph(typed(log=Log) if question == "?" else typed(log=Log, more=int))
        built.add_node("bad", bad, error_handler=handler).add_edge(START, "bad")
        change = convert_question("bad", lambda text: [text])
        changes = [] if question == "?" else [Migration(change, when=lambda graph: True)]
        return built.compile(saver, migrations=changes)

    old = asking("?")
    await old.ainvoke({}, config)
    await old.ainvoke(Command(resume="a"), config)
    new, found = asking(["?"]), []
    for answer in ("b", "c", "d"):
        (question,) = (await new.aget_state(config)).interrupts
        found.append(question.value)
        await new.ainvoke(Command(resume={question.id: answer}), config)
    assert found == [["?"], "inner?", ["?"]]
    assert (await new.aget_state(config)).values["log"] == ["a", "b", "d", "c"]


async def test_graphs_within_keep_their_words(saver: Saver, config: RunnableConfig) -> None:
    """A question of a graph within stays what it is while its node's own are converted."""
    child = fan(typed(log=Log), saver, ("inner", asks("inner?")))

    def calling(question: Any, **more: Any) -> CompiledGraph:
        async def call(state: Any) -> Any:
            first: Any = interrupt(question)
            within: Any = await child.ainvoke({})
            return {"log": [first, *within["log"]]}

        change = convert_question("call", lambda text: [text])
        changes = [Migration(change, when=lambda graph: True)] if more else []
        return fan(typed(log=Log, **more), saver, ("call", call), migrations=changes)

    await calling("?").ainvoke({}, config)
    await calling("?").ainvoke(Command(resume="a"), config)
    new = calling(["?"], more=int)
    (question,) = (await new.aget_state(config)).interrupts
    assert question.value == "inner?"
    result = await new.ainvoke(Command(resume={question.id: "b"}), config)
    assert result["log"] == ["a", "b"]


async def test_an_update_that_waits_for_its_reducer_needs_its_own_conversion(
    saver: Saver, config: RunnableConfig
) -> None:
    """What converts the state's value need not suit one update of it."""
    add = Annotated[int, operator.add]
    nodes = (("ask", asks()), ("say", two))
    await fan(typed(log=Log, n=add), saver, *nodes).ainvoke({"n": 1}, config)
    told = typed(log=Log, n=Annotated[float, operator.add])
    lacking = [convert_key("n", float, was="int")]
    with pytest.raises(IncompatibleGraphError, match="waits for its reducer: give update="):
        await fan(told, saver, *nodes, migrations=lacking).ainvoke(Command(resume="!"), config)
    full = [convert_key("n", lambda n: n * 10.0, update=lambda n: n * 100.0, was="int")]
    done = await fan(told, saver, *nodes, migrations=full).ainvoke(Command(resume="!"), config)
    assert done["n"] == 210.0


async def two(state: Any) -> Any:
    return {"n": 2}


async def test_a_conversion_that_fails_changes_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """The error names the migration and the thread; the history shows it in the values' place."""
    await fan(typed(log=Log, n=str), saver, ("ask", asks())).ainvoke({"n": "seven"}, config)
    changes = [convert_key("n", int, was="str")]
    new = fan(typed(log=Log, n=int), saver, ("ask", asks()), migrations=changes)
    before = await identities(saver, config)
    for call in (new.ainvoke(Command(resume="!"), config), new.aget_state(config)):
        with pytest.raises(IncompatibleGraphError, match=r"ConvertKey.* fails on thread .*seven"):
            await call
    shown = [one.values async for one in new.aget_state_history(config)]
    assert isinstance(shown[0], IncompatibleGraphError)
    assert await identities(saver, config) == before


async def test_a_value_that_comes_out_wrong_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """A migration has to make what the new version's type says."""
    await fan(typed(log=Log, n=str), saver, ("ask", asks())).ainvoke({"n": "7"}, config)
    changes = [convert_key("n", lambda text: text + "!", was="str")]
    new = fan(typed(log=Log, n=int), saver, ("ask", asks()), migrations=changes)
    with pytest.raises(IncompatibleGraphError, match="key 'n' has a value that is no int"):
        await new.ainvoke(Command(resume="!"), config)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_migrations_hold_in_every_durability(
    durability: Durability, saver: Saver, config: RunnableConfig
) -> None:
    """What is stored at the end of the run is what the new version has."""
    old = fan(typed(log=Log), saver, ("ask", asks()), ("say", says("said")), join="end")
    await old.ainvoke({"log": ["in"]}, config)
    nodes = (("inquire", asks(key="words")), ("say", says("said", key="words")))
    changes = [rename(), rename_node("ask", "inquire")]
    built = StateGraph(typed(words=Log)).add_node("end", says("joined", key="words"))
    for name, action in nodes:
        built.add_node(name, action).add_edge(START, name)
    new = built.add_edge(["inquire", "say"], "end").compile(saver, migrations=changes)
    await new.ainvoke(Command(resume="!"), config, durability=durability)
    plain = built.compile(saver)
    checkpoints = [one async for one in new.aget_state_history(config)]
    for one, before in itertools.pairwise(checkpoints):
        assert one.parent_config == before.config
    expected = {"words": ["in", "!", "said", "joined"]}
    assert (await plain.aget_state(config)).values == expected
    assert await plain.ainvoke(None, config) == expected


async def test_a_large_value_that_is_converted_is_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its content goes along with the commit, and another process reads it."""
    await fan(typed(log=Log, n=str), saver, ("ask", asks())).ainvoke({"n": "x" * 9000}, config)
    changes = [convert_key("n", lambda text: [text, text + "y"], was="str")]
    new = fan(typed(log=Log, n=list[str]), saver, ("ask", asks()), migrations=changes)
    await new.ainvoke(Command(resume="!"), config)
    saver.hot.take(("", config["configurable"]["thread_id"]))  # type: ignore[arg-type]
    plain = fan(typed(log=Log, n=list[str]), saver, ("ask", asks()))
    assert [len(text) for text in (await plain.aget_state(config)).values["n"]] == [9000, 9001]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_finished_thread_is_migrated_by_its_next_input(
    saver: Saver, config: RunnableConfig
) -> None:
    """A conversation goes on under the key's new name."""
    await fan(typed(log=Log), saver, ("say", says("said"))).ainvoke({"log": ["in"]}, config)
    nodes = (("say", says("told", key="words")),)
    new = fan(typed(words=Log), saver, *nodes, migrations=[rename()])
    assert await new.ainvoke(None, config) == {"words": ["in", "said"]}
    result = await new.ainvoke({"words": ["next"]}, config)
    assert result == {"words": ["in", "said", "next", "told"]}


async def test_a_migrated_thread_can_be_edited(saver: Saver, config: RunnableConfig) -> None:
    """An edit writes the migration down, too, and keeps what is asked."""
    await fan(typed(log=Log), saver, ("ask", asks()), ("say", says("said"))).ainvoke({}, config)
    nodes = (("inquire", asks(key="words")), ("say", says("said", key="words")))
    changes = [rename(), rename_node("ask", "inquire")]
    new = fan(typed(words=Log), saver, *nodes, migrations=changes)
    await new.aupdate_state(config, {"words": ["edited"]}, as_node="say")
    plain = fan(typed(words=Log), saver, *nodes)
    assert (await plain.ainvoke(Command(resume="!"), config))["words"] == ["said", "edited", "!"]


@pytest.mark.parametrize("durability", ["sync", "exit"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_in_the_middle_leaves_the_old_or_the_new(
    when: When, durability: Durability
) -> None:
    """A process that dies at any storage call: the next one goes on, and the end is the same."""
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    nodes = (("inquire", asks(key="words")), ("say", says("said", key="words")))
    changes = [rename(), rename_node("ask", "inquire")]
    number, crashed = 0, True
    while crashed:
        number += 1
        assert number < 50
        storage = InMemoryBackend()
        old = fan(typed(log=Log), Saver(storage), ("ask", asks()), ("say", says("said")))
        (question,) = (await old.ainvoke({"log": ["in"]}, config))["__interrupt__"]
        dying = CrashingBackend(storage, number, when)
        answer: Command[Any] = Command(resume={question.id: "!"})
        with contextlib.suppress(Crash):
            new = fan(typed(words=Log), Saver(dying), *nodes, migrations=changes)
            await new.ainvoke(answer, config, durability=durability)
        crashed = dying.crashed
        saver = Saver(storage)
        new = fan(typed(words=Log), saver, *nodes, migrations=changes)
        state = await new.aget_state(config)
        if state.interrupts:
            await new.ainvoke(answer, config)
        result = await new.ainvoke(None, config)
        assert result == {"words": ["in", "!", "said"]}
        sources = [(one.metadata or {})["source"] async for one in new.aget_state_history(config)]
        assert sources.count("migration") == 1
        assert await saver.averify("t") == []


async def test_of_two_versions_that_go_on_at_once_one_is_refused(config: RunnableConfig) -> None:
    """The migration is part of the claim: whoever read the thread before writes nothing."""
    storage = InMemoryBackend()
    await fan(typed(log=Log), Saver(storage), ("ask", asks())).ainvoke({}, config)
    changes = [rename()]
    graphs = [
        fan(typed(words=Log), Saver(storage), ("ask", asks(key="words")), migrations=changes)
        for _ in range(2)
    ]
    calls = (graph.ainvoke(Command(resume="!"), config) for graph in graphs)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert len([one for one in ended if isinstance(one, dict)]) == 1
    sources = [(one.metadata or {})["source"] async for one in graphs[0].aget_state_history(config)]
    assert sources.count("migration") == 1
    assert (await graphs[0].aget_state(config)).values == {"words": ["!"]}


MISTAKES: list[tuple[Any, str]] = [
    (convert_key("n", int), "Which threads are to have 'n' converted"),
    (convert_send("ask", int), "does not say which threads"),
    (rename_node("old", "asks"), "no node of this graph. Did you mean 'ask'"),
    (rename_key("old", "lag"), "no key of this graph. Did you mean 'log'"),
    (Migration(rename_node("a", "b"), when=lambda g: True), "no node"),
    (Migration("rename", when="x"), "Migrations are what"),  # type: ignore[arg-type]
    (Migration(drop_key("x"), when=3), "when= is a fingerprint"),  # type: ignore[arg-type]
    ("rename", "Migrations are what"),
]


@pytest.mark.parametrize(("change", "match"), MISTAKES, ids=[m[1][:30] for m in MISTAKES])
def test_mistakes_are_told_when_compiling(change: Any, match: str) -> None:
    """Not when the first thread is met."""
    built = StateGraph(typed(log=Log)).add_node("ask", asks()).add_edge(START, "ask")
    with pytest.raises(GraphDefinitionError, match=match):
        built.compile(migrations=[change])


async def test_nobody_pays_for_migrations_of_threads_that_are_up_to_date(
    saver: Saver, config: RunnableConfig
) -> None:
    """A thread that this version wrote is not looked at any closer."""

    def never(graph: Any) -> bool:
        raise AssertionError("looked at")

    changes = [Migration(drop_key("x"), when=never)]
    new = fan(typed(log=Log), saver, ("ask", asks()), migrations=changes)
    await new.ainvoke({}, config)
    assert (await new.ainvoke(Command(resume="!"), config))["log"] == ["!"]
