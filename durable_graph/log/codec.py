"""Values to bytes and back: exact, or refused.

The bytes are JSON. Plain data (``None``, bool, int, float, str, list, dict with str keys) is
stored as itself; everything else as a *tagged* object with exactly one key that starts with
``~``, such as ``{"~tuple":[1,2]}``. A user's dict with such a key, or with a key that is no str,
is stored as ``{"~dict":[[key,value],...]}``, so no user value can look like a tag.

Why a walk before orjson, which is much faster: orjson alone turns NaN into null, tuples into
lists and enums into their values, without a word.

Loading builds only what is listed in `standard`, what the graph's annotations mention, and what
was registered by the application: bytes name a tag, never a module or a class.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, TypeAlias

import orjson

from durable_graph.errors import IntegrityError, UnknownTypeError
from durable_graph.log.pieces import BULKY, array_pieces, bytes_of, text_of, write_in_pieces
from durable_graph.log.registered import REGISTRY, TypeCodec, TypeFamily
from durable_graph.log.standard import READERS, WRITERS, UnstorableValueError

__all__ = [
    "ABSENT",
    "BlobSource",
    "Codec",
    "UnstorableValueError",
    "UntrackedCodec",
    "blob_reference",
    "blobs_in",
]

ABSENT: Final = object()
"""What a value that was not stored comes back as, once its run is over."""

BlobSource: TypeAlias = Mapping[str, bytes]
"""Large values by the digest that stands for them in the encoded bytes."""

_LEAF: Final = frozenset({str, int, bool, type(None)})
_MARK: Final = b'{"~'
_BLOB: Final = "~blob"
_REFERENCE: Final = re.compile(rb'\{"~blob":"([0-9a-f]{64})"\}')
_NO_BLOBS: Final[BlobSource] = {}
_NESTED: Final = "it is nested too deeply, or contains itself"


class Codec:
    """Encodes and decodes values; one per compiled graph, since it knows the graph's types.

    Args:
        types: the types that the graph's annotations mention.
        families: where other types are looked up when they are met, after what the application
            has registered.
    """

    __slots__ = ("_by_class", "_by_tag", "_families")

    def __init__(
        self, types: Iterable[TypeCodec] = (), families: Sequence[TypeFamily] = ()
    ) -> None:
        self._by_class: dict[type[Any], TypeCodec] = {}
        self._by_tag: dict[str, TypeCodec] = {}
        self._families = (REGISTRY, *families)
        for entry in types:
            self._take(entry)

    def _take(self, entry: TypeCodec) -> TypeCodec:
        """Know a type from now on.

        Raises:
            ValueError: its stored name stands for another one.
        """
        for other in (self._by_tag.setdefault(entry.tag, entry), REGISTRY.by_tag(entry.tag)):
            if other is not None and other.cls is not entry.cls:
                raise ValueError(
                    f"Two types want the stored name {entry.tag!r}: {other.cls!r} and "
                    f"{entry.cls!r}. Give one of them another name: "
                    f'register_type("another.name", {entry.cls.__name__}).'
                )
        self._by_class[entry.cls] = entry
        return entry

    def holding(self) -> Codec:
        """A codec for a run that is not stored: what has no stored form is kept as it is."""
        return _HoldingCodec(self._by_class.values(), self._families[1:])

    def learn(self, types: Iterable[TypeCodec]) -> None:
        """Take on types that came to be known later; what one knows already stays as it is.

        Raises:
            ValueError: two types want the same name.
        """
        for entry in types:
            if entry.cls not in self._by_class:
                self._take(entry)

    def untracked(self) -> UntrackedCodec | None:
        """The same for one thread, with a place for what is not to be stored."""
        return UntrackedCodec(self._by_class.values(), self._families[1:])

    def encode(self, value: Any) -> bytes:
        """The stored form of a value.

        Raises:
            UnstorableValueError: there is no form that would come back exactly.
        """
        try:
            plain = value if type(value) in _LEAF else self.walk(value)
        except RecursionError:
            raise UnstorableValueError(_NESTED) from None
        try:
            return orjson.dumps(plain)
        except orjson.JSONEncodeError:
            # It refused what the quick walk lets through: an int beyond 64 bits, a lone
            # surrogate, or nesting beyond its limit. Looking for those costs, so only now.
            return self._encode_strictly(plain)

    def encode_in_pieces(self, value: Any) -> bytes:
        """The same as `encode`, of a large value, for a thread: others get their turns.

        Raises:
            UnstorableValueError: there is no form that would come back exactly.
        """
        out = BytesIO()
        try:
            write_in_pieces(value, self.walk, out.write)
        except RecursionError:
            raise UnstorableValueError(_NESTED) from None
        except orjson.JSONEncodeError:
            return self.encode(value)
        return out.getvalue()

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
            if len(data) > BULKY:
                return self._decode_in_pieces(data, blobs)
            plain = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise IntegrityError(f"A stored value is not readable: {error}.") from error
        # Plain data, the usual case, needs no second walk. Not `in`: it tries bytes as a number
        # first, and makes an error for that each time.
        return plain if data.find(_MARK) < 0 else self._tagged(plain, blobs)

    def _tagged(self, plain: Any, blobs: BlobSource) -> Any:
        try:
            return self.restored(plain, blobs)
        except RecursionError:
            raise IntegrityError("A stored value is nested too deeply.") from None

    def _decode_in_pieces(self, data: bytes, blobs: BlobSource) -> Any:
        if data[:1] == b"[" and data[-1:] == b"]":
            value: list[Any] = []
            for inside, elements in array_pieces(data):
                value += self._tagged(elements, blobs) if _MARK in inside else elements
            return value
        if data[:1] == data[-1:] == b'"':
            return text_of(data)
        try:
            content = bytes_of(data)
        except ValueError as error:
            raise IntegrityError("A stored value with the tag '~bytes' is damaged.") from error
        return self._tagged(orjson.loads(data), blobs) if content is None else content

    def walk(self, value: Any) -> Any:
        """A value as plain data with tags, for those who write parts of others."""
        kind = type(value)
        if kind in _LEAF:
            return value
        if kind is dict:
            out = {}
            for key, item in value.items():
                if type(key) is not str or key[:1] == "~":
                    return {"~dict": [[self.walk(k), self.walk(v)] for k, v in value.items()]}
                out[key] = item if type(item) in _LEAF else self.walk(item)
            return out
        if kind is list:
            return [item if type(item) in _LEAF else self.walk(item) for item in value]
        if kind is float:
            return value if math.isfinite(value) else {"~float": repr(value)}
        entry = self._by_class.get(kind)
        if entry is not None:
            return {"~type": [entry.tag, entry.version, self.walk(entry.encode(value))]}
        builtin = WRITERS.get(kind)
        return builtin(self, value) if builtin is not None else self._other(value)

    def _other(self, value: Any) -> Any:
        kind = type(value)
        for family in self._families:
            entry = family.by_class(kind)
            if entry is not None:
                self._take_late(entry)
                return self.walk(value)
        return self._formless(value)

    def _take_late(self, entry: TypeCodec) -> None:
        try:
            self._take(entry)
        except ValueError as error:
            raise UnstorableValueError(str(error)) from None

    def _formless(self, value: Any) -> Any:
        kind = type(value)
        raise UnstorableValueError(
            f"a {kind.__module__}.{kind.__qualname__} has no stored form; {_advice(kind)}"
        )

    def restored(self, plain: Any, blobs: BlobSource = _NO_BLOBS) -> Any:
        """What `walk` made plain, as it was."""
        if type(plain) is list:
            return [self.restored(item, blobs) for item in plain]
        if type(plain) is not dict:
            return plain
        if len(plain) == 1:
            ((tag, content),) = plain.items()
            if tag[:1] == "~":
                return self._untag(tag, content, blobs)
        return {key: self.restored(item, blobs) for key, item in plain.items()}

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
        if entry is not None:
            return entry
        if type(tag) is str:
            # Format 1 had no mark for this library's own types.
            entry = REGISTRY.by_tag(tag) or self._by_tag.get("~" + tag)
            if entry is not None:
                return entry
            for family in self._families:
                entry = family.by_tag(tag)
                if entry is not None:
                    return entry
        raise UnknownTypeError(
            f"A stored value is of the type {tag!r}, which this program does not know. Annotate a "
            f"state key with it, or name it with register_type({tag!r}, ...)."
        )


class _HoldingCodec(Codec):
    """Keeps objects without a stored form by reference, for as long as the run lasts."""

    __slots__ = ("_held",)

    def __init__(
        self, types: Iterable[TypeCodec] = (), families: Sequence[TypeFamily] = ()
    ) -> None:
        super().__init__(types, families)
        self._held: dict[int, Any] = {}

    def untracked(self) -> None:
        """Nothing: what is not stored is held here anyway."""

    def _formless(self, value: Any) -> Any:
        self._held[id(value)] = value
        return {"~held": id(value)}

    def _untag(self, tag: str, content: Any, blobs: BlobSource) -> Any:
        return self._held[content] if tag == "~held" else super()._untag(tag, content, blobs)


class UntrackedCodec(Codec):
    """Lets a run keep values that are not stored: in their place stand names.

    For reading they stand for nothing, unless they are the very run's own.
    """

    __slots__ = ("_kept",)

    def __init__(
        self, types: Iterable[TypeCodec] = (), families: Sequence[TypeFamily] = ()
    ) -> None:
        super().__init__(types, families)
        self._kept: dict[str, Any] = {}

    def forget(self) -> None:
        """A run begins: what those before it have kept is gone."""
        self._kept.clear()

    def keep(self, value: Any, name: str) -> bytes:
        """What stands for a value that is kept, by copy where it can be copied.

        Args:
            value: the value.
            name: one that no other run, of whatever process, has given or will give.
        """
        try:
            self._kept[name] = self.encode(value)
        except UnstorableValueError:
            self._kept[name] = _Held(value)
        return b'{"~untracked":"%b"}' % name.encode()

    def _untag(self, tag: str, content: Any, blobs: BlobSource) -> Any:
        if tag != "~untracked":
            return super()._untag(tag, content, blobs)
        kept = self._kept.get(content, ABSENT)
        if isinstance(kept, bytes):
            return self.decode(kept, blobs)
        return kept.value if isinstance(kept, _Held) else ABSENT


class _Held:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _advice(kind: type[Any]) -> str:
    """What somebody may do who wants to store an instance of a class without a stored form."""
    name = kind.__name__
    if issubclass(kind, re.Pattern):
        return "keep its text, and compile it where it is used"
    if issubclass(kind, BaseException):
        return "keep what you need of it as text, such as repr(error)"
    if name.startswith("Secret"):
        return (
            "it would be written down in clear: keep secrets out of the state, and hand them over "
            "in the context of the call"
        )
    return (
        f"annotate a state key with it if it is a dataclass, model, enum or named tuple, name it "
        f'with register_type("{name}", {name}, ...), or return plain data'
    )


def blob_reference(digest: str) -> bytes:
    """The encoded form that stands for a large value stored by its digest."""
    return b'{"~blob":"%b"}' % digest.encode()


def blobs_in(data: bytes) -> list[str]:
    """The digests of the large values that an encoded value refers to.

    Text in the value cannot be mistaken for a reference: its quotes are escaped.
    """
    if data.find(_MARK) < 0:
        return []
    return [digest.decode() for digest in _REFERENCE.findall(data)]


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


def _read_blob(codec: Codec, digest: Any, blobs: BlobSource) -> Any:
    data = blobs.get(digest)
    if data is None:
        raise IntegrityError(f"The large value {digest!r} that a record refers to is missing.")
    return codec.decode(data, blobs)


def _read_type(codec: Codec, content: Any, blobs: BlobSource) -> Any:
    tag, version, payload = content
    entry = codec._entry(tag)
    if type(version) is not int or version < 1:
        raise ValueError(version)
    if version > entry.version:
        raise UnknownTypeError(
            f"A stored value is of version {version} of the type {tag!r}, of which this program "
            f"knows version {entry.version}. It was written by a newer program: read it there."
        )
    return entry.decode(codec.restored(payload, blobs), version)


_RESTORE: Final[dict[str, Callable[[Codec, Any, BlobSource], Any]]] = {
    **READERS,
    "~type": _read_type,
    "~untracked": lambda codec, c, blobs: ABSENT,
    _BLOB: _read_blob,
}
