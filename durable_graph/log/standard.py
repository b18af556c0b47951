"""Values of the standard library's types, and what stands for them in stored bytes.

Each has a tag of its own; what follows the tag is enough to make an equal value of the same type,
and nothing in it names code. Left out on purpose: compiled patterns (compiling is work that
stored data could make as large as it likes), exceptions, and whatever holds a resource.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import pathlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import orjson

from durable_graph.errors import UnknownTypeError

if TYPE_CHECKING:
    from durable_graph.log.codec import BlobSource, Codec

__all__ = ["READERS", "WRITERS", "UnstorableValueError"]


class UnstorableValueError(TypeError):
    """A value that has no exact stored form. The engine names node and key around it."""


_FACTORIES: Final[Mapping[Any, str | None]] = {
    None: None,
    list: "list",
    dict: "dict",
    set: "set",
    int: "int",
    float: "float",
    str: "str",
    tuple: "tuple",
    bool: "bool",
}
"""What a `defaultdict` may make of itself. Any other function is code, which is not stored."""

_FACTORY_OF: Final = {name: factory for factory, name in _FACTORIES.items()}

_PATHS: Final = {
    kind.__name__: kind
    for kind in (
        pathlib.PurePosixPath,
        pathlib.PureWindowsPath,
        pathlib.PosixPath,
        pathlib.WindowsPath,
    )
}

_ADDRESSES: Final = {
    kind.__name__: kind
    for kind in (
        ipaddress.IPv4Address,
        ipaddress.IPv6Address,
        ipaddress.IPv4Network,
        ipaddress.IPv6Network,
        ipaddress.IPv4Interface,
        ipaddress.IPv6Interface,
    )
}


# -- zones of time -----------------------------------------------------------------------------


def _zone(zone: Any) -> Any:
    match zone:
        case None:
            return None
        case ZoneInfo(key=str(key)) as named if type(named) is ZoneInfo and key in _zones():
            return key
        case timezone() as fixed:
            # What pickle would keep: the offset, and the name if it was given one.
            offset, *name = fixed.__getinitargs__()  # type: ignore[attr-defined]
            return [offset.days, offset.seconds, offset.microseconds, *name]
        case other:
            raise UnstorableValueError(f"a time in the zone {other!r} has no stored form")


def _unzone(codec: Codec, plain: Any) -> ZoneInfo | timezone | None:
    if plain is None:
        return None
    if isinstance(plain, str):
        # `ZoneInfo` looks for a zone that it does not know in a module of that name.
        if plain not in _zones():
            raise UnknownTypeError(
                f"A stored time is in the zone {plain!r}, which this machine does not know. "
                f"Install its time zones, or the package tzdata."
            )
        return ZoneInfo(plain)
    parts = codec.restored(plain)
    if type(parts) is not list:  # of a network, a few bytes are millions of addresses
        raise ValueError("no offset")
    days, seconds, microseconds, *name = parts
    return timezone(timedelta(days, seconds, microseconds), *name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _write_moment(tag: str) -> Callable[[Codec, Any], Any]:
    return lambda codec, v: {tag: [v.replace(tzinfo=None).isoformat(), v.fold, _zone(v.tzinfo)]}


def _read_moment(codec: Codec, content: Any, parse: Callable[[str], Any]) -> Any:
    text, fold, zone = content
    return parse(text).replace(fold=fold, tzinfo=_unzone(codec, zone))


# -- collections -------------------------------------------------------------------------------


def _sorted(codec: Codec, value: Iterable[Any]) -> list[Any]:
    # A set has no order of its own; one order for one content keeps equal values equal in bytes.
    encoded = sorted(codec.encode(item) for item in value)
    return [orjson.Fragment(item) for item in encoded]


def _list(codec: Codec, value: Iterable[Any]) -> list[Any]:
    return [codec.walk(item) for item in value]


def _pairs(codec: Codec, value: Mapping[Any, Any]) -> list[Any]:
    return [[codec.walk(key), codec.walk(item)] for key, item in value.items()]


def _write_defaultdict(codec: Codec, value: defaultdict[Any, Any]) -> Any:
    factory: Any = value.default_factory
    if not (factory is None or isinstance(factory, type)) or factory not in _FACTORIES:
        raise UnstorableValueError(
            f"a defaultdict that makes its values with {factory!r} has no stored form; return "
            f"dict(...) of it, or one that makes a list, dict, set, int, float or str"
        )
    return {"~defaultdict": [_FACTORIES[factory], _pairs(codec, value)]}


def _read_defaultdict(codec: Codec, content: Any, blobs: BlobSource) -> defaultdict[Any, Any]:
    name, pairs = content
    made: defaultdict[Any, Any] = defaultdict(_FACTORY_OF[name])
    made.update(_dict(codec, pairs, blobs))
    return made


def _items(codec: Codec, content: Any, blobs: BlobSource) -> list[Any]:
    if type(content) is not list:
        raise ValueError("not a list")
    return [codec.restored(item, blobs) for item in content]


def _dict(codec: Codec, content: Any, blobs: BlobSource) -> dict[Any, Any]:
    return {codec.restored(key, blobs): codec.restored(item, blobs) for key, item in content}


def _read_counter(codec: Codec, content: Any, blobs: BlobSource) -> Counter[Any]:
    # Not by counting: a count may be negative, or no number at all.
    counter: Counter[Any] = Counter()
    for key, count in _dict(codec, content, blobs).items():
        counter[key] = count
    return counter


def _read_deque(codec: Codec, content: Any, blobs: BlobSource) -> deque[Any]:
    items, longest = content
    return deque(_items(codec, items, blobs), longest)


# -- bytes, numbers, names ---------------------------------------------------------------------


def _text(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode()


def _bytes(content: Any) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _write_memoryview(codec: Codec, value: memoryview) -> Any:
    if value.format != "B" or value.ndim != 1 or not value.c_contiguous:
        raise UnstorableValueError(
            "a memoryview of anything but plain bytes has no stored form; return bytes(view)"
        )
    return {"~memoryview": [_text(value), value.readonly]}


def _read_memoryview(codec: Codec, content: Any, blobs: BlobSource) -> memoryview:
    text, readonly = content
    return memoryview(_bytes(text) if readonly else bytearray(_bytes(text)))


def _write_path(codec: Codec, value: pathlib.PurePath) -> Any:
    return {"~path": [type(value).__name__, str(value)]}


def _read_path(codec: Codec, content: Any, blobs: BlobSource) -> pathlib.PurePath:
    name, text = content
    foreign = "PosixPath" if os.name == "nt" else "WindowsPath"
    if name == foreign:
        raise UnknownTypeError(
            f"A stored value is a {name}, which this operating system has no files for. Keep "
            f"paths that go to other systems as text, or as pathlib.Pure{name}."
        )
    return _PATHS[name](codec.restored(text, blobs))


def _write_address(codec: Codec, value: Any) -> Any:
    return {"~ip": [type(value).__name__, str(value)]}


def _read_address(codec: Codec, content: Any, blobs: BlobSource) -> Any:
    name, text = content
    if type(text) is not str:  # a number would be taken for an address, too
        raise ValueError("not a text")
    return _ADDRESSES[name](text)


def _read_range(codec: Codec, content: Any, blobs: BlobSource) -> range:
    start, stop, step = _items(codec, content, blobs)
    return range(start, stop, step)


def _read_fraction(codec: Codec, content: Any, blobs: BlobSource) -> Fraction:
    numerator, denominator = _items(codec, content, blobs)
    # Of a text or a Decimal, a few bytes can make a number with a billion digits.
    if type(numerator) is not int or type(denominator) is not int:
        raise ValueError("not two whole numbers")
    return Fraction(numerator, denominator)


WRITERS: Final[dict[type[Any], Callable[[Codec, Any], Any]]] = {
    tuple: lambda codec, v: {"~tuple": _list(codec, v)},
    set: lambda codec, v: {"~set": _sorted(codec, v)},
    frozenset: lambda codec, v: {"~frozenset": _sorted(codec, v)},
    deque: lambda codec, v: {"~deque": [_list(codec, v), v.maxlen]},
    range: lambda codec, v: {"~range": [v.start, v.stop, v.step]},
    OrderedDict: lambda codec, v: {"~ordereddict": _pairs(codec, v)},
    Counter: lambda codec, v: {"~counter": _pairs(codec, v)},
    defaultdict: _write_defaultdict,
    bytes: lambda codec, v: {"~bytes": _text(v)},
    bytearray: lambda codec, v: {"~bytearray": _text(v)},
    memoryview: _write_memoryview,
    complex: lambda codec, v: {"~complex": [repr(v.real), repr(v.imag)]},
    Decimal: lambda codec, v: {"~decimal": str(v)},
    Fraction: lambda codec, v: {"~fraction": [v.numerator, v.denominator]},
    datetime: _write_moment("~datetime"),
    date: lambda codec, v: {"~date": v.isoformat()},
    time: _write_moment("~time"),
    timedelta: lambda codec, v: {"~timedelta": [v.days, v.seconds, v.microseconds]},
    ZoneInfo: lambda codec, v: {"~zone": _zone(v)},
    timezone: lambda codec, v: {"~zone": _zone(v)},
    UUID: lambda codec, v: {"~uuid": str(v)},
    **dict.fromkeys(_PATHS.values(), _write_path),
    **dict.fromkeys(_ADDRESSES.values(), _write_address),
}

READERS: Final[dict[str, Callable[[Codec, Any, BlobSource], Any]]] = {
    "~dict": _dict,
    "~float": lambda codec, c, blobs: float(c),
    "~int": lambda codec, c, blobs: int(c),
    "~str": lambda codec, c, blobs: _bytes(c).decode("utf-8", "surrogatepass"),
    "~tuple": lambda codec, c, blobs: tuple(_items(codec, c, blobs)),
    "~set": lambda codec, c, blobs: set(_items(codec, c, blobs)),
    "~frozenset": lambda codec, c, blobs: frozenset(_items(codec, c, blobs)),
    "~deque": _read_deque,
    "~range": _read_range,
    "~ordereddict": lambda codec, c, blobs: OrderedDict(_dict(codec, c, blobs)),
    "~counter": _read_counter,
    "~defaultdict": _read_defaultdict,
    "~bytes": lambda codec, c, blobs: _bytes(c),
    "~bytearray": lambda codec, c, blobs: bytearray(_bytes(c)),
    "~memoryview": _read_memoryview,
    "~complex": lambda codec, c, blobs: complex(float(c[0]), float(c[1])),
    "~decimal": lambda codec, c, blobs: Decimal(c),
    "~fraction": _read_fraction,
    "~datetime": lambda codec, c, blobs: _read_moment(codec, c, datetime.fromisoformat),
    "~date": lambda codec, c, blobs: date.fromisoformat(c),
    "~time": lambda codec, c, blobs: _read_moment(codec, c, time.fromisoformat),
    "~timedelta": lambda codec, c, blobs: timedelta(*c),
    "~zone": lambda codec, c, blobs: _unzone(codec, c),
    "~uuid": lambda codec, c, blobs: UUID(c),
    "~path": _read_path,
    "~ip": _read_address,
}
