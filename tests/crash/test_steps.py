"""Processes die in the middle of steps: nothing is done twice, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from durable_graph.testing.crash import When
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.counts import rounds
from tests.crash.harness.processes import Worker
from tests.crash.harness.stepping import ITEMS, Bank, charge_all, order_all, orders
from tests.crash.harness.trial import in_parallel

CHARGED = [f"charged {customer}" for customer in range(ITEMS)]
NUMBERS = [str(number) for number in range(1, ITEMS + 1)]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_dies_around_an_effect(when: str, at_once: bool, tmp_path: Path) -> None:
    """Just before or just after it: the next process finds out which, and each happens once."""
    for customer in range(ITEMS):
        folder = tmp_path / str(customer)
        folder.mkdir()
        arguments = (folder / "threads.db", folder, f"{when} {customer}", at_once)
        with Worker(charge_all, *arguments) as worker:
            assert worker.end() == ("gone",)
        with Worker(charge_all, *arguments) as worker:
            assert worker.end() == ("ended", {"log": CHARGED})
        bank = Bank(folder)
        assert sorted(bank.charges()) == [str(number) for number in range(ITEMS)]
        assert str(customer) in bank.asked()


def test_processes_are_killed_between_steps(tmp_path: Path) -> None:
    """At any moment, over several lives: each customer is charged once in the end."""

    def one(seed: int, random: random.Random) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        at_once = random.random() < 0.3
        arguments = (folder / "threads.db", folder, "", at_once)
        for _ in range(random.randint(1, 3)):
            with Worker(charge_all, *arguments) as worker:
                if at_once or random.random() < 0.5:
                    worker.poll(random.uniform(0.0, 0.1))
                else:
                    for _ in range(random.randint(1, ITEMS)):
                        worker.next()
                worker.kill()
        with Worker(charge_all, *arguments) as worker:
            assert worker.end() == ("ended", {"log": CHARGED})
        assert sorted(Bank(folder).charges()) == [str(number) for number in range(ITEMS)]

    in_parallel(rounds(25, 500), one)


@pytest.mark.parametrize("when", ["before", "after"])
def test_transactions_survive_a_crash_at_every_storage_call(when: When, tmp_path: Path) -> None:
    """Each row is there once, with the number that the log has as its result."""
    for at in itertools.count(1):
        path = tmp_path / f"{at}.db"
        with Worker(order_all, path, "", at, when) as worker:
            end = worker.end()
        with Worker(order_all, path, "", None, "before") as worker:
            assert worker.end() == ("ended", {"log": NUMBERS})
        _check(path)
        if end != ("gone",):
            assert end == ("ended", {"log": NUMBERS})
            break
    assert at > 2 * ITEMS


@pytest.mark.parametrize("when", ["before", "after"])
def test_transactions_survive_a_crash_within_their_sql(when: str, tmp_path: Path) -> None:
    """Whoever dies with the transaction open has written nothing."""
    for item in range(ITEMS):
        path = tmp_path / f"{item}.db"
        with Worker(order_all, path, f"{when} {item}", None, "before") as worker:
            assert worker.end() == ("gone",)
        with Worker(order_all, path, "", None, "before") as worker:
            assert worker.end() == ("ended", {"log": NUMBERS})
        _check(path)


def test_processes_are_killed_in_transactions(tmp_path: Path) -> None:
    """At any moment, over several lives: each row is there once in the end."""

    def one(seed: int, random: random.Random) -> None:
        path = tmp_path / f"{seed}.db"
        for _ in range(random.randint(1, 4)):
            with Worker(order_all, path, "", None, "before") as worker:
                if random.random() < 0.5:
                    worker.poll(random.uniform(0.0, 0.1))
                else:
                    for _ in range(random.randint(1, ITEMS)):
                        worker.next()
                worker.kill()
        with Worker(order_all, path, "", None, "before") as worker:
            assert worker.end() == ("ended", {"log": NUMBERS})
        _check(path)

    in_parallel(rounds(25, 500), one)


def _check(path: Path) -> None:
    assert orders(path) == [(item + 1, item) for item in range(ITEMS)]

    async def verify() -> None:
        async with SqliteSaver(path) as saver:
            assert await saver.averify("shop") == []

    asyncio.run(verify())
