"""Items as DynamoDB sends them, and as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from durable_graph.errors import IntegrityError

__all__ = ["Item", "decode", "encode", "size_of"]

Item: TypeAlias = dict[str, Any]
"""An item: text, whole numbers, bytes and flags by name."""

_NUMBER: Final = 22


def encode(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it is sent; what is ``None`` is left out."""
    return {name: _encode(value) for name, value in item.items() if value is not None}


def _encode(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    raise TypeError(f"{type(value).__name__} is not kept in items.")


def decode(item: Mapping[str, Any]) -> Item:
    """An item as it was sent.

    Raises:
        IntegrityError: it has something in it that nobody writes.
    """
    return {name: _decode(name, value) for name, value in item.items()}


def _decode(name: str, value: Mapping[str, Any]) -> Any:
    try:
        ((kind, held),) = value.items()
        if kind == "N":
            return int(held)
        if kind == "B":
            return bytes(held)
        if (kind == "S" and type(held) is str) or (kind == "BOOL" and type(held) is bool):
            return held
    except (ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"An item's attribute {name!r} is damaged.") from error
    raise IntegrityError(f"An item's attribute {name!r} is of a kind that nobody writes: {kind}.")


def size_of(item: Mapping[str, Any]) -> int:
    """How large DynamoDB takes an item to be, or a little more."""
    return sum(len(name) + _size(value) for name, value in item.items() if value is not None)


def _size(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
    return _NUMBER
