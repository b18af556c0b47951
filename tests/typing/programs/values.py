"""Values of one's own types, kinds of keys, and messages that are pushed."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from durable_graph import START, MessagesState, Overwrite, StateGraph, push_message, register_type
from durable_graph.channels import AnyValue, BinaryOperatorAggregate, EphemeralValue, Topic
from durable_graph.channels import UntrackedValue as Scratch


@dataclass
class Order:
    number: int
    lines: list[str]


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


register_type("shop.Order", Order)
register_type(
    "shop.Money",
    Money,
    lambda money: money.cents,
    lambda data, version: Money(data if version > 1 else 100 * data),
    version=2,
)


class Shop(TypedDict, total=False):
    order: Order
    paid: Money
    guess: Annotated[int, AnyValue]
    hint: Annotated[str, EphemeralValue(str, guard=False)]
    seen: Annotated[list[str], Topic(str, accumulate=True)]
    total: Annotated[int, BinaryOperatorAggregate(int, operator.add)]
    client: Annotated[Any, Scratch]


def pay(state: Shop) -> Shop:
    order = state.get("order") or Order(1, [])
    return {"paid": Money(len(order.lines)), "seen": [str(order.number)], "hint": "paid"}


def again(state: Shop) -> dict[str, Any]:
    return {"seen": Overwrite(["anew"])}


def talk(state: MessagesState) -> MessagesState:
    push_message(("assistant", "one moment"))
    return {"messages": [("assistant", "done")]}


async def main() -> None:
    sold = await shop.ainvoke({"order": Order(7, ["tea"])})
    print(sold["paid"].cents, sold["seen"])
    print((await talks.ainvoke({"messages": "hello"}))["messages"][1].content)


shop = StateGraph(Shop).add_sequence([pay, again]).add_edge(START, "pay").compile()
talks = StateGraph(MessagesState).add_node(talk).add_edge(START, "talk").compile()
