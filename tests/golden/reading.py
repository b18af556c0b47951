"""What a reader sees of a thread, as text: types told apart, sets in order, long values cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from durable_graph import StateSnapshot
from durable_graph.types import PregelTask
from tests.golden.story import Telling

__all__ = ["as_read", "as_ended", "told"]

_LONG = 90
"""Characters of a value of an earlier checkpoint that are shown."""

_NOW = 700
"""Characters of a present value that are shown."""


async def as_read(story: Telling) -> str:
    """State and history of a thread."""
    parts = [await _now(story), "= history, newest first\n"]
    for one in await story.history():
        parts += _checkpoint(one)
    return "\n".join(parts)


async def as_ended(story: Telling, returned: Any) -> str:
    """What a thread came to that was gone on with."""
    return f"\n= gone on with\n\nreturned {told(returned)}\n{await _now(story)}"


async def _now(story: Telling) -> str:
    one = await story.graph.aget_state(story.config())
    return f"status {await story.status()}\n\n" + "\n".join(_checkpoint(one, _NOW))


def told(value: Any, limit: int = _LONG) -> str:
    """A value in one line: like `repr`, but in the same order always, and not too long."""
    text = _told(value)
    if len(text) <= limit:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{text[:limit]}... {len(text)} characters, {digest}"


def _told(value: Any) -> str:
    kind = type(value)
    if kind is dict:
        return "{" + ", ".join(f"{_told(k)}: {_told(v)}" for k, v in value.items()) + "}"
    if kind is list:
        return "[" + ", ".join(map(_told, value)) + "]"
    if kind is tuple:
        return "(" + "".join(f"{_told(item)}, " for item in value) + ")"
    if kind in (set, frozenset):
        return f"{kind.__name__}[{', '.join(sorted(map(_told, value)))}]"
    if isinstance(value, tuple):  # a named one
        return f"{kind.__name__}({', '.join(map(_told, value))})"
    if is_dataclass(value):
        parts = (f"{field.name}={_told(getattr(value, field.name))}" for field in fields(value))
        return f"{kind.__name__}({', '.join(parts)})"
    if isinstance(value, memoryview):
        return f"memoryview({bytes(value)!r}, readonly={value.readonly})"
    if hasattr(value, "dtype"):  # NumPy's: its versions show them differently
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        return f"{kind.__name__}({value.dtype.str} {value.shape} {order} {value.tobytes()!r})"
    return repr(value)


def _checkpoint(one: StateSnapshot, limit: int = _LONG) -> Iterator[str]:
    parent = one.parent_config["configurable"]["checkpoint_id"] if one.parent_config else None
    lines = [f"checkpoint {one.checkpoint_id} after {parent} at {one.created_at}"]
    # Not what every snapshot has for LangGraph's sake: this is about what is stored.
    metadata = {name: value for name, value in (one.metadata or {}).items() if name != "parents"}
    lines.append(f"  metadata {told(metadata)}")
    lines.append(f"  next {told(one.next)}")
    if isinstance(one.values, dict):
        lines += [f"  values {key} = {told(value, limit)}" for key, value in one.values.items()]
    else:
        lines.append(f"  values {told(one.values, limit)}")
    for task in one.tasks:
        lines += _task(task)
    yield "\n".join(lines) + "\n"


def _task(task: PregelTask) -> Iterator[str]:
    yield f"  task {task.id} {task.name}"
    if task.error is not None:
        yield f"    error {task.error}"
    if task.result is not None:
        yield f"    result {told(task.result)}"
    for question in task.interrupts:
        yield f"    asks {question.id} {told(question.value)}"
        if question.response_schema is not None:
            yield f"      of this kind: {told(question.response_schema)}"
        if question.deadline is not None:
            yield f"      until {question.deadline}"
        if question.answer is not None and (question.response_schema or question.deadline):
            value, by, time = question.answer
            yield f"      was answered {told(value)} by {by} at {time}"
