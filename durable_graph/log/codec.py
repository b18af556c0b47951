"""Values to bytes and back: exact, or refused.

The bytes are JSON. Plain data (``None``, bool, int, float, str, list, dict with str keys) is
stored as itself; everything else as a *tagged* object with exactly one key that starts with
``~``, such as ``{"~tuple":[1,2]}``. A user's dict with such a key, or with a key that is no str,
is stored as ``{"~dict":[[key,value],...]}``, so no user value can look like a tag.

Why a walk before orjson, which is much faster: orjson alone turns NaN into null, tuples into
lists and enums into their values, without a word.

Loading builds only what is listed here or was registered by the application (`TypeCodec`):
bytes name a tag, never a module or a class.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import orjson

from durable_graph.errors import IntegrityError, UnknownTypeError

__all__ = [
    "BlobSource",
    "Codec",
    "TypeCodec",
    "UnstorableValueError",
    "blob_reference",
    "blobs_in",
]

BlobSource: TypeAlias = Mapping[str, bytes]
"""Large values by the digest that stands for them in the encoded bytes."""

_LEAF: Final = frozenset({str, int, bool, type(None)})
_MARK: Final = b'{"~'
_BLOB: Final = "~blob"
_REFERENCE: Final = re.compile(rb'\{"~blob":"([0-9a-f]{64})"\}')
_NO_BLOBS: Final[BlobSource] = {}
_NESTED: Final = "it is nested too deeply, or contains itself"


class UnstorableValueError(TypeError):
    """A value that has no exact stored form. The engine names node and key around it."""


@dataclass(frozen=True, slots=True)
class TypeCodec:
    """How one application type is stored.

    Attributes:
        tag: the name that stands for the type in stored bytes; never change it.
        cls: the type; instances of subclasses are not taken.
        encode: turns an instance into storable data.
        decode: turns ``(data, version)`` back into an instance.
        version: stored beside the data and handed to `decode`.
    """

    tag: str
    cls: type[Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any, int], Any]
    version: int = 1


class Codec:
    """Encodes and decodes values; one per compiled graph, since it knows the graph's types."""

    __slots__ = ("_by_class", "_by_tag")

    def __init__(self, types: Iterable[TypeCodec] = ()) -> None:
        self._by_class: dict[type[Any], TypeCodec] = {}
        self._by_tag: dict[str, TypeCodec] = {}
        for entry in types:
            self._add(entry)

    def _add(self, entry: TypeCodec) -> None:
        other = self._by_tag.setdefault(entry.tag, entry)
        if other.cls is not entry.cls:
            raise ValueError(
                f"Two types want the stored name {entry.tag!r}: {other.cls!r} and "
                f"{entry.cls!r}. Give one of them another name."
            )
        self._by_class[entry.cls] = entry

    def holding(self) -> Codec:
        """A codec for a run that is not stored: what has no stored form is kept as it is."""
        return _HoldingCodec(self._by_class.values())

    def learn(self, types: Iterable[TypeCodec]) -> None:
        """Take on types that came to be known later; what one knows already stays as it is.

        Raises:
            ValueError: two types want the same name.
        """
        for entry in types:
            if entry.cls not in self._by_class:
                self._add(entry)

    def encode(self, value: Any) -> bytes:
        """The stored form of a value.

        Raises:
            UnstorableValueError: there is no form that would come back exactly.
        """
        try:
            plain = value if type(value) in _LEAF else self._walk(value)
        except RecursionError:
            raise UnstorableValueError(_NESTED) from None
        try:
            return orjson.dumps(plain)
        except orjson.JSONEncodeError:
            # It refused what the quick walk lets through: an int beyond 64 bits, a lone
            # surrogate, or nesting beyond its limit. Looking for those costs, so only now.
            return self._encode_strictly(plain)

    def _encode_strictly(self, plain: Any) -> bytes:
        try:
            return orjson.dumps(_strict(plain))
        except UnstorableValueError:
            raise
        except (RecursionError, orjson.JSONEncodeError):
            raise UnstorableValueError(_NESTED) from None

    def decode(self, data: bytes, blobs: BlobSource = _NO_BLOBS) -> Any:
        """The value that was encoded. Every call builds a new one.

        Raises:
            IntegrityError: these bytes are not what `encode` writes.
            UnknownTypeError: they name a type that is not registered.
        """
        try:
            plain = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise IntegrityError(f"A stored value is not readable: {error}.") from error
        if _MARK not in data:  # plain data, the usual case, needs no second walk
            return plain
        try:
            return self._restore(plain, blobs)
        except RecursionError:
            raise IntegrityError("A stored value is nested too deeply.") from None

    def _walk(self, value: Any) -> Any:
        kind = type(value)
        if kind in _LEAF:
            return value
        if kind is dict:
            out = {}
            for key, item in value.items():
                if type(key) is not str or key[:1] == "~":
                    return {"~dict": [[self._walk(k), self._walk(v)] for k, v in value.items()]}
                out[key] = item if type(item) in _LEAF else self._walk(item)
            return out
        if kind is list:
            return [item if type(item) in _LEAF else self._walk(item) for item in value]
        if kind is float:
            return value if math.isfinite(value) else {"~float": repr(value)}
        entry = self._by_class.get(kind)
        if entry is not None:
            return {"~type": [entry.tag, entry.version, self._walk(entry.encode(value))]}
        builtin = _BUILTIN.get(kind)
        return builtin(self, value) if builtin is not None else self._other(value)

    def _other(self, value: Any) -> Any:
        kind = type(value)
        raise UnstorableValueError(
            f"a {kind.__module__}.{kind.__qualname__} has no stored form; use it in the "
            f"state's annotations, or return plain data"
        )

    def _restore(self, plain: Any, blobs: BlobSource) -> Any:
        if type(plain) is list:
            return [self._restore(item, blobs) for item in plain]
        if type(plain) is not dict:
            return plain
        if len(plain) == 1:
            ((tag, content),) = plain.items()
            if tag[:1] == "~":
                return self._untag(tag, content, blobs)
        return {key: self._restore(item, blobs) for key, item in plain.items()}

    def _untag(self, tag: str, content: Any, blobs: BlobSource) -> Any:
        restore = _RESTORE.get(tag)
        if restore is None:
            raise UnknownTypeError(
                f"A stored value has the tag {tag!r}, which this version does not know. It was "
                f"written by a newer one: upgrade, or read it there."
            )
        try:
            return restore(self, content, blobs)
        except IntegrityError:
            raise
        except Exception as error:  # the application's own decoder may raise anything
            raise IntegrityError(f"A stored value with the tag {tag!r} is damaged.") from error

    def _entry(self, tag: Any) -> TypeCodec:
        entry = self._by_tag.get(tag)
        if entry is None:
            raise UnknownTypeError(
                f"A stored value is of the type {tag!r}, which this graph does not register. "
                f"Annotate a state key with it."
            )
        return entry


class _HoldingCodec(Codec):
    """Keeps objects without a stored form by reference, for as long as the run lasts."""

    __slots__ = ("_held",)

    def __init__(self, types: Iterable[TypeCodec] = ()) -> None:
        super().__init__(types)
        self._held: dict[int, Any] = {}

    def _other(self, value: Any) -> Any:
        self._held[id(value)] = value
        return {"~held": id(value)}

    def _untag(self, tag: str, content: Any, blobs: BlobSource) -> Any:
        return self._held[content] if tag == "~held" else super()._untag(tag, content, blobs)


def blob_reference(digest: str) -> bytes:
    """The encoded form that stands for a large value stored by its digest."""
    return b'{"~blob":"%b"}' % digest.encode()


def blobs_in(data: bytes) -> list[str]:
    """The digests of the large values that an encoded value refers to.

    Text in the value cannot be mistaken for a reference: its quotes are escaped.
    """
    return [digest.decode() for digest in _REFERENCE.findall(data)] if _MARK in data else []


def _strict(plain: Any) -> Any:
    """Tag what orjson cannot write in data that has been walked already."""
    kind = type(plain)
    if kind is int and not -(2**63) <= plain < 2**64:
        return {"~int": str(plain) if abs(plain) < 2**4096 else _too_large(plain)}
    if kind is str and not _encodable(plain):
        return {"~str": base64.b64encode(plain.encode("utf-8", "surrogatepass")).decode()}
    if kind is list:
        return [_strict(item) for item in plain]
    if kind is dict:
        if all(map(_encodable, plain)):
            return {key: _strict(item) for key, item in plain.items()}
        return {"~dict": [[_strict(key), _strict(item)] for key, item in plain.items()]}
    return plain


def _too_large(number: int) -> str:
    raise UnstorableValueError(f"an int of {number.bit_length()} bits is too large to store")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _zone(value: datetime | time) -> Any:
    match value.tzinfo:
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
    days, seconds, microseconds, *name = codec._restore(plain, _NO_BLOBS)
    return timezone(timedelta(days, seconds, microseconds), *name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _write_datetime(codec: Codec, value: datetime) -> Any:
    return {"~datetime": [value.replace(tzinfo=None).isoformat(), value.fold, _zone(value)]}


def _read_datetime(codec: Codec, content: Any, blobs: BlobSource) -> datetime:
    text, fold, zone = content
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=_unzone(codec, zone))


def _write_time(codec: Codec, value: time) -> Any:
    return {"~time": [value.replace(tzinfo=None).isoformat(), value.fold, _zone(value)]}


def _read_time(codec: Codec, content: Any, blobs: BlobSource) -> time:
    text, fold, zone = content
    return time.fromisoformat(text).replace(fold=fold, tzinfo=_unzone(codec, zone))


def _sorted(codec: Codec, value: Iterable[Any]) -> list[Any]:
    # A set has no order of its own; one order for one content keeps equal values equal in bytes.
    encoded = sorted(codec.encode(item) for item in value)
    return [orjson.Fragment(item) for item in encoded]


def _bytes(content: Any) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _read_blob(codec: Codec, digest: Any, blobs: BlobSource) -> Any:
    data = blobs.get(digest)
    if data is None:
        raise IntegrityError(f"The large value {digest!r} that a record refers to is missing.")
    return codec.decode(data, blobs)


def _read_type(codec: Codec, content: Any, blobs: BlobSource) -> Any:
    tag, version, payload = content
    return codec._entry(tag).decode(codec._restore(payload, blobs), version)


def _items(codec: Codec, content: Any, blobs: BlobSource) -> list[Any]:
    if type(content) is not list:
        raise ValueError("not a list")
    return [codec._restore(item, blobs) for item in content]


_BUILTIN: Final[dict[type[Any], Callable[[Codec, Any], Any]]] = {
    tuple: lambda codec, v: {"~tuple": [codec._walk(item) for item in v]},
    set: lambda codec, v: {"~set": _sorted(codec, v)},
    frozenset: lambda codec, v: {"~frozenset": _sorted(codec, v)},
    bytes: lambda codec, v: {"~bytes": base64.b64encode(v).decode()},
    bytearray: lambda codec, v: {"~bytearray": base64.b64encode(v).decode()},
    complex: lambda codec, v: {"~complex": [repr(v.real), repr(v.imag)]},
    datetime: _write_datetime,
    date: lambda codec, v: {"~date": v.isoformat()},
    time: _write_time,
    timedelta: lambda codec, v: {"~timedelta": [v.days, v.seconds, v.microseconds]},
    UUID: lambda codec, v: {"~uuid": str(v)},
    Decimal: lambda codec, v: {"~decimal": str(v)},
}

_RESTORE: Final[dict[str, Callable[[Codec, Any, BlobSource], Any]]] = {
    "~dict": lambda codec, c, blobs: {
        codec._restore(key, blobs): codec._restore(item, blobs) for key, item in c
    },
    "~float": lambda codec, c, blobs: float(c),
    "~int": lambda codec, c, blobs: int(c),
    "~str": lambda codec, c, blobs: _bytes(c).decode("utf-8", "surrogatepass"),
    "~tuple": lambda codec, c, blobs: tuple(_items(codec, c, blobs)),
    "~set": lambda codec, c, blobs: set(_items(codec, c, blobs)),
    "~frozenset": lambda codec, c, blobs: frozenset(_items(codec, c, blobs)),
    "~bytes": lambda codec, c, blobs: _bytes(c),
    "~bytearray": lambda codec, c, blobs: bytearray(_bytes(c)),
    "~complex": lambda codec, c, blobs: complex(float(c[0]), float(c[1])),
    "~datetime": _read_datetime,
    "~date": lambda codec, c, blobs: date.fromisoformat(c),
    "~time": _read_time,
    "~timedelta": lambda codec, c, blobs: timedelta(*c),
    "~uuid": lambda codec, c, blobs: UUID(c),
    "~decimal": lambda codec, c, blobs: Decimal(c),
    "~type": _read_type,
    _BLOB: _read_blob,
}
