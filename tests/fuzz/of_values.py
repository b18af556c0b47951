"""Values: what the codec decodes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import numpy as np
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from durable_graph.errors import IntegrityError
from durable_graph.log.codec import Codec
from durable_graph.state.families import FAMILIES
from durable_graph.state.messages import MESSAGE_TYPES, Message
from durable_graph.state.storable import storable_types
from tests.fuzz.target import Target

__all__ = ["CODEC", "PLAIN", "VALUES", "VALUE_SEEDS"]


@dataclass
class Order:
    """A dataclass of the application's."""

    lines: list[Any]
    when: date | None = None


class Model(BaseModel):
    """A model of the application's."""

    name: str = ""
    price: float = 0.0


class Colour(enum.Enum):
    """An enumeration of the application's."""

    RED = 1
    BLUE = "b"


class Flags(enum.Flag):
    """Flags of the application's."""

    A = enum.auto()
    B = enum.auto()


class Pair(NamedTuple):
    """A named tuple of the application's."""

    one: Any
    two: Any = None


_TYPES: Final = [Order, Model, Colour, Flags, Pair]
CODEC: Final = Codec(
    [*MESSAGE_TYPES, *(entry for kind in _TYPES for entry in storable_types(kind))], FAMILIES
)

_ITSELF, _GOOD = "ab" * 32, "cd" * 32
_BLOBS: Final = {
    _ITSELF: b'[{"~blob":"%b"}]' % _ITSELF.encode(),
    _GOOD: b'{"~tuple":[1,"x"]}',
}

PLAIN: Final[list[bytes]] = [
    b'{"~dict":[[{"~tuple":[1,null]},"x"]]}',
    b'{"~float":"nan"}',
    b'{"~int":"18446744073709551616"}',
    b'{"~str":"7aCA"}',
    b'{"~tuple":[1,{"~set":[1,"a"]}]}',
    b'{"~frozenset":[[],{"~tuple":[]}]}',
    b'{"~deque":[[1,2],3]}',
    b'{"~range":[1,20,3]}',
    b'{"~ordereddict":[["a",1]]}',
    b'{"~counter":[["a",-1]]}',
    b'{"~defaultdict":["list",[["a",[]]]]}',
    b'{"~bytes":"AAE="}',
    b'{"~bytearray":"AAE="}',
    b'{"~memoryview":["AAE=",true]}',
    b'{"~complex":["1.0","-0.0"]}',
    b'{"~decimal":"1.50"}',
    b'{"~fraction":[1,3]}',
    b'{"~datetime":["2020-01-02T03:04:05.000006",1,"Europe/Berlin"]}',
    b'{"~datetime":["2020-01-02T03:04:05",0,[0,3600,0,"x"]]}',
    b'{"~date":"2020-01-02"}',
    b'{"~time":["03:04:05",0,null]}',
    b'{"~timedelta":[1,2,3]}',
    b'{"~zone":"UTC"}',
    b'{"~zone":[0,3600,0]}',
    b'{"~uuid":"01977420-dfe8-7002-8fc5-21d231e9004c"}',
    b'{"~path":["PurePosixPath","a/b"]}',
    b'{"~ip":["IPv4Network","10.0.0.0/8"]}',
    b'{"~ip":["IPv6Address","fe80::1%eth0"]}',
    b'{"~blob":"%b"}' % _ITSELF.encode(),
    b'{"~blob":"%b"}' % _GOOD.encode(),
    b'{"~untracked":"x"}',
]
"""One value of each tag."""

VALUE_SEEDS: Final[list[bytes]] = [
    *PLAIN,
    *map(
        CODEC.encode,
        [
            {"k": [1, 2.5, None, True, "text"], "~k": {"~tuple": 1}},
            Order([{"a": 1}], date(2020, 1, 2)),
            Model(name="x", price=2.0),
            [Colour.RED, Flags.A | Flags.B, Pair(1, PurePosixPath("x"))],
            Message("user", "hello", id="1"),
            AIMessage("hello", id="2", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "3"}]),
            np.arange(6, dtype="<i2").reshape(2, 3),
            np.array([("a", 1.5)], dtype=[("name", "U3"), ("x", "<f8", (1,))])[:0],
            np.array(["2020-01-01"], dtype="M8[D]")[0],
            np.bytes_(b"ab\0"),
            np.str_("x"),
            np.zeros(2, dtype=[]),
        ],
    ),
]


def _read(data: bytes) -> None:
    CODEC.decode(data, _BLOBS)


VALUES: Final = Target("values", _read, (IntegrityError,), VALUE_SEEDS)
