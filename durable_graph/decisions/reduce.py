"""Updates of one key to its next value, and to the operation that says so in the log.

Reducers that are known to append (`operator.add` on lists, `add_messages` with new ids) are not
called: their result is the present value and the update, as it stands in the task's record. Any
other reducer gets copies of its own and runs here, before the superstep is committed and never
after: for each router that wants to see the state, and for the commit. What it did is found by
comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from durable_graph.decisions.freeze import Freezer
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.delta import SAME, Encoded, Op, Rope, Written, apply_op, diff
from durable_graph.state.channel import Channel
from durable_graph.state.messages import merge_messages, message_id
from durable_graph.types import UNSET

__all__ = ["Reducers", "replaces"]


class Reducers:
    """Combines updates with the state of one thread; remembers the ids of its messages."""

    def __init__(self, freezer: Freezer) -> None:
        self._freezer = freezer
        # By key: a value seen, and the ids in it. Valid for that very object only.
        self._ids: dict[str, tuple[Encoded, set[str | None]]] = {}

    def combine(
        self,
        channel: Channel,
        base: Encoded | None,
        writes: Sequence[tuple[int, str, Written]],
    ) -> tuple[Op, Encoded | None]:
        """The operation on a key, and its value after it.

        Args:
            channel: the key.
            base: its present value.
            writes: what was written, in order: due task, node, value.

        Raises:
            InvalidUpdateError: the writes exclude each other, or the reducer failed.
        """
        if channel.reducer is None and len(writes) == 1:  # by far the most frequent
            task, _, written = writes[0]
            if type(written) is bytes:
                return ("w", task), written
            if written == SAME:
                return SAME, base
            return ("w", task), apply_op(base, written, lambda _: ())  # type: ignore[arg-type]
        if channel.fades:
            base = None
        if channel.latest:
            writes = writes[-1:]
        replacing = [(task, node) for task, node, written in writes if replaces(written)]
        if channel.reducer is None or replacing:
            if len(replacing or writes) > 1:
                text = _conflict(channel, writes, bool(replacing))
                raise InvalidUpdateError(text, (task for task, _, _ in writes))
            task = replacing[0][0] if replacing else writes[0][0]
            op: Op = ("w", task)
            (written,) = (w for t, _, w in writes if t == task and (not replacing or replaces(w)))
            if not replacing or len(writes) == 1:
                return op, apply_op(base, op, lambda _: (written,))
            # The task wrote to the key more than once; only the replacing value counts.
            return written, apply_op(base, written, lambda _: ())  # type: ignore[return-value,arg-type]
        grown = self._appended(channel, base, writes)
        if grown is not None:
            return grown
        return self._called(channel, base, writes)

    def _appended(
        self, channel: Channel, base: Encoded | None, writes: Sequence[tuple[int, str, Written]]
    ) -> tuple[Op, Encoded | None] | None:
        if not (base is None or type(base) is Rope or base[:1] == b"["):  # type: ignore[index]
            return None
        if self._freezer.checks_whole(channel.key):
            return None
        if base is None and channel.initial != []:
            return None
        if channel.reducer in (operator.add, operator.iadd, operator.concat):
            if all(type(w) is bytes and w[:1] == b"[" for _, _, w in writes):
                return self._append(base, writes)
            return None
        if channel.messages is not None:
            return self._append_messages(channel.key, base, writes)
        return None

    def _append(
        self, base: Encoded | None, writes: Sequence[tuple[int, str, Written]]
    ) -> tuple[Op, Encoded | None]:
        by_task: dict[int, list[Written]] = {}
        for task, _, written in writes:
            by_task.setdefault(task, []).append(written)
        op: Op = ("a", *by_task)
        return op, apply_op(base, op, by_task.__getitem__)

    def _append_messages(
        self, key: str, base: Encoded | None, writes: Sequence[tuple[int, str, Written]]
    ) -> tuple[Op, Encoded | None] | None:
        known = self._known_ids(key, base)
        fresh: set[str | None] = set()
        for _, _, written in writes:
            # A node that returns the whole conversation with something at its end wrote a
            # change; what it repeated stays as it is.
            if isinstance(written, tuple) and (written[0] != "+" or len(writes) > 1):
                return None
            added = written[1] if isinstance(written, tuple) else written
            for message in self._freezer.thaw(added):
                name = message_id(message)
                if name in known or name in fresh or getattr(message, "type", "") == "remove":
                    return None
                fresh.add(name)
        if type(writes[0][2]) is tuple:
            op: Op = ("w", writes[0][0])
            value = apply_op(base, op, lambda _: (writes[0][2],))
        else:
            op, value = self._append(base, writes)
        if value is not None:
            known |= fresh
            self._ids[key] = (value, known)
        return op, value

    def _known_ids(self, key: str, base: Encoded | None) -> set[str | None]:
        seen = self._ids.get(key)
        if seen is not None and seen[0] is base:
            return seen[1]
        if base is None:
            return set()
        return {message_id(message) for message in self._freezer.thaw(base)}

    def _called(
        self, channel: Channel, base: Encoded | None, writes: Sequence[tuple[int, str, Written]]
    ) -> tuple[Op, Encoded | None]:
        thaw = self._freezer.thaw
        value = thaw(base) if base is not None else _copy_of_initial(self._freezer, channel)
        reducer = merge_messages if channel.messages is not None else channel.reducer
        whole = []
        for task, node, written in writes:
            absolute = apply_op(base, written, lambda _: ()) if type(written) is tuple else written
            update = thaw(absolute)  # type: ignore[arg-type]
            whole.append(written)
            try:
                value = update if value is UNSET else reducer(value, update)  # type: ignore[misc]
            except Exception as error:
                raise InvalidUpdateError(
                    f"The reducer of {channel.key!r} failed on what node {node!r} wrote: "
                    f"{type(error).__name__}: {error}",
                    (task,),
                ) from error
        try:
            encoded = self._freezer.reduced(channel.key, value)
        except InvalidUpdateError as error:
            error.tasks = frozenset(task for task, _, _ in writes)
            raise
        op = _by_reference(diff(base, encoded), writes)
        # The value is kept as the operation makes it, so that it grows as a rope.
        by_task: dict[int, list[Written]] = {}
        for task, _, written in writes:
            by_task.setdefault(task, []).append(written)
        return op, apply_op(base, op, by_task.__getitem__)


def _by_reference(op: Op, writes: Sequence[tuple[int, str, Written]]) -> Op:
    """The same operation by reference to the task's record, if what it holds stands there."""
    if op[0] == "=" and len(writes) == 1 and writes[0][2] == op[1]:
        return ("w", writes[0][0])
    if op[0] == "+" and all(type(w) is bytes and w[:1] == b"[" for _, _, w in writes):
        parts = [w[1:-1] for _, _, w in writes if len(w) > 2]
        if op[1][1:-1] == b",".join(parts):  # type: ignore[arg-type]
            return ("a", *dict.fromkeys(task for task, _, _ in writes))
    return op


def replaces(written: Written) -> bool:
    """Whether an update takes the place of the value, whatever the reducer."""
    return type(written) is tuple and written[0] == "="


def _copy_of_initial(freezer: Freezer, channel: Channel) -> Any:
    if channel.initial is UNSET:
        return UNSET
    return freezer.thaw(freezer.value(channel.initial, f"The first value of {channel.key!r}"))


def _conflict(channel: Channel, writes: Sequence[tuple[int, str, Written]], replacing: bool) -> str:
    nodes = ", ".join(repr(node) for node in dict.fromkeys(node for _, node, _ in writes))
    if replacing:
        return (
            f"{nodes} replaced {channel.key!r} more than once in one superstep; "
            f"only one Overwrite can hold."
        )
    return (
        f"{nodes} wrote more than one value to {channel.key!r} in one superstep. Give the key a "
        f"reducer, Annotated[..., combine], to say what several values mean."
    )
