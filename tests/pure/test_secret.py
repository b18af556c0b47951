"""`Secret`: what it lets out, which is nothing, and where it does not get in."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple

import orjson
import pytest
from pydantic import BaseModel, ConfigDict

from durable_graph import Secret, register_type
from durable_graph.errors import GraphDefinitionError
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.state.storable import storable_types

TOKEN = "canary-2f1c"


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    key: Secret[str]


@dataclass
class Data:
    key: Secret[str]
    name: str = "x"


class Pair(NamedTuple):
    key: Secret[str]


SHOWN: dict[str, Callable[[Secret[str]], str]] = {
    "repr": repr,
    "str": str,
    "f-string": lambda s: f"{s} {s!r} {s!s:>20} {s:>10}",
    "%": lambda s: "%s %r" % (s, s),  # noqa: UP031 - this is what is tried
    "in a list": lambda s: repr([s, (s,), {s: s}]),
    "in an error": lambda s: repr(ValueError("no", s)) + str(ValueError(s)),
    "in a traceback": lambda s: "".join(traceback.format_exception(RuntimeError("failed", s))),
    "in a model": lambda s: repr(Model.model_construct(key=s)),
    "in a dataclass": lambda s: repr(Data(s)) + repr(asdict(Data(s))),
    "in a log": lambda s: logging.LogRecord("n", 1, "p", 1, "%s %r", (s, s), None).getMessage(),
    "by default in JSON": lambda s: json.dumps({"key": s}, default=str),
}


@pytest.mark.parametrize("way", SHOWN)
def test_it_is_not_shown(way: str) -> None:
    """Whichever way it becomes text, that has no part of the value in it."""
    shown = SHOWN[way](Secret(TOKEN))
    assert TOKEN not in shown
    assert "***" in shown
    assert TOKEN in SHOWN[way](TOKEN)  # type: ignore[arg-type]  # the value itself would be


REFUSED: dict[str, Callable[[Any], Any]] = {
    "pickle": pickle.dumps,
    "pickle, by the oldest protocol": lambda s: pickle.dumps(s, 0),
    "json": json.dumps,
    "orjson": orjson.dumps,
    "pydantic": lambda s: Model.model_construct(key=s).model_dump_json(),
    "the codec": Codec().encode,
    "the codec, deep down": lambda s: Codec().encode({"a": [(s,), {"b": s}]}),
    "the codec, as a key": lambda s: Codec().encode({s: 1}),
    "the codec, in a model": lambda s: Codec(storable_types(Model)).encode(Model(key=s)),
    "the codec, in a dataclass": lambda s: Codec(storable_types(Data)).encode(Data(s)),
    "the codec, in a named tuple": lambda s: Codec(storable_types(Pair)).encode(Pair(s)),
}


@pytest.mark.parametrize("way", REFUSED)
def test_it_is_not_written_down(way: str) -> None:
    """Nothing that turns objects into bytes takes it, and no refusal tells what it is."""
    with pytest.raises((TypeError, ValueError)) as refused:
        REFUSED[way](Secret(TOKEN))
    assert TOKEN not in str(refused.value)


def test_the_refusal_says_what_to_do() -> None:
    """Who tries to store one is told where it belongs."""
    with pytest.raises(UnstorableValueError, match=r"Secret has no stored form.*context"):
        Codec().encode(Secret(TOKEN))


def test_an_annotation_gives_it_no_form() -> None:
    """A state's key that is annotated with it stores it no more than another."""
    assert list(storable_types(Annotated[Secret[str], "key"])) == []
    assert list(storable_types(dict[str, Secret[bytes] | None])) == []


def test_nobody_can_give_it_a_form() -> None:
    """`register_type` has no form for it, with functions or without."""
    with pytest.raises(GraphDefinitionError, match="never stored"):
        register_type("secret", Secret, lambda s: s.reveal(), lambda data, version: Secret(data))
    with pytest.raises(GraphDefinitionError, match="never stored"):
        register_type("secret", Secret)


@pytest.mark.parametrize("value", [TOKEN, b"\0bytes", 7, None, ["a"], "\ud800"])
def test_reveal_gives_the_value(value: Any) -> None:
    """It is the very object that was given; two are equal if what they hold is."""
    secret = Secret(value)
    assert secret.reveal() is value
    assert secret == Secret(copy.deepcopy(value))
    assert secret != Secret("other")
    assert secret != value
    assert bool(secret) is bool(value)


def test_values_of_two_kinds_are_two() -> None:
    """A text is not its bytes."""
    assert Secret("a") != Secret(b"a")
    assert len({Secret("a"), Secret(b"a"), Secret("a")}) == 2


def test_copies_are_itself() -> None:
    """What it is part of can be copied, also deeply: a config or a context often is."""
    secret = Secret([1])
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"configurable": {"key": secret}})["configurable"]["key"] is secret


def test_one_is_enough() -> None:
    """A secret within another is a mistake, and attributes are none of anybody's business."""
    with pytest.raises(TypeError, match="already"):
        Secret(Secret("a"))
    with pytest.raises(AttributeError):
        Secret("a").value  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(TypeError):
        vars(Secret("a"))
