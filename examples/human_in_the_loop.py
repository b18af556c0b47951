"""A run stops at a question, for as long as it takes, and goes on with a person's answer."""

import sys
from typing import Literal, TypedDict

from durable_graph import END, START, Command, StateGraph, interrupt
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver


class Refund(TypedDict, total=False):
    customer: str
    amount: int
    paid: int


def check(refund: Refund) -> Command[Literal["pay", "__end__"]]:
    if refund["amount"] <= 100:
        return Command(goto="pay")
    # The node stops here, and runs again from its first line once there is an answer.
    answer = interrupt(f"Refund {refund['amount']} to {refund['customer']}? yes, no, or an amount")
    if answer == "no":
        return Command(goto=END)
    amount = refund["amount"] if answer == "yes" else int(answer)
    return Command(update={"amount": amount}, goto="pay")


def pay(refund: Refund) -> Refund:
    return {"paid": refund["amount"]}


graph = StateGraph(Refund).add_node(check).add_node(pay).add_edge(START, "check")
config: RunnableConfig = {"configurable": {"thread_id": "order-17"}}

with SqliteSaver("refunds.db") as saver:
    refunds = graph.compile(saver)
    state = refunds.invoke({"customer": "Ada", "amount": 250}, config)
    for question in state.get("__interrupt__", ()):
        print("asked:", question.value)

# The process may end here; whoever has the thread's id can answer, from wherever the file is.
with SqliteSaver("refunds.db") as saver:
    refunds = graph.compile(saver)
    print("waits:", *refunds.get_state(config).next)
    answer = input("answer: ") if sys.stdin.isatty() else "200"
    print(refunds.invoke(Command(resume=answer), config))
