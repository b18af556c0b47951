"""Programs that do something outside, or in the database, through steps; and what came of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from durable_graph import NOT_DONE, START, Runtime, StateGraph, StepClaim, step
from durable_graph.errors import EmptyInputError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.ports.backend import Backend
from durable_graph.saver import Saver
from durable_graph.testing import CrashingBackend
from durable_graph.testing.crash import When
from durable_graph_sqlite.backend import SqliteBackend
from tests.crash.harness.graphs import State
from tests.crash.harness.jobs import die
from tests.crash.harness.processes import Line

__all__ = ["ITEMS", "Bank", "charge_all", "order_all", "orders"]

ITEMS: Final = 4


class Bank:
    """Charges as often as it is asked to: it knows no idempotency keys, but can be asked.

    Args:
        folder: where it keeps its books; no crash of a caller takes anything back.
        fatal: "before 2": the process that has it charge customer 2 dies just before; "after 2"
            just after. It happens once.
    """

    def __init__(self, folder: Path, fatal: str = "") -> None:
        self._folder = folder
        self._fatal = fatal

    async def charge(self, customer: int) -> str:
        """Charge a customer."""
        self._perhaps_die(f"before {customer}")
        self._note("charges", str(customer))
        self._perhaps_die(f"after {customer}")
        return f"charged {customer}"

    async def look(self, claim: StepClaim) -> Any:
        """Whether a charge has happened of which nobody knows."""
        (customer,) = claim.args
        self._note("asked", str(customer))
        return f"charged {customer}" if str(customer) in self.charges() else NOT_DONE

    def charges(self) -> list[str]:
        """The customers it has charged, as often as it has."""
        return self._notes("charges")

    def asked(self) -> list[str]:
        """The customers it was asked about."""
        return self._notes("asked")

    def _perhaps_die(self, where: str) -> None:
        if where == self._fatal and where not in self._notes("deaths"):
            self._note("deaths", where)
            die()

    def _note(self, book: str, line: str) -> None:
        file = os.open(self._folder / book, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
        os.write(file, f"{line}\n".encode())
        os.close(file)

    def _notes(self, book: str) -> list[str]:
        path = self._folder / book
        return path.read_text().splitlines() if path.exists() else []


async def charge_all(line: Line, path: Path, folder: Path, fatal: str, at_once: bool) -> Any:
    """Charge every customer through steps of one node, or go on with it."""
    bank = Bank(folder, fatal)

    async def shop(state: State) -> State:
        done: list[str] = []
        calls = [("charge", customer) for customer in range(ITEMS)]
        if at_once:
            futures = [
                step(f"{what} {customer}", bank.charge, customer, reconcile=bank.look)
                for what, customer in calls
            ]
            done = list(await asyncio.gather(*futures))
        else:
            for what, customer in calls:
                key = f"{what} {customer}"
                done.append(await step(key, bank.charge, customer, reconcile=bank.look))
                line.say("charged", customer)
        return {"log": done}

    saver = Saver(SqliteBackend(path))
    graph = StateGraph(State).add_node("shop", shop).add_edge(START, "shop").compile(saver)
    result = await _begin_or_go_on(graph)
    await saver.aclose()
    return result


def order(db: sqlite3.Connection, item: int, fatal: str) -> int:
    """One row, and where it came to stand; the process may die before or after writing it."""
    db.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item INTEGER)")
    if fatal == f"before {item}":
        die()
    number = db.execute("INSERT INTO orders (item) VALUES (?)", (item,)).lastrowid
    if fatal == f"after {item}":
        die()
    return number or 0


def orders(path: Path) -> list[tuple[int, int]]:
    """All rows, as number and item."""
    with closing(sqlite3.connect(path)) as db:
        return [(row[0], row[1]) for row in db.execute("SELECT id, item FROM orders ORDER BY id")]


async def order_all(line: Line, path: Path, fatal: str, die_at: int | None, die_when: When) -> Any:
    """Order every item in transactions of the log's, or go on with it.

    Args:
        line: to whoever watches.
        path: the SQLite file.
        fatal: where in the SQL to die.
        die_at: the storage call to die at.
        die_when: before or after it.
    """

    async def shop(state: State, runtime: Runtime) -> State:
        numbers = []
        for item in range(ITEMS):
            number = await runtime.transaction(
                lambda db, item: order(db, item, fatal), item, key=f"order {item}"
            )
            numbers.append(str(number))
            line.say("ordered", item)
        return {"log": numbers}

    backend: Backend = SqliteBackend(path)
    if die_at is not None:
        backend = CrashingBackend(backend, die_at, die_when, die=die)
    saver = Saver(backend)
    graph = StateGraph(State).add_node("shop", shop).add_edge(START, "shop").compile(saver)
    result = await _begin_or_go_on(graph)
    await saver.aclose()
    return result


async def _begin_or_go_on(graph: CompiledGraph) -> Any:
    try:
        return await graph.ainvoke(None, {"configurable": {"thread_id": "shop"}})
    except EmptyInputError:
        return await graph.ainvoke({"log": []}, {"configurable": {"thread_id": "shop"}})
