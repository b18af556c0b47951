"""Changing a graph over threads that earlier versions of it have written.

A thread goes on with a new version as long as nothing it needs is gone; else that is refused with
`IncompatibleGraphError` before anything runs. Where something has another name or form, say so::

    graph.compile(saver, migrations=[rename_node("draft", "write"), rename_key("txt", "text")])

Reading a thread shows it as this version has it; the first call that goes on with it writes that
down, as one commit with the source "migration". What came before stays stored as it was, and is
shown migrated as well. `check_compat` lists the threads that a version would break; as a command::

    python -m durable_graph.compat module:graph sqlite:///threads.db
"""

from durable_graph.definition.description import Described
from durable_graph.definition.migration import (
    Migration,
    convert_key,
    convert_question,
    convert_result,
    convert_send,
    drop_key,
    rename_key,
    rename_node,
)

__all__ = [
    "Described",
    "Migration",
    "convert_key",
    "convert_question",
    "convert_result",
    "convert_send",
    "drop_key",
    "rename_key",
    "rename_node",
]
