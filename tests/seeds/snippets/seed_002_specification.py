# mypy: ignore-errors

# %% step 1
from durable_graph import MemorySaver
from durable_graph import StateGraph, START, END

# %% step 2
from typing import TypedDict, Optional

class GraphState(TypedDict):
    topic: str
    joke: Optional[str]
    explanation: Optional[str]

# %% step 3
def generate_joke(state: GraphState):
    return {"joke": f"A pizza joke about {state['topic']}."}

def generate_explanation(state: GraphState):
    return {"explanation": f"Explanation for joke: {state['joke']}"}

# %% step 4
builder = StateGraph(GraphState)
builder.add_node("generate_joke", generate_joke)
builder.add_node("generate_explanation", generate_explanation)
builder.add_edge(START, "generate_joke")
builder.add_edge("generate_joke", "generate_explanation")
builder.add_edge("generate_explanation", END)

# %% step 5
memory = MemorySaver()
workflow = builder.compile(checkpointer=memory)

# %% step 6
config = {"configurable": {"thread_id": "1"}}
workflow.invoke({"topic": "Pizza"}, config)

# %% 5.1 final state
final_state = workflow.get_state(config)

# %% 5.2 full history
history = list(workflow.get_state_history(config))

# %% 6 fault tolerance
workflow.invoke(None, {"configurable": {"thread_id": "fault_demo"}})

# %% 7.1 identify checkpoint
hist = list(workflow.get_state_history(config))
checkpoint_id = hist[1].checkpoint_id

# %% 7.2 replay
workflow.invoke(None, {
    "configurable": {
        "thread_id": "1",
        "checkpoint_id": checkpoint_id
    }
})

# %% 7.3 mutation
workflow.update_state(
    {"configurable": {"thread_id": "1"}},
    {"topic": "Samosa"},
    checkpoint_id=checkpoint_id
)

# %% 7.3 resume
workflow.invoke(None, {
    "configurable": {
        "thread_id": "1",
        "checkpoint_id": checkpoint_id
    }
})

# %% how persistence is activated
memory = MemorySaver()
workflow = builder.compile(checkpointer=memory)
workflow.invoke({"topic": "Pizza"}, config={"configurable": {"thread_id": "1"}})
