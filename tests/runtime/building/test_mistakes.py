"""What is wrong with a graph is said while it is built or compiled, with a hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, cast

import pytest

from durable_graph import END, START, RetryPolicy, StateGraph
from durable_graph.errors import ConfigError, GraphDefinitionError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, history, key_of, says

Build = Callable[[StateGraph], Any]


def route(state: Items) -> str:
    return "a"


@pytest.mark.parametrize(
    ("build", "says_what"),
    [
        (lambda g: g.add_edge(END, "a"), "No edge can lead from END"),
        (lambda g: g.add_edge("a", START), "No edge can lead to START"),
        (lambda g: g.add_edge([], "a"), "empty list of sources"),
        (lambda g: g.add_edge(["a", "later"], "a"), "add them before: 'later'"),
        (lambda g: g.add_edge([START], "a"), "may only name nodes"),
        (lambda g: g.add_conditional_edges(END, route), "No edge can lead from END"),
        (
            lambda g: g.add_conditional_edges("a", route).add_conditional_edges("a", route),
            "'a' has a conditional edge 'route' already",
        ),
        (lambda g: g.add_conditional_edges("a", "route"), "must be a function"),
        (lambda g: g.add_edge(5, "a"), "or a list of names, not 5"),
        (lambda g: g.add_edge(["a", route], "a"), "or a list of names, not"),
        (lambda g: g.add_edge("a", ["b"]), r"leads to a node's name, not to \['b'\]"),
        (lambda g: g.add_edge([["a"]], "a"), "or a list of names, not"),
        (lambda g: g.add_conditional_edges(["a"], route), r"not from \['a'\]"),
        (lambda g: g.add_conditional_edges("a", route, 5), "list of nodes' names was meant, not 5"),
        (lambda g: g.add_conditional_edges("a", route, [5]), "list of nodes' names was meant"),
        (lambda g: g.add_sequence(5), "a list of nodes, not 5"),
        (lambda g: g.add_sequence([]), "at least one node"),
        (lambda g: g.add_sequence([route, route]), "node 'route' already"),
        (lambda g: g.add_sequence([lambda s: s]), "has no name; give \\(name, function\\)"),
    ],
)
def test_a_bad_edge_is_refused_when_it_is_added(build: Build, says_what: str) -> None:
    """What no other call can mend is an error at once."""
    with pytest.raises(GraphDefinitionError, match=says_what):
        build(StateGraph(Items).add_node("a", says()))


@pytest.mark.parametrize(
    ("build", "says_what"),
    [
        (lambda g: g, "no entry point: add an edge from START"),
        (lambda g: g.add_edge(START, "ab"), "no node 'ab', where the edge from '__start__' leads"),
        (lambda g: g.add_edge(START, "answr"), "Did you mean 'answer'"),
        (lambda g: g.add_edge("no", "answer").add_edge(START, "answer"), "from 'no', which is no"),
        (
            lambda g: g.add_edge(START, "answer").add_edge(["answer"], "no"),
            "the edge from .*answer",
        ),
        (
            lambda g: g.add_conditional_edges(START, route, {"x": "no"}),
            "no node 'no', where the conditional edge 'route' of '__start__'",
        ),
        (
            lambda g: g.add_conditional_edges(START, route, "nobody"),
            "no node 'nobody', where the conditional edge 'route'",
        ),
        (
            lambda g: g.add_edge(START, "b").add_node("b", says(), destinations="nobody"),
            "no node 'nobody', where a command of 'b'",
        ),
    ],
)
def test_a_graph_that_cannot_run_is_refused_when_it_is_compiled(
    build: Build, says_what: str
) -> None:
    """Edges to and from nodes that are not there, and a missing entry, are named."""
    graph = build(StateGraph(Items).add_node("answer", says()))
    with pytest.raises(GraphDefinitionError, match=says_what):
        graph.compile()


@pytest.mark.parametrize(
    ("policy", "says_what"),
    [
        ("three times", "to be a RetryPolicy"),
        ({"max_attempts": 3}, "to be a RetryPolicy"),
        ([RetryPolicy(), 3], "to be a RetryPolicy, or a list of them, not 3"),
        (RetryPolicy(max_attempts=0), "max_attempts of at least 1, not 0"),
        (RetryPolicy(initial_interval=-1.0), "initial_interval of at least 0"),
        (RetryPolicy(retry_on=cast("Any", "KeyError")), "'KeyError' in retry_on"),
        (RetryPolicy(retry_on=cast("Any", [KeyError, int])), "<class 'int'> in retry_on"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_when_its_node_is_added(
    policy: Any, says_what: str
) -> None:
    """Not when the node fails, where the mistake would take the place of the node's error."""
    with pytest.raises(GraphDefinitionError, match=f"retry policy of node 'a' .*{says_what}"):
        StateGraph(Items).add_node("a", says(), retry_policy=policy)


def test_metadata_of_a_node_must_be_a_dict() -> None:
    """It is shown in events as one."""
    wrong: Any = "slow"
    with pytest.raises(GraphDefinitionError, match="metadata of node 'a' is a dict, not 'slow'"):
        StateGraph(Items).add_node("a", says(), metadata=wrong)


@pytest.mark.parametrize("schema", [{"items": list}, "Items", Items(items=[]), says])
@pytest.mark.parametrize("where", ["state", "input", "output", "node"])
def test_a_schema_must_be_a_type(schema: Any, where: str) -> None:
    """A dict of types, an instance or a function would be taken for the type of one value."""
    builder = StateGraph(
        schema if where == "state" else Items,
        input_schema=schema if where == "input" else None,
        output_schema=schema if where == "output" else None,
    )
    builder.add_node("a", says(), input_schema=schema if where == "node" else None)
    with pytest.raises(GraphDefinitionError, match="A schema is a type, such as a TypedDict"):
        builder.add_edge(START, "a").compile()


@pytest.mark.parametrize(
    ("state", "others", "says_what"),
    [
        (Items, {"input_schema": list}, "input schema <class 'list'> describes one value"),
        (Items, {"output_schema": int}, "output schema <class 'int'> describes one value"),
        (list, {"input_schema": Items}, "input schema .*Items.* describes keys, but the state has"),
    ],
)
def test_schemas_must_be_of_one_kind(state: Any, others: dict[str, Any], says_what: str) -> None:
    """A state has keys or is one value; an input and an output are the same."""
    builder = StateGraph(state, **others).add_node("a", says()).add_edge(START, "a")
    with pytest.raises(GraphDefinitionError, match=says_what):
        builder.compile()


def test_a_node_of_a_state_with_keys_reads_keys() -> None:
    """One that reads a single value would get nothing."""
    schema: Any = int
    builder = StateGraph(Items).add_node("a", says(), input_schema=schema).add_edge(START, "a")
    with pytest.raises(GraphDefinitionError, match="of node 'a' describes one value"):
        builder.compile()


@pytest.mark.parametrize("what", ["interrupt_before", "interrupt_after"])
def test_a_breakpoint_must_name_a_node(what: str, saver: Saver) -> None:
    """A breakpoint at an unknown node is a mistake when compiling and when calling."""
    with pytest.raises(ConfigError, match=f"{what} names 'no'"):
        chain(("a", says()), saver=saver, **{what: ["no"]})


@pytest.mark.parametrize("what", ["interrupt_before", "interrupt_after"])
async def test_a_breakpoint_of_a_call_must_name_a_node(
    what: str, saver: Saver, config: RunnableConfig
) -> None:
    """The call is refused before it writes anything."""
    graph = chain(("a", says()), saver=saver)
    options: dict[str, Any] = {what: ["no"]}
    with pytest.raises(ConfigError, match=f"{what} names 'no'"):
        await graph.ainvoke({}, config, **options)
    assert (await graph.aget_state(config)).created_at is None


def test_a_checkpointer_must_be_a_saver() -> None:
    """Anything else, such as a path, is refused with what to write."""
    wrong: Any = "state.db"
    with pytest.raises(TypeError, match="The checkpointer is a saver such as InMemorySaver"):
        chain(("a", says()), saver=wrong)


def test_a_mistake_is_a_value_error_too() -> None:
    """Who catches what LangGraph raises catches these."""
    with pytest.raises(ValueError, match="entry point"):
        StateGraph(Items).add_node("a", says()).compile()


@pytest.mark.parametrize(
    ("config", "says_what"),
    [
        (None, "say which thread"),
        ({}, "say which thread"),
        ({"configurable": {}}, "say which thread"),
        ({"configurable": {"thread_id": 1.5}}, "A thread_id is a str, not float"),
        ({"configurable": {"thread_id": ""}}, "1 to 255 printable"),
        ({"configurable": {"thread_id": "a\nb"}}, "1 to 255 printable"),
        ({"configurable": {"thread_id": "x" * 256}}, "1 to 255 printable"),
        ({"configurable": {"thread_id": "a", "checkpoint_id": 7}}, "A checkpoint_id is a str"),
        ({"configurable": []}, "is a dict"),
        ([], "The config is a dict"),
        ({"configurable": {"thread_id": "a"}, "recursion_limit": 0}, "at least 1"),
        ({"configurable": {"thread_id": "a"}, "recursion_limit": "9"}, "at least 1"),
        ({"configurable": {"thread_id": "a"}, "max_concurrency": 0}, "at least 1"),
        ({"configurable": {"thread_id": "a"}, "metadata": {"x": object()}}, "plain JSON"),
        ({"configurable": {"thread_id": "a"}, "metadata": [1]}, "metadata is a dict"),
    ],
)
async def test_a_bad_config_is_refused_with_what_is_wrong(
    config: Any, says_what: str, saver: Saver
) -> None:
    """A call with a checkpointer needs a thread, and every entry must be of its kind."""
    with pytest.raises(ConfigError, match=says_what):
        await chain(("a", says()), saver=saver).ainvoke({}, config)
    assert [info async for info in saver.alist_threads()] == []


@pytest.mark.parametrize(
    ("options", "says_what"),
    [
        ({"durability": "maybe"}, "durability is 'sync', 'async' or 'exit'"),
        ({"on_pending": "maybe"}, "on_pending is 'reject', 'answer' or 'supersede'"),
        ({"stream_mode": "everything"}, "no stream mode 'everything'"),
        ({"stream_mode": ["values", "everything"]}, "no stream mode 'everything'"),
        ({"stream_mode": 5}, "no stream mode 5; there are"),
        ({"stream_mode": [["values"]]}, r"no stream mode \['values'\]"),
        ({"interrupt_before": 5}, "interrupt_before is a list of nodes' names"),
        ({"interrupt_after": [["a"]]}, r"interrupt_after names \['a'\]"),
        ({"by": 5}, "by= names who calls, as text that can be written, not 5"),
        ({"by": "\ud800"}, "by= names who calls, as text that can be written"),
    ],
)
async def test_a_bad_option_is_refused_with_its_choices(
    options: dict[str, Any], says_what: str, saver: Saver, config: RunnableConfig
) -> None:
    """An option that takes one of several words lists them."""
    with pytest.raises(ConfigError, match=says_what):
        await chain(("a", says()), saver=saver).ainvoke({}, config, **options)


@pytest.mark.parametrize(
    ("options", "says_what"),
    [
        ({"filter": 5}, "`filter` is a dict of metadata"),
        ({"filter": ["source"]}, "`filter` is a dict of metadata"),
        ({"limit": "a"}, "`limit` is how many checkpoints"),
        ({"limit": -1}, "`limit` is how many checkpoints"),
        ({"limit": True}, "`limit` is how many checkpoints"),
        ({"limit": 1.5}, "`limit` is how many checkpoints"),
        ({"before": 5}, "`before` is a dict"),
        ({"before": {}}, "`before` is a config with a checkpoint_id"),
        ({"before": {"configurable": 5}}, "`before` is a config with a checkpoint_id"),
        ({"before": {"configurable": {"checkpoint_id": 5}}}, "`before` is a config with"),
    ],
)
async def test_a_history_that_nobody_can_mean_is_refused(
    options: dict[str, Any], says_what: str, saver: Saver, config: RunnableConfig
) -> None:
    """What is to choose among checkpoints must be able to."""
    with pytest.raises(ConfigError, match=says_what):
        await history(chain(("a", says()), saver=saver), config, **options)


@pytest.mark.parametrize(
    ("options", "says_what"),
    [
        ({"as_node": ["a"]}, r"as_node= is the name of one node, not \['a'\]"),
        ({"as_node": 5}, "as_node= is the name of one node"),
        ({"checkpoint_id": 5}, "A checkpoint_id is a str, not 5"),
    ],
)
async def test_an_edit_that_nobody_can_mean_is_refused(
    options: dict[str, Any], says_what: str, saver: Saver, config: RunnableConfig
) -> None:
    """Before the thread is looked at."""
    with pytest.raises(ConfigError, match=says_what):
        await chain(("a", says()), saver=saver).aupdate_state(config, {}, **options)


@pytest.mark.parametrize("wrong", [5, "thread", ["thread"], {"configurable": 5}])
async def test_a_config_that_is_no_dict_is_refused_everywhere(wrong: Any, saver: Saver) -> None:
    """Whatever the call."""
    graph = chain(("a", says()), saver=saver)
    for call in (
        lambda: graph.ainvoke({}, wrong),
        lambda: graph.aget_state(wrong),
        lambda: history(graph, wrong),
        lambda: graph.aupdate_state(wrong, {}),
        lambda: graph.aupdate_state(wrong, {}, checkpoint_id="1"),
        lambda: graph.with_config({"tags": ["x"]}).ainvoke({}, wrong),
    ):
        with pytest.raises(ConfigError, match="is a dict"):
            await call()
    with pytest.raises(ConfigError, match="is a dict"):
        graph.with_config(wrong)


async def test_a_bad_version_is_refused(saver: Saver, config: RunnableConfig) -> None:
    """`astream` knows version v1 and v2."""
    wrong: Any = "v3"
    with pytest.raises(ConfigError, match="version is 'v1' or 'v2', not 'v3'"):
        chain(("a", says()), saver=saver).astream({}, config, version=wrong)


def _nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"inner": inner}
    return inner


@pytest.mark.parametrize(
    "metadata",
    [{"a": object()}, {"a": float("nan")}, {"a": [-float("inf")]}, *map(_nested, range(245, 256))],
)
async def test_metadata_is_stored_as_it_is_or_refused(
    metadata: Any, saver: Saver, config: RunnableConfig
) -> None:
    """What its writing would trip over, or change, is refused when it is given."""
    graph = chain(("a", says("a")), saver=saver)
    try:
        await graph.ainvoke({}, {**config, "metadata": metadata})
    except ConfigError as error:
        assert "plain JSON" in str(error)  # noqa: PT017 - whichever; but nothing in between
        assert (await graph.aget_state(config)).created_at is None
    else:
        saver.hot.take(key_of(config))
        shown = (await graph.aget_state(config)).metadata
        assert shown is not None
        assert shown["inner"] == metadata["inner"]


async def test_what_nodes_and_readers_do_to_metadata_is_not_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """Lists and dicts in it are the run's own, wherever it is shown."""

    async def spoils(state: Items, config: RunnableConfig) -> Items:
        config["metadata"]["tags"].append(object())
        return {"items": ["a"]}

    graph = chain(("a", spoils), ("b", says("b")), saver=saver)
    given: RunnableConfig = {**config, "metadata": {"tags": ["x"]}}
    async for event in graph.astream({}, given, stream_mode="checkpoints"):
        event["metadata"]["tags"].append(object())
    state = await graph.aget_state(config)
    assert state.metadata is not None
    assert (state.values["items"], state.metadata["tags"]) == (["a", "b"], ["x"])


async def test_metadata_of_none_is_no_metadata(saver: Saver, config: RunnableConfig) -> None:
    """Callers that pass on what they were given often pass None."""
    given: Any = {**config, "metadata": None}
    graph = chain(("a", says("a")), saver=saver)
    assert (await graph.ainvoke({}, given))["items"] == ["a"]
    assert "who" not in ((await graph.aget_state(config)).metadata or {})
    await graph.with_config({"metadata": {"who": "me"}}).ainvoke({}, given)
    assert ((await graph.aget_state(config)).metadata or {})["who"] == "me"


async def test_an_integer_names_a_thread_like_its_text(saver: Saver) -> None:
    """`thread_id=7` is the thread "7"."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, {"configurable": {"thread_id": 7}})
    state = await graph.aget_state({"configurable": {"thread_id": "7"}})
    assert state.values["items"] == ["a"]


async def test_a_config_can_be_bound_beneath_those_of_the_calls(saver: Saver) -> None:
    """`with_config` returns another graph, whose calls' own entries count first."""
    graph = chain(("a", says("a")), saver=saver)
    bound = graph.with_config({"configurable": {"thread_id": "bound"}, "metadata": {"who": "me"}})
    await bound.ainvoke({})
    await bound.ainvoke({}, {"configurable": {"thread_id": "own"}, "metadata": {"why": "so"}})
    names = {info.thread_id async for info in saver.alist_threads()}
    assert names == {"bound", "own"}
    own = await bound.aget_state({"configurable": {"thread_id": "own"}})
    assert own.metadata is not None
    assert (own.metadata["who"], own.metadata["why"]) == ("me", "so")
    with pytest.raises(ConfigError, match="say which thread"):
        await graph.ainvoke({})


def test_the_name_of_a_results_questions_is_reserved() -> None:
    """A key or a node of that name could not be told from questions."""
    Reserved = TypedDict("Reserved", {"__interrupt__": str})
    with pytest.raises(GraphDefinitionError, match="__interrupt__"):
        StateGraph(Reserved).add_node("n", lambda s: None).add_edge(START, "n").compile()
    with pytest.raises(GraphDefinitionError, match="reserved"):
        StateGraph(Items).add_node("__interrupt__", lambda s: None)
