"""Which texts of a value are searched by meaning: paths such as ``notes[*].text``.

A path is made of names, parted by dots: of a dict's key, or ``*`` for each of its values, or
``{a,b}`` for some of them; with places in a list behind it: ``[0]``, ``[-1]``, or ``[*]`` for
each. ``$`` is the whole value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from durable_graph.errors import StoreError

__all__ = ["Path", "parse_path", "texts_at"]

Path: TypeAlias = tuple["str | int | tuple[str, ...]", ...]
"""Names, places in lists, and several names at once."""

_EACH: Final = "*"
_WHOLE: Final = "$"
_NAME: Final = re.compile(r"\{([^{}]*)\}|([^.\[\]{}]+)")
_PLACE: Final = re.compile(r"\[(-?\d+|\*)\]")


def parse_path(text: Any) -> Path:
    """The steps of a path.

    Raises:
        StoreError: it is none.
    """
    if not isinstance(text, str):
        raise StoreError(f"A path is a text such as 'notes[*].text', not {text!r:.200}.")
    if text in ("", _WHOLE):
        return ()
    steps: list[str | int | tuple[str, ...]] = []
    at = 0
    while at < len(text):
        if (place := _PLACE.match(text, at)) is not None:
            steps.append(_EACH if place[1] == _EACH else int(place[1]))
            at = place.end()
            continue
        if steps:
            if text[at] != ".":
                raise _malformed(text)
            at += 1
        name = _NAME.match(text, at)
        if name is None:
            raise _malformed(text)
        several = None if name[1] is None else tuple(part.strip() for part in name[1].split(","))
        if several is not None and not all(several):
            raise _malformed(text)
        steps.append(name[2] if several is None else several)
        at = name.end()
    return tuple(steps)


def texts_at(value: Any, path: Path) -> list[str]:
    """The texts that a path leads to, in order; what is not a text is written as JSON."""
    found: list[Any] = [value]
    for step in path:
        found = [inner for outer in found for inner in _inner(outer, step)]
    return [_text(one) for one in found if one is not None]


def _inner(outer: Any, step: str | int | tuple[str, ...]) -> Iterable[Any]:
    if isinstance(step, tuple):
        return [outer[name] for name in step if name in outer] if _is_dict(outer) else []
    if isinstance(step, int):
        return [outer[step]] if _is_list(outer) and -len(outer) <= step < len(outer) else []
    if step == _EACH:
        if _is_dict(outer):
            return list(outer.values())
        return list(outer) if _is_list(outer) else []
    return [outer[step]] if _is_dict(outer) and step in outer else []


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return str(value)
    # A date or a message is written as it shows itself: it is for a model to read, not to restore.
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _malformed(text: str) -> StoreError:
    return StoreError(
        f"{text!r:.200} is no path into a value; write it as in 'notes[*].text', 'a.{{b,c}}' or "
        f"'$' for all of it."
    )
