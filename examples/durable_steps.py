"""An order is charged, stored and sent by one node. Kill it anywhere and run it again: once each.

    CRASH=charging python examples/durable_steps.py
    python examples/durable_steps.py

``CRASH`` is "charging", "charged", "stored" or "sending": where the process dies.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any, TypedDict

from durable_graph import NOT_DONE, START, Runtime, StateGraph, StepClaim, step
from durable_graph_sqlite import SqliteSaver

BANK = Path("bank.txt")
"""Stands for a service outside: it charges whenever it is asked to, but it keeps its books."""


class Order(TypedDict, total=False):
    customer: str
    amount: int
    number: int


def crash(where: str) -> None:
    if os.environ.get("CRASH") == where:
        os.kill(os.getpid(), 9)


def charge(customer: str, amount: int) -> str:
    crash("charging")
    print("charging", customer)
    with BANK.open("a", encoding="utf-8") as books:
        books.write(f"{customer} {amount}\n")
    crash("charged")
    return f"{amount} from {customer}"


def look(claim: StepClaim) -> Any:
    """Called if nobody knows whether `charge` has happened: the bank does."""
    customer, amount = claim.args
    if BANK.exists() and f"{customer} {amount}" in BANK.read_text(encoding="utf-8").splitlines():
        print("had been charged")
        return f"{amount} from {customer}"
    return NOT_DONE


def store(db: sqlite3.Connection, customer: str) -> int:
    """In the same transaction as its record in the log: there is nothing to find out."""
    db.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, customer TEXT)")
    return db.execute("INSERT INTO orders (customer) VALUES (?)", (customer,)).lastrowid or 0


def send(number: int, receipt: str) -> None:
    crash("sending")
    print(f"sending order {number}: {receipt}")


async def shop(order: Order, runtime: Runtime) -> Order:
    receipt = await step("charge", charge, order["customer"], order["amount"], reconcile=look)
    number = await runtime.transaction(store, order["customer"])
    crash("stored")
    # Sent twice, a letter does no harm.
    await step("send", send, number, receipt, idempotent=True)
    return {"number": number}


graph = StateGraph(Order).add_node(shop).add_edge(START, "shop")
with SqliteSaver("shop.db") as saver:
    orders = graph.compile(saver)
    print(orders.invoke({"customer": "Ada", "amount": 5}, {"configurable": {"thread_id": "17"}}))
