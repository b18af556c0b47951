"""Messages that a node shows and writes while it is still at work."""

from __future__ import annotations

from typing import Any

from durable_graph.engine.tasks.context import running_task
from durable_graph.state.messages import as_messages

__all__ = ["push_message"]


def push_message(message: Any, *, state_key: str | None = "messages") -> Any:
    """Show a message to who watches the run, at once, and write it to the state with the node.

    It becomes part of the state when the node has finished, before what the node returns. A node
    that fails has pushed nothing: when it runs again, it pushes again.

    Args:
        message: a message, a text (from the user), ``(role, text)``, or a dict. One without an
            id gets one that it has again when the node runs again.
        state_key: the key of the state it is written to; ``None`` only to show it.

    Returns:
        The message, with its id.

    Raises:
        InvalidUpdateError: it is no message.
        RuntimeError: called outside a node, or within a step, which writes nothing.
    """
    task = running_task("push_message()")
    if task.step and state_key is not None:
        raise RuntimeError(
            "A step writes nothing to the state, and is not run again when its node is. Return the "
            "message from it and push it in the node, or only show it: state_key=None."
        )
    pushed = task.pushed or []
    nth = f"{task.step or task.due.id}-{len(pushed)}"
    (message,) = as_messages([message], lambda _: nth)
    task.emit_message(message, message.id)
    task.pushed = [*pushed, (state_key, message)]
    return message
