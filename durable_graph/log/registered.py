"""Types that are no plain data, under the names that stand for them in stored bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["REGISTRY", "Registry", "TypeCodec", "TypeFamily"]


@dataclass(frozen=True, slots=True)
class TypeCodec:
    """How one type is stored.

    Attributes:
        tag: the name that stands for the type in stored bytes; never change it. Names that begin
            with ``~`` are this library's own, so that no application's class can have one.
        cls: the type; instances of subclasses are not taken.
        encode: turns an instance into storable data.
        decode: turns ``(data, version)`` back into an instance.
        version: stored beside the data and handed to `decode`, which gets its own version and
            earlier ones.
    """

    tag: str
    cls: type[Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any, int], Any]
    version: int = 1


class TypeFamily(Protocol):
    """Types that are looked up when they are met: nobody has to say beforehand that they are."""

    def by_class(self, cls: type[Any]) -> TypeCodec | None:
        """How instances of this class are stored, if they are of the family."""
        ...

    def by_tag(self, tag: str) -> TypeCodec | None:
        """How to read a type by its stored name, if it is of the family.

        Raises:
            UnknownTypeError: it is, but cannot be read in this process as it stands.
        """
        ...


class Registry:
    """The types that the application registered, for all graphs of the process."""

    def __init__(self) -> None:
        self._by_class: dict[type[Any], TypeCodec] = {}
        self._by_tag: dict[str, TypeCodec] = {}

    def add(self, entry: TypeCodec) -> None:
        """Register a type. The same one may come again: a module is run twice, or reloaded.

        Raises:
            ValueError: the name stands for another type, or the type has another name.
        """
        known = self._by_tag.get(entry.tag)
        if known is not None and _name(known.cls) != _name(entry.cls):
            raise ValueError(
                f"The stored name {entry.tag!r} stands for {known.cls!r} already; give "
                f"{entry.cls!r} another one."
            )
        same = self._by_class.get(entry.cls)
        if same is not None and same.tag != entry.tag:
            raise ValueError(
                f"{entry.cls!r} is registered as {same.tag!r} already. To read what was stored "
                f"under another name, keep that name."
            )
        self._by_tag[entry.tag] = self._by_class[entry.cls] = entry

    def by_class(self, cls: type[Any]) -> TypeCodec | None:
        """How instances of this class are stored, if it is registered."""
        return self._by_class.get(cls)

    def by_tag(self, tag: str) -> TypeCodec | None:
        """How to read the type of this stored name, if it is registered."""
        return self._by_tag.get(tag)


REGISTRY = Registry()
"""What `register_type` fills."""


def _name(cls: type[Any]) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
