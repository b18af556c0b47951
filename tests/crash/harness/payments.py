"""A receiver outside, which takes every idempotency key once, and a graph that calls it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from durable_graph import START, Runtime, Send, StateGraph
from durable_graph.errors import EmptyInputError
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.graphs import Part, State
from tests.crash.harness.jobs import die
from tests.crash.harness.processes import Line

__all__ = ["CUSTOMERS", "Payments", "pay_all"]

CUSTOMERS = 4


class Payments:
    """Charges customers, each key once; what it was asked to do is kept apart from what it did.

    Args:
        folder: where it keeps its books; no crash of a caller takes anything back.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "charges").mkdir(parents=True, exist_ok=True)

    def charge(self, key: str, customer: str) -> int:
        """Charge a customer, unless this key has been seen; returns how often it has been."""
        book = os.open(self._folder / "calls", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
        os.write(book, f"{key}\n".encode())
        os.close(book)
        try:
            charge = os.open(
                self._folder / "charges" / key, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666
            )
        except FileExistsError:
            return self.calls().count(key)
        os.write(charge, customer.encode())
        os.close(charge)
        return 1

    def calls(self) -> list[str]:
        """The keys it was called with."""
        return (self._folder / "calls").read_text().split()

    def charges(self) -> list[str]:
        """The customers it has charged, once for each charge."""
        return sorted(path.read_text() for path in (self._folder / "charges").iterdir())


def paying(payments: Payments, fatal: int) -> StateGraph:
    """Charges every customer; after the first charge to one of them, the process dies."""

    async def pay(part: Part, runtime: Runtime) -> State:
        times = payments.charge(runtime.idempotency_key, f"customer {part['number']}")
        if part["number"] == fatal and times == 1:
            die()
        return {"log": [f"charged {part['number']}"]}

    def everyone(state: State) -> list[Send]:
        return [Send("pay", {"number": number}) for number in range(CUSTOMERS)]

    return StateGraph(State).add_node("pay", pay).add_conditional_edges(START, everyone, ["pay"])


async def pay_all(line: Line, path: Path, folder: Path, fatal: int) -> Any:
    """Charge every customer, or go on with it."""
    async with SqliteSaver(path) as saver:
        graph = paying(Payments(folder), fatal).compile(saver)
        try:
            return await graph.ainvoke(None, {"configurable": {"thread_id": "bill"}})
        except EmptyInputError:
            return await graph.ainvoke({"log": []}, {"configurable": {"thread_id": "bill"}})
