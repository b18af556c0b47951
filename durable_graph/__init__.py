"""A durable runtime for agents and workflows: graphs whose threads are write-ahead logs.

Build a `StateGraph`, compile it with a saver, call it with a `thread_id`. Every superstep is
stored before the next begins, and a run that was cut off goes on exactly where it was.
"""

from durable_graph.archive import FolderArchive
from durable_graph.cache import InMemoryCache
from durable_graph.engine.control import RunControl
from durable_graph.engine.tasks.asking import interrupt
from durable_graph.engine.tasks.context import get_config, get_store, get_stream_writer
from durable_graph.engine.tasks.pushing import push_message
from durable_graph.engine.tasks.runtime import Runtime, get_runtime
from durable_graph.engine.tasks.steps import step
from durable_graph.errors import NodeError, NodeTimeoutError
from durable_graph.graph.functional import entrypoint, task
from durable_graph.graph.state_graph import StateGraph
from durable_graph.managed import IsLastStep, RemainingSteps
from durable_graph.registry import open_saver, open_store
from durable_graph.saver import InMemorySaver, MemorySaver
from durable_graph.secret import Secret
from durable_graph.state.messages import MessagesState, add_messages
from durable_graph.state.register import register_type
from durable_graph.store import InMemoryStore
from durable_graph.types import (
    END,
    NOT_DONE,
    START,
    CachePolicy,
    Command,
    Interrupt,
    Overwrite,
    RetryPolicy,
    Send,
    StateSnapshot,
    StepClaim,
    TimeoutPolicy,
)

__all__ = [
    "END",
    "NOT_DONE",
    "START",
    "CachePolicy",
    "Command",
    "FolderArchive",
    "InMemoryCache",
    "InMemorySaver",
    "InMemoryStore",
    "Interrupt",
    "IsLastStep",
    "MemorySaver",
    "MessagesState",
    "NodeError",
    "NodeTimeoutError",
    "Overwrite",
    "RemainingSteps",
    "RetryPolicy",
    "RunControl",
    "Runtime",
    "Secret",
    "Send",
    "StateGraph",
    "StateSnapshot",
    "StepClaim",
    "TimeoutPolicy",
    "add_messages",
    "entrypoint",
    "get_config",
    "get_runtime",
    "get_store",
    "get_stream_writer",
    "interrupt",
    "open_saver",
    "open_store",
    "push_message",
    "register_type",
    "step",
    "task",
]
