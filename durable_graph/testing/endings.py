"""How a run ended, as far as a crash may not change it, and how two endings differ."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from durable_graph.state.messages import Message, is_message

__all__ = ["Ending", "comparable", "differences"]

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        values: the state, made comparable.
        asked: the questions that are open.
        path: of each checkpoint, from the first on: what made it, its step, what was due then.
        status: of the thread.
        damage: what is wrong with its log.
        happened: by service, how often each node had each effect.
        wrong: by service, what it complains about.
    """

    values: Any
    asked: Sequence[Any]
    path: Sequence[tuple[str, int, tuple[str, ...]]]
    status: str
    damage: Sequence[str]
    happened: Mapping[str, Counter[tuple[str, str]]]
    wrong: Mapping[str, Sequence[str]]


def comparable(value: Any) -> Any:
    """A value without the ids of messages, which are new in every run."""
    if isinstance(value, Message):
        return {key: comparable(item) for key, item in value.items() if key != "id"}
    if is_message(value):
        bare = copy.copy(value)
        bare.id = None
        return bare
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(comparable, value))
    return value


def differences(expected: Ending, ending: Ending) -> Iterator[str]:
    """What a crash has changed, a line for each thing."""
    for line in ending.damage:
        yield f"the log is damaged: {line}"
    if ending.status != expected.status:
        yield f"the thread is {ending.status}, undisturbed {expected.status}"
    yield from _values(expected.values, ending.values)
    if ending.asked != expected.asked:
        yield f"the open questions are {ending.asked!r}, undisturbed {expected.asked!r}"
    yield from _path(expected.path, ending.path)
    for service, lines in ending.wrong.items():
        for line in lines:
            if line not in expected.wrong[service]:
                yield f"{service}: {line}"
    for service, happened in ending.happened.items():
        for (node, name), times in (expected.happened[service] - happened).items():
            yield f"{service}: {name!r} of node {node!r} is missing ({times} times)"
        # What happened too often in one task is told above, with what to do about it.
        new = happened.keys() - expected.happened[service].keys()
        for node, name in sorted(new):
            yield f"{service}: {name!r} of node {node!r} happens only after a crash"


def _values(expected: Any, got: Any) -> Iterator[str]:
    if not (isinstance(expected, dict) and isinstance(got, dict)):
        if not _same(expected, got):
            yield f"the state is {got!r}, undisturbed {expected!r}"
        return
    for key in [*expected, *(key for key in got if key not in expected)]:
        was, now = expected.get(key, _MISSING), got.get(key, _MISSING)
        if not _same(was, now):
            yield f"the state has {_item(key, now)}, undisturbed {_item(key, was)}"


def _same(one: Any, other: Any) -> bool:
    # Arrays compare element by element, which is no answer, and NaN is not itself.
    try:
        if one is other or bool(one == other):
            return True
    except (ValueError, TypeError):
        pass
    return repr(one) == repr(other)


def _item(key: Any, value: Any) -> str:
    return f"no {key!r}" if value is _MISSING else f"{key!r}: {value!r}"


def _path(
    expected: Sequence[tuple[str, int, tuple[str, ...]]],
    got: Sequence[tuple[str, int, tuple[str, ...]]],
) -> Iterator[str]:
    for number, (was, now) in enumerate(zip(expected, got, strict=False)):
        if was != now:
            yield f"checkpoint {number} is {_point(now)}, undisturbed {_point(was)}"
            return
    if len(expected) != len(got):
        yield f"the history has {len(got)} checkpoints, undisturbed {len(expected)}"


def _point(point: tuple[str, int, tuple[str, ...]]) -> str:
    source, step, due = point
    return f"{source} step {step}, then {', '.join(due) or 'the end'}"
