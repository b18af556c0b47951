"""A graph as a node of another, and one that a node calls; each goes on where it was."""

import operator
from typing import Annotated, TypedDict

from durable_graph import START, Command, InMemorySaver, StateGraph, interrupt
from durable_graph.types import RunnableConfig


class Letter(TypedDict, total=False):
    to: str
    text: str
    notes: Annotated[list[str], operator.add]


class Check(TypedDict, total=False):
    text: str
    verdict: str


def write(state: Letter) -> Letter:
    print("  writing")
    return {"text": f"Dear {state['to']},"}


def approve(state: Letter) -> Letter:
    ending = interrupt(f"How is {state['text']!r} to end?")
    return {"text": f"{state['text']} {ending}"}


# It shares the keys that both graphs have.
draft = StateGraph(Letter, output_schema=Check).add_sequence([write, approve])
drafting = draft.add_edge(START, "write").compile()


def check(state: Check) -> Check:
    print(f"  checking {state['text']!r}")
    return {"verdict": "fine" if state["text"].endswith("!") else "dull"}


checking = StateGraph(Check).add_node(check).add_edge(START, "check").compile()


async def review(state: Letter) -> Letter:
    # With another state, it is called; it is a part of this run all the same.
    verdicts = [await checking.ainvoke({"text": text}) for text in state["text"].split(", ")]
    return {"notes": [verdict["verdict"] for verdict in verdicts]}


graph = StateGraph(Letter).add_node("draft", drafting).add_node(review)
graph.add_edge(START, "draft").add_edge("draft", "review")
letters = graph.compile(InMemorySaver())
config: RunnableConfig = {"configurable": {"thread_id": "1"}}

print("it asks from within")
asked = letters.invoke({"to": "Ada"}, config)
print(" ", asked["__interrupt__"][0].value)

print("where it stands")
state = letters.get_state(config, subgraphs=True)
print("  next:", state.next, "and within:", state.tasks[0].state.next)

print("an answer goes on within, and does not write again")
answer: Command[str] = Command(resume="all is well, indeed!")
for way, update in letters.stream(answer, config, subgraphs=True):
    nodes = [*(part.partition(":")[0] for part in way if ":" in part), *update]
    print("  ended:", " > ".join(nodes))

print("the end")
print(" ", letters.get_state(config).values)
