# mypy: ignore-errors

# %% imports
from durable_graph import StateGraph, START, END
from typing import TypedDict
from tests.seeds.standins import ChatGroq
from tests.seeds.standins import load_dotenv
from durable_graph import InMemorySaver # this is kind of checkpointer that helps in implementation on checkpointers, this saves all the states in RAM this is mostly used in demo projects in production we use different checkpointers

# %% model
import os
load_dotenv()
key = os.getenv("GROQ_API_KEY")
llm = ChatGroq(model="llama-3.3-70b-versatile", api_key=key)
llm.invoke("hello").content

# %% state
#state

class JokeState(TypedDict):
    topic: str
    joke: str
    explanation : str

# %% generate_joke
def generate_joke(state: JokeState):
    prompt = f"write an joke on topic - {state['topic']} in 20 words"
    joke = llm.invoke(prompt).content
    return {"joke": joke}

# %% generate_explanation
def generate_explanation(state: JokeState):
    prompt = f"write explanation for the joke - {state['joke']} in 30 words"
    explanation = llm.invoke(prompt).content
    return {"explanation": explanation}

# %% graph
graph = StateGraph(JokeState)

graph.add_node("generate_joke", generate_joke)
graph.add_node("generate_explanation", generate_explanation)

graph.add_edge(START, "generate_joke")
graph.add_edge("generate_joke", 'generate_explanation')
graph.add_edge('generate_explanation', END)

# IN ORDER TO MAKE SURE OUR WORKFLOW IMPLEMENT IMPLEMENTS PERSISTENT
#WE MAKE A CHECKPOINTER
checkpointer = InMemorySaver()

workflow = graph.compile(checkpointer=checkpointer) # send checkpointer while compiling the graph

# %% invoke
config1 = {"configurable":{'thread_id': "1"}} # while executing persistence we send a thread id and against that thread id all the state will be stored 

workflow.invoke({"topic":"ai"}, config=config1)

# %% final state
# THIS WILL GIVE THIS FINAL STATE
workflow.get_state(config1)

# %% history
# TO SEE INTERMEDIATE STATE VALUES
list(workflow.get_state_history(config1)) # we see 4 values for all the checkpointer

# %% second thread
config2 = {"configurable":{'thread_id': "2"}} 

workflow.invoke({"topic":"ai"}, config=config2)

list(workflow.get_state_history(config1))

# %% state at a checkpoint
# we will pass checkpoint id to get intermediate state
workflow.get_state({"configurable": {"thread_id": "1", "checkpoint_id": "1f06f8ae-b20d-6bcb-8001-8c40dfcef62e"}})

# %% replay
# and to start execution from the intermediate state and input state is given as none
workflow.invoke(None, {"configurable": {"thread_id": "1", "checkpoint_id": "1f06f8ae-b20d-6bcb-8001-8c40dfcef62e"}})

# %% history after the replay
# we will see more states as we did time travel
list(workflow.get_state_history(config1))

# %% update
# WE CAN CHANGE PARTICULATE STATE VALUE AT ANY CHECKPOINT (at last we changed the topic)

workflow.update_state({"configurable": {"thread_id": "1", "checkpoint_id": "1f06cc6e-7232-6cb1-8000-f71609e6cec5", "checkpoint_ns": ""}}, {'topic':'samosa'})

# %% history after the update
# we will get additional state memory

list(workflow.get_state_history(config1))

# %% invoke for samosa
# Invoking for samosa
workflow.invoke(None, {"configurable": {"thread_id": "1", "checkpoint_id": "1f06f8bd-1120-6842-8000-76b96262123a"}})

# %% history after samosa
list(workflow.get_state_history(config1))
