# mypy: ignore-errors

# %% layer 4
from durable_graph import StateGraph, START, END
from typing import TypedDict
from tests.seeds.standins import ChatOpenAI
from tests.seeds.standins import load_dotenv
from durable_graph import InMemorySaver

load_dotenv()

llm = ChatOpenAI()

class JokeState(TypedDict):
    topic: str
    joke: str
    explanation: str

def generate_joke(state: JokeState):
    prompt = f"generate a joke on the topic {state['topic']}"
    response = llm.invoke(prompt).content
    return {'joke': response}

def generate_explanation(state: JokeState):
    prompt = f"write an explanation for the joke - {state['joke']}"
    response = llm.invoke(prompt).content
    return {'explanation': response}

graph = StateGraph(JokeState)
graph.add_node('generate_joke', generate_joke)
graph.add_node('generate_explanation', generate_explanation)

graph.add_edge(START, 'generate_joke')
graph.add_edge('generate_joke', 'generate_explanation')
graph.add_edge('generate_explanation', END)

checkpointer = InMemorySaver()
workflow = graph.compile(checkpointer=checkpointer)

config1 = {"configurable": {"thread_id": "1"}}
workflow.invoke({'topic': 'pizza'}, config=config1)

# %% layer 5 invoke
workflow.invoke({'topic':'pizza'}, config=config1)

# %% layer 5 state
workflow.get_state(config1)

# %% layer 5 history
list(workflow.get_state_history(config1))

# %% thread isolation
config2 = {"configurable": {"thread_id": "2"}}
workflow.invoke({'topic': 'pasta'}, config=config2)

# %% first thread
workflow.get_state(config1)

# %% step A inspect
workflow.get_state({
    "configurable": {
        "thread_id": "1",
        "checkpoint_id": "<ID>"
    }
})

# %% step B replay
workflow.invoke(None, {
    "configurable": {
        "thread_id": "1",
        "checkpoint_id": "<ID>"
    }
})

# %% step C fork
workflow.update_state(
    {"configurable": {
        "thread_id": "1",
        "checkpoint_id": "<ID>",
        "checkpoint_ns": ""
    }},
    {'topic': 'samosa'}
)

# %% step C invoke
workflow.invoke(None, {
    "configurable": {
        "thread_id": "1",
        "checkpoint_id": "<new_id>"
    }
})

# %% crash behaviour
graph.invoke(None, config={"configurable": {"thread_id": "thread-1"}})
