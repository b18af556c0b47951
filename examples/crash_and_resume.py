"""The power fails before the letter is sent. Run it again: the letter is not written again."""

import os

from durable_graph import START, MessagesState, StateGraph
from durable_graph_sqlite import SqliteSaver


def write(state: MessagesState) -> MessagesState:
    print("writing")
    return {"messages": [("assistant", "Dear world")]}


def send(state: MessagesState) -> None:
    if "CRASH" in os.environ:
        os.kill(os.getpid(), 9)
    print("sending:", state["messages"][-1].content)


graph = StateGraph(MessagesState).add_sequence([write, send]).add_edge(START, "write")
letters = graph.compile(SqliteSaver("letters.db"))
letters.invoke({"messages": "Write!"}, {"configurable": {"thread_id": "1"}})
