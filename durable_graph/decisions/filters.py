"""Which items of a store a search finds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from durable_graph.errors import StoreError

__all__ = ["check_filter", "matches", "matches_namespace"]

_Compare = Callable[[Any, Any], bool]

_ORDERED: Final[Mapping[str, _Compare]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_DEEPEST: Final = 64
_OPERATORS: Final = ("$eq", "$ne", *_ORDERED, "$in", "$exists")
_ABSENT: Final = object()


def check_filter(filter: Mapping[str, Any] | None) -> None:
    """Refuse a filter that does not say what it seems to say.

    Raises:
        StoreError: it is no mapping, or has an operator that there is not, or in a key's place.
    """
    if filter is None:
        return
    if not isinstance(filter, Mapping):
        raise StoreError(f"A filter is a dict such as {{'age': {{'$gt': 3}}}}, not {filter!r}.")
    for key, wanted in filter.items():
        if not isinstance(key, str):
            raise StoreError(f"A filter names keys by texts, not {key!r:.200}.")
        if key.startswith("$"):
            raise StoreError(
                f"A filter begins with the keys of a value, not with {key!r:.200}: all of them "
                f"must hold, each with a value or with {', '.join(_OPERATORS)}, as in "
                f"{{'age': {{'$gt': 3}}}}. For one thing or another, search once for each."
            )
        _check_wanted(key, wanted, 2)


def _check_wanted(key: str, wanted: Any, depth: int) -> None:
    if not isinstance(wanted, Mapping):
        return
    if depth > _DEEPEST:
        raise StoreError(
            f"A filter is at most {_DEEPEST} dicts deep; that of {key!r:.100}... is deeper."
        )
    names = _operators(wanted)
    if not names:
        for inner, value in wanted.items():
            _check_wanted(f"{key}.{inner}", value, depth + 1)
        return
    for name in wanted:
        if name not in _OPERATORS:
            raise StoreError(
                f"The filter of {key!r} has {name!r}; there are {', '.join(_OPERATORS)}."
            )
    one_of, exists = wanted.get("$in", ()), wanted.get("$exists", True)
    if isinstance(one_of, str) or not isinstance(one_of, Collection):
        raise StoreError(f"The filter of {key!r} has $in with {one_of!r:.200}, which is no list.")
    if not isinstance(exists, bool):
        raise StoreError(f"The filter of {key!r} has $exists with {exists!r:.200}; it is a bool.")


def matches(value: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Whether a value has what a filter asks for.

    Each key of the filter stands for a key of the value: with a value, it must equal it; with a
    dict of operators, ``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``, ``$lte``, ``$in`` (one of a
    list) and ``$exists``, all of them must hold; with another dict, there must be a dict that has
    what that asks for, whatever else it has. What is not there, or cannot be compared, is neither
    greater nor less than anything.
    """
    return all(_holds(value.get(key, _ABSENT), wanted) for key, wanted in filter.items())


def matches_namespace(namespace: Sequence[str], kind: str, path: Sequence[str]) -> bool:
    """Whether the beginning ("prefix") or end ("suffix") of a namespace is like a path."""
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if kind == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", word) for word, wanted in zip(part, path, strict=True))


def _operators(wanted: Any) -> list[str]:
    if not isinstance(wanted, Mapping):
        return []
    return [name for name in wanted if isinstance(name, str) and name.startswith("$")]


def _holds(found: Any, wanted: Any) -> bool:
    names = _operators(wanted)
    if names:
        return all(_compare(found, name, wanted[name]) for name in names)
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and matches(found, wanted)
    return _equal(found, wanted)


def _compare(found: Any, name: str, wanted: Any) -> bool:
    if name == "$eq":
        return _equal(found, wanted)
    if name == "$ne":
        return not _equal(found, wanted)
    if name == "$exists":
        return (found is not _ABSENT) is wanted
    if name == "$in":
        return any(_equal(found, one) for one in wanted)
    if found is _ABSENT:
        return False
    try:
        return bool(_ORDERED[name](found, wanted))
    except TypeError:  # a text and a number
        return False


def _equal(found: Any, wanted: Any) -> bool:
    return found is not _ABSENT and bool(found == wanted)
