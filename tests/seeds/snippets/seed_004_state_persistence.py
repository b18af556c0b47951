# mypy: ignore-errors

# %% state
from typing import TypedDict

class State(TypedDict):
    count: int
    done: bool

def increment(state: State):
    print("Incrementing:", state["count"])
    return {"count": state["count"] + 1}

def check_done(state: State):
    done = state["count"] >= 5
    print("Done?", done)
    return {"done": done}

# %% graph
from durable_graph import InMemorySaver

from durable_graph import StateGraph, END

builder = StateGraph(State)

builder.add_node("inc", increment)
builder.add_node("check", check_done)

builder.set_entry_point("inc")
builder.add_edge("inc", "check")

builder.add_conditional_edges(
    "check",
    lambda s: END if s["done"] else "inc",
    {"inc": "inc", END: END}
)


checkpointer = InMemorySaver()
graph = builder.compile(checkpointer=checkpointer)

# %% invoke
config = {"configurable": {"thread_id": "demo"}}

graph.invoke({"count": 0, "done": False}, config)

# %% 5 persistence in code
from durable_graph_sqlite import SqliteSaver

checkpointer = SqliteSaver("state.db")

graph = builder.compile(checkpointer=checkpointer)

# %% 5 running with identity
config = {"configurable": {"thread_id": "user-123"}}
graph.invoke(input_state, config)

# %% 6 recovery
graph.invoke(input_state, config)
