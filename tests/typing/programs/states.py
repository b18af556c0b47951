"""States of every kind, and nodes that are annotated as people annotate them."""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel

from durable_graph import END, START, InMemorySaver, MessagesState, StateGraph
from durable_graph.graph.compiled import CompiledGraph


class Joke(TypedDict):
    topic: str
    joke: str
    tags: Annotated[list[str], operator.add]


@dataclass
class Order:
    amount: int = 0
    lines: Annotated[list[str], operator.add] = field(default_factory=list[str])


class Ticket(BaseModel):
    title: str
    done: bool = False


class Topic(TypedDict):
    topic: str


class Draft(TypedDict, total=False):
    draft: str


async def tell(state: Joke) -> dict[str, Any]:
    return {"joke": f"Why did the {state['topic']} cross the road?", "tags": ["new"]}


def charge(order: Order) -> dict[str, object]:
    return {"lines": [f"charged {order.amount}"]}


def close(ticket: Ticket) -> Ticket:
    return Ticket(title=ticket.title, done=True)


def think(state: Topic) -> Draft:
    return {"draft": state["topic"].title()}


def publish(state: Draft) -> dict[str, str]:
    return {"joke": state.get("draft", "")}


def reply(state: MessagesState) -> MessagesState:
    return {"messages": [("assistant", f"{len(state['messages'])} messages")]}


def jokes() -> CompiledGraph[Joke]:
    graph = StateGraph(Joke).add_node(tell).add_edge(START, "tell").add_edge("tell", END)
    return graph.compile(InMemorySaver())


def private() -> CompiledGraph[Joke, Any, Topic, Joke]:
    """Nodes with keys of their own, and an input that has fewer than the state."""
    builder = StateGraph(Joke, input_schema=Topic)
    builder.add_node(think)
    builder.add_node("publish", publish, input_schema=Draft)
    builder.add_node("shout", lambda state: {"joke": state["joke"].upper()})
    builder.add_edge(START, "think")
    builder.add_edge("think", "publish")
    builder.add_edge("publish", "shout")
    return builder.compile()


async def main() -> None:
    told = await jokes().ainvoke({"topic": "log"}, {"configurable": {"thread_id": "1"}})
    print(told["joke"])
    print((await private().ainvoke({"topic": "log"}))["joke"])
    orders = StateGraph(Order).add_node(charge).add_edge(START, "charge").compile()
    print((await orders.ainvoke(Order(amount=5)))["lines"])
    print((await orders.ainvoke({"amount": 7}))["lines"])
    tickets = StateGraph(Ticket).add_node(close).add_edge(START, "close").compile()
    print((await tickets.ainvoke(Ticket(title="fix")))["done"])
    chat = StateGraph(MessagesState).add_node(reply).add_edge(START, "reply").compile()
    print((await chat.ainvoke({"messages": "Hello"}))["messages"][-1].content)
    counters = StateGraph(Annotated[list[int], operator.add])
    counters.add_node("one", lambda state: [1]).add_edge(START, "one")
    print(await counters.compile().ainvoke([0]))


if __name__ == "__main__":
    asyncio.run(main())
