"""Building graphs and calling them."""

from durable_graph.graph.compiled import CompiledGraph
from durable_graph.graph.state_graph import StateGraph
from durable_graph.state.messages import MessagesState, add_messages
from durable_graph.types import END, START

__all__ = ["END", "START", "CompiledGraph", "MessagesState", "StateGraph", "add_messages"]
