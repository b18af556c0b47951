"""What an answer must look like: checked before anything is stored, and made into its type."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from durable_graph import Command, interrupt
from durable_graph.engine.runs.inbox import answer_message
from durable_graph.errors import (
    InvalidAnswerError,
    ResponseSchemaError,
    is_invalid_resume,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, chain, fan, history, identities, key_of

YES_NO = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


class Mood(Enum):
    FINE = "fine"


class Decision(BaseModel):
    model_config = ConfigDict(strict=True)

    ok: bool
    day: date | None = None
    mood: Mood | None = None


class Even(BaseModel):
    number: int = Field(alias="n")

    @field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("not even")
        return number


@dataclass
class Point:
    x: int
    y: int


class Range(TypedDict):
    low: int
    ends: NotRequired[list[End]]


class End(TypedDict, total=False):
    open: bool


def asks(response_schema: Any, question: str = "?") -> Callable[[Items], Awaitable[Items]]:
    """A node that asks for this, and keeps the answer's type and text."""

    async def node(state: Items) -> Items:
        answer = interrupt(question, response_schema=response_schema)
        return {"items": [(type(answer).__name__, repr(answer))]}

    return node


async def refused(
    graph: CompiledGraph, answer: Any, config: RunnableConfig, saver: Saver, match: str
) -> None:
    """See that an answer is refused and changes nothing."""
    before = await identities(saver, config)
    with pytest.raises(InvalidAnswerError, match=match) as caught:
        await graph.ainvoke(Command(resume=answer), config)
    assert is_invalid_resume(caught.value)
    assert await identities(saver, config) == before


GIVEN: list[tuple[Any, Any, str]] = [
    (YES_NO, {"ok": True}, "{'ok': True}"),
    ({"type": ["string", "null"]}, None, "None"),
    (Decision, {"ok": False}, "Decision(ok=False, day=None, mood=None)"),
    (
        Decision,
        {"ok": True, "day": "2026-11-24", "mood": "fine"},
        "Decision(ok=True, day=datetime.date(2026, 11, 24), mood=<Mood.FINE: 'fine'>)",
    ),
    (
        Decision,
        Decision(ok=True, day=date(2026, 11, 24), mood=Mood.FINE),
        "Decision(ok=True, day=datetime.date(2026, 11, 24), mood=<Mood.FINE: 'fine'>)",
    ),
    (Even, {"n": 4}, "Even(number=4)"),
    (Point, {"x": 1, "y": 2}, "Point(x=1, y=2)"),
    (Point, Point(3, 4), "Point(x=3, y=4)"),
    (Range, {"low": 1}, "{'low': 1}"),
    (Range, {"low": 1, "ends": [{"open": True}]}, "{'low': 1, 'ends': [{'open': True}]}"),
    (tuple[int, str], (1, "a"), "(1, 'a')"),
    (set[int], {1}, "{1}"),
    (Literal["yes", "no"], "no", "'no'"),
    (Annotated[int, Field(gt=3)], 4, "4"),
    (bool, False, "False"),
]


@pytest.mark.parametrize(("schema", "answer", "got"), GIVEN, ids=[f"{g[0]}"[:30] for g in GIVEN])
async def test_the_node_gets_an_object_of_its_type(
    schema: Any, answer: Any, got: str, saver: Saver, config: RunnableConfig
) -> None:
    """A JSON schema gives data as it is; a type gives what it makes of the data."""
    graph = chain(("ask", asks(schema)), saver=saver)
    await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume=answer), config))["items"][0][1] == got


WRONG: list[tuple[Any, Any, str]] = [
    (YES_NO, {"ok": "maybe"}, "ok: 'maybe' is not of type 'boolean'"),
    (YES_NO, "yes", "'yes' is not of type 'object'"),
    (YES_NO, None, "None is not of type 'object'"),
    (YES_NO, {"ok": float("nan")}, "no JSON data"),
    (YES_NO, object(), "no JSON data: object is nothing"),
    (Decision, {"mood": "fine"}, "'ok' is a required property"),
    (Decision, {"ok": 1}, "1 is not of type 'boolean'"),
    (Decision, {"ok": True, "mood": "sad"}, "mood: "),
    (Even, {"n": 3}, "not even"),
    (Range, {"ends": []}, "'low' is a required property"),
    (Range, {"low": 1, "ends": [{"open": 0}]}, r"ends\[0\]\.open: 0 is not of type"),
    (Point, {"x": 1}, "'y' is a required property"),
    (Literal["yes", "no"], "maybe", "'maybe' is not one of"),
    (Annotated[int, Field(gt=3)], 3, "3 is less than or equal to"),
]


@pytest.mark.parametrize(("schema", "answer", "match"), WRONG, ids=[w[2][:30] for w in WRONG])
async def test_an_answer_that_does_not_fit_changes_nothing(
    schema: Any, answer: Any, match: str, saver: Saver, config: RunnableConfig
) -> None:
    """It is refused by name, alone or by id, and the question stays open."""
    graph = chain(("ask", asks(schema)), saver=saver)
    (question,) = (await graph.ainvoke({}, config))["__interrupt__"]
    await refused(graph, answer, config, saver, match)
    await refused(graph, {question.id: answer}, config, saver, match)
    assert (await graph.aget_state(config)).interrupts == (question,)


async def test_b4_a_refused_answer_does_not_answer_the_next_question(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing is left of it: the question after the next right answer is open."""

    async def node(state: Items) -> Items:
        first = interrupt("one?", response_schema=YES_NO)
        return {"items": [first, interrupt("two?")]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    await refused(graph, "garbage", config, saver, "not of type")
    rest = await graph.ainvoke(Command(resume={"ok": True}), config)
    assert [question.value for question in rest["__interrupt__"]] == ["two?"]


async def test_of_several_answers_one_wrong_one_refuses_all(
    saver: Saver, config: RunnableConfig
) -> None:
    """Answers of one call are taken as a whole or not at all."""
    graph = fan(("a", asks(YES_NO, "a?")), ("b", asks(YES_NO, "b?")), saver=saver)
    one, two = (await graph.ainvoke({}, config))["__interrupt__"]
    wrong = {one.id: {"ok": True}, two.id: {"ok": None}}
    await refused(graph, wrong, config, saver, f"{two.id}: ok: None")
    assert len((await graph.aget_state(config)).interrupts) == 2


async def test_the_question_shows_what_fits(saver: Saver, config: RunnableConfig) -> None:
    """In the result, in the state, in events and in the history: the JSON schema."""
    graph = chain(("ask", asks(Decision)), saver=saver)
    events = [e async for e in graph.astream({}, config, stream_mode=["updates", "values"])]
    shown = [payload["__interrupt__"][0] for _, payload in events if "__interrupt__" in payload]
    state = (await graph.aget_state(config)).interrupts
    past = (await history(graph, config))[0].interrupts
    schemas = [question.response_schema for question in (*shown, *state, *past)]
    assert schemas == [Decision.model_json_schema()] * 4


async def test_the_id_is_bound_to_the_schema(saver: Saver, config: RunnableConfig) -> None:
    """The same words that allow other answers are another question."""

    async def node(state: Items) -> None:
        async def ask(schema: Any) -> None:
            interrupt("?", response_schema=schema)

        async with asyncio.TaskGroup() as group:
            for schema in (None, YES_NO, {"type": "string"}):
                group.create_task(ask(schema))

    asked = (await chain(("node", node), saver=saver).ainvoke({}, config))["__interrupt__"]
    assert len({question.id for question in asked}) == 3


async def test_another_process_checks_by_the_stored_schema(tmp_path: Path) -> None:
    """Who answers has never run the node, and still no wrong answer is stored."""
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    async with SqliteSaver(tmp_path / "t.db") as saver:
        await chain(("ask", asks(Decision)), saver=saver).ainvoke({}, config)
    async with SqliteSaver(tmp_path / "t.db") as saver:
        graph = chain(("ask", asks(Decision)), saver=saver)
        await refused(graph, {"ok": "maybe"}, config, saver, "not of type 'boolean'")
        result = await graph.ainvoke(Command(resume={"ok": True}), config)
        assert result["items"][0][0] == "Decision"


async def test_what_only_the_type_refuses_elsewhere_is_asked_again(tmp_path: Path) -> None:
    """The schema cannot say it, so the node says it: the caller is told, the question is open."""
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    async with SqliteSaver(tmp_path / "t.db") as saver:
        asked = await chain(("ask", asks(Even)), saver=saver).ainvoke({}, config)
    async with SqliteSaver(tmp_path / "t.db") as saver:
        graph = chain(("ask", asks(Even)), saver=saver)
        with pytest.raises(InvalidAnswerError, match="not even"):
            await graph.ainvoke(Command(resume={"n": 3}), config)
        (again,) = (await graph.aget_state(config)).interrupts
        assert again.value == "?"
        assert again.id != asked["__interrupt__"][0].id
        # By now it is known here what the node takes.
        await refused(graph, {"n": 5}, config, saver, "not even")
        assert (await graph.ainvoke(Command(resume={"n": 6}), config))["items"]
        assert (await graph.aget_state(config)).next == ()


def beside(response_schema: Any, saver: Saver) -> tuple[CompiledGraph, asyncio.Event]:
    """A graph whose question is open while a sibling goes on, until the event is set."""
    go = asyncio.Event()

    async def slow(state: Items) -> None:
        await go.wait()

    return fan(("ask", asks(response_schema)), ("slow", slow), saver=saver), go


async def until_asked(graph: CompiledGraph, config: RunnableConfig, run: asyncio.Task[Any]) -> str:
    for _ in range(10_000):
        if found := (await graph.aget_state(config)).interrupts:
            return found[0].id
        if run.done():
            await run
        await asyncio.sleep(0)
    raise AssertionError("Nothing was asked.")


async def test_an_answer_to_a_running_thread_is_checked_before_it_is_left(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing gets into the inbox that does not fit."""
    graph, go = beside(YES_NO, saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_asked(graph, config, run)
    with pytest.raises(InvalidAnswerError, match="not of type"):
        await graph.ainvoke(Command(resume="yes"), config)
    reading = await saver.backend.read(key_of(config))
    assert reading is not None
    assert not reading.messages
    go.set()
    assert len((await run)["__interrupt__"]) == 1


async def test_the_owner_checks_what_was_left_once_more(
    saver: Saver, config: RunnableConfig
) -> None:
    """A message that nobody has checked is not taken up, and its sender is told why."""
    graph, go = beside(Even, saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    name = await until_asked(graph, config, run)
    encoded = {name: graph.definition.codec.encode({"n": 3})}
    message = answer_message("m", encoded, "mallory", saver.clock.time())
    await saver.backend.post(key_of(config), message)
    go.set()
    assert len((await run)["__interrupt__"]) == 1
    assert (await saver.backend.post(key_of(config), message)).verdict == "invalid"
    assert (await graph.ainvoke(Command(resume={"n": 2}), config))["items"]


async def test_validators_that_fail_are_refusals_only_for_what_was_left(
    saver: Saver, config: RunnableConfig
) -> None:
    """A validator with a fault of its own raises it for the caller, and stops no other's run."""

    class Faulty(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def fail(cls, n: int) -> int:
            raise KeyError(n)

    graph, go = beside(Faulty, saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    name = await until_asked(graph, config, run)
    with pytest.raises(KeyError):
        await graph.ainvoke(Command(resume={"n": 1}), config)
    encoded = {name: graph.definition.codec.encode({"n": 3})}
    await saver.backend.post(key_of(config), answer_message("m", encoded, None, 0.0))
    go.set()
    assert len((await run)["__interrupt__"]) == 1


BAD: list[tuple[Any, str]] = [
    ({"type": "nothing"}, "no JSON schema"),
    ({"$ref": "https://example.com/schema.json"}, "refers to 'https://example.com"),
    ({"$ref": "#/$defs/missing"}, "refers to"),
    ({"type": "string", "pattern": "("}, "is not a 'regex'"),
    ({"default": object()}, "no JSON data"),
    (object(), "cannot be a response_schema"),
    (Callable[[], int], "cannot be a response_schema"),
]


@pytest.mark.parametrize(("schema", "match"), BAD, ids=[case[1] for case in BAD])
async def test_a_schema_that_cannot_be_used_fails_where_it_is_asked(
    schema: Any, match: str, saver: Saver, config: RunnableConfig
) -> None:
    """Rather than at every answer: then the question could never be answered."""
    graph = chain(("ask", asks(schema)), saver=saver)
    with pytest.raises(ResponseSchemaError, match=match):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).interrupts == ()


async def test_references_within_a_schema_are_followed(
    saver: Saver, config: RunnableConfig
) -> None:
    """What stands under $defs counts."""
    schema = {"$ref": "#/$defs/small", "$defs": {"small": {"type": "integer", "maximum": 3}}}
    graph = chain(("ask", asks(schema)), saver=saver)
    await graph.ainvoke({}, config)
    await refused(graph, 4, config, saver, "greater than the maximum")
    assert (await graph.ainvoke(Command(resume=3), config))["items"] == [("int", "3")]


@pytest.mark.parametrize(
    ("package", "schema"),
    [("jsonschema", YES_NO), ("pydantic", Decision), ("jsonschema", Decision)],
)
async def test_a_missing_package_is_named_where_it_is_needed(
    package: str,
    schema: Any,
    saver: Saver,
    config: RunnableConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the question, with what to install; and at an answer that cannot be checked here."""
    graph = chain(("ask", asks(schema)), saver=saver)
    install = r"pip install 'durable-graph\[schema\]'"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        with pytest.raises(ResponseSchemaError, match=install):
            await graph.ainvoke({}, config)
    await graph.ainvoke(None, config)
    before = await identities(saver, config)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "jsonschema", None)
        with pytest.raises(ResponseSchemaError, match=install):
            await graph.ainvoke(Command(resume={"ok": True}), config)
    assert await identities(saver, config) == before
    assert (await graph.ainvoke(Command(resume={"ok": True}), config))["items"]


async def test_a_branch_asks_for_the_same(saver: Saver, config: RunnableConfig) -> None:
    """An answer at an earlier checkpoint is checked like any other."""
    graph = chain(("ask", asks(YES_NO)), saver=saver)
    await graph.ainvoke({}, config)
    asking = (await history(graph, config))[0].config
    await graph.ainvoke(Command(resume={"ok": True}), config)
    before = await identities(saver, config)
    with pytest.raises(InvalidAnswerError):
        await graph.ainvoke(Command(resume="no"), asking)
    assert await identities(saver, config) == before
    branch = await graph.ainvoke(Command(resume={"ok": False}), asking)
    assert branch["items"] == [("dict", "{'ok': False}")]


async def test_an_input_taken_for_the_answer_is_checked(
    saver: Saver, config: RunnableConfig
) -> None:
    """`on_pending="answer"` is an answer like any other."""
    graph = chain(("ask", asks({"required": ["last"]})), saver=saver)
    await graph.ainvoke({}, config)
    with pytest.raises(InvalidAnswerError, match="'last' is a required"):
        await graph.ainvoke({"count": 1}, config, on_pending="answer")
    assert (await graph.ainvoke({"last": 1}, config, on_pending="answer"))["items"]


async def test_nobody_pays_for_a_question_without_a_schema(
    saver: Saver, config: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither package is looked for."""
    for package in ("jsonschema", "pydantic"):
        monkeypatch.setitem(sys.modules, package, None)
    graph = chain(("ask", asks(None)), saver=saver)
    await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume=(1, 2)), config))["items"] == [("tuple", "(1, 2)")]
