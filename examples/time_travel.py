"""Look at every step of a run, run again from one of them, and from one with another state."""

from typing import TypedDict

from durable_graph import START, InMemorySaver, StateGraph
from durable_graph.types import RunnableConfig


class Joke(TypedDict, total=False):
    topic: str
    joke: str
    explanation: str


def tell(state: Joke) -> Joke:
    print("telling")
    return {"joke": f"Why did the {state['topic']} cross the road?"}


def explain(state: Joke) -> Joke:
    print("explaining")
    return {"explanation": f"{state['joke']} To get to the other side."}


graph = StateGraph(Joke).add_sequence([tell, explain]).add_edge(START, "tell")
jokes = graph.compile(InMemorySaver())
config: RunnableConfig = {"configurable": {"thread_id": "1"}}
jokes.invoke({"topic": "pizza"}, config)

print("\nevery step, the last first")
history = list(jokes.get_state_history(config))
for snapshot in history:
    print(f"  next: {', '.join(snapshot.next) or 'nothing':<9}  {snapshot.values}")

print("\nagain from before the explanation: only that runs")
before = next(snapshot for snapshot in history if snapshot.next == ("explain",))
jokes.invoke(None, before.config)

print("\nfrom the same step, but about samosas: a branch of its own")
edited = jokes.update_state(before.config, {"joke": "Why did the samosa cross the road?"})
print(" ", jokes.invoke(None, edited)["explanation"])

print("\nthe first run is still there")
print(" ", jokes.get_state(history[0].config).values["explanation"])
