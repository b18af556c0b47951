"""Steps within a task: which is which, and what a recorded one means for the present call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.log.records import Step

__all__ = ["Move", "move", "spelt", "step_id"]

Move: TypeAlias = Literal["return", "run", "claim", "reconcile", "mismatch"]
"""What a call of a step comes to: its recorded result is returned; its function is run; it is
claimed and then run; somebody has to say whether it happened; it is another call than recorded."""


def step_id(within: str, kind: str, name: str, digest: str = "", number: int = 0) -> str:
    """The id of a step: the same in every execution of its task, whatever ran before it.

    Args:
        within: the step that calls it; empty for the node itself.
        kind: see `durable_graph.log.records.Step`.
        name: its key, or its function's name.
        digest: of its arguments, where it has no key that tells it apart.
        number: how often exactly this was called before, in this execution.
    """
    text = "\0".join((within, kind, name, digest, str(number)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def move(recorded: Step | None, digest: str, *, idempotent: bool) -> Move:
    """What a call of a step comes to.

    Args:
        recorded: what is known of it.
        digest: of the arguments it is called with now.
        idempotent: whether it may simply be run again when it may have happened.
    """
    begin: Move = "run" if idempotent else "claim"
    if recorded is None or recorded.state == "failed":
        return begin
    if recorded.digest != digest:
        return "mismatch"
    if recorded.state == "done":
        return "return"
    return "run" if idempotent else "reconcile"


def spelt(codec: Codec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Arguments as bytes, which are equal in every process if the arguments are.

    One that cannot be stored, such as a client or a connection, counts by its type.
    """
    given = [*enumerate(args), *sorted(kwargs.items())]
    try:
        return codec.encode([list(pair) for pair in given])
    except UnstorableValueError:
        return b"\n".join(_spelt_one(codec, name, value) for name, value in given)


def _spelt_one(codec: Codec, name: object, value: Any) -> bytes:
    try:
        return codec.encode([name, value])
    except UnstorableValueError:  # what it is called is all there is that stays the same
        kind = getattr(value, "__qualname__", None) or type(value).__qualname__
        return codec.encode([name]) + str(kind).encode()
