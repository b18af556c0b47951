"""A change of a thread, all of it or none, however large it is.

What fits goes into one transaction of DynamoDB's. What does not is made so that still one
transaction decides:

1. An intent says which change is under way, so that nothing it leaves is ever lost.
2. What is too large is written under names that nobody else has.
3. The transaction moves the thread on, if it is where it should be, and the intent with it. If the
   transaction itself would be too large, its items lie ready as well, and the thread's item says
   that they are pending.
4. What lies ready is put in its place. Whoever finds a thread with something pending does so
   first; each step checks that it still is.

Who dies before 3 has changed nothing, and leaves an intent whose items are collected. Who dies
after it has changed everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from durable_graph.errors import StorageError
from durable_graph.ports.clock import Clock
from durable_graph_dynamodb.keys import INTENTS, THREAD
from durable_graph_dynamodb.requests import Check, Delete, Put, Request, Update, Where, fits
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.values import Item

__all__ = ["Change", "Changes"]

_STEP: Final = 90


@dataclass(slots=True)
class Change:
    """What happens to one thread in one go.

    Attributes:
        id: a name that no other change has.
        pk: the thread's partition.
        life: what the names of its items begin with.
        thread: what happens to the thread's own item, and how it must be.
        beside: what else has to happen in the same moment, in other partitions.
        puts: items of the thread, without their partition.
        deletes: sort keys of items of the thread.
        parts: items under names that only this change has, which others refer to.
        head: such items that only the thread's own item refers to.
    """

    id: str
    pk: str
    life: str
    thread: Request
    beside: list[Request] = field(default_factory=list)
    puts: list[Item] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    parts: list[Item] = field(default_factory=list)
    head: list[Item] = field(default_factory=list)

    @property
    def inner(self) -> list[Request]:
        """What happens to items of the thread."""
        puts = [Put({"pk": self.pk, **item}) for item in self.puts]
        return [*puts, *(Delete(self.pk, sk) for sk in self.deletes)]


class Changes:
    """Makes changes.

    Args:
        table: where.
        clock: what time it is.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self.collected = 0
        """How many items were collected that changes have left behind."""

    async def make(self, change: Change, what: str) -> bool:
        """Make a change; ``False``, and nothing of it, unless the thread is as it must be.

        Raises:
            OutcomeUnknownError: all of it may have been made.
            StorageError: nothing of it was.
        """
        inner = change.inner
        whole = [change.thread, *change.beside, *inner, *_puts(change.pk, change.parts)]
        if not change.head and fits(whole):
            return await self._table.transact(whole, what)
        await self._announce(change)
        await self._table.put_all(
            {"pk": change.pk, **item} for item in (*change.parts, *change.head)
        )
        thread = change.thread
        staged = not fits([thread, *change.beside, *inner])
        if staged and isinstance(thread, Update):
            await self._stage(change)
            thread = replace(thread, sets={**thread.sets, "pending": change.id})
            inner = []
        announced = Where(equal={"state": "writing"})
        intent = (
            Update(INTENTS, change.id, {"state": "made"}, announced)
            if staged or change.head
            else Delete(INTENTS, change.id, announced)
        )
        if not await self._table.transact([thread, *change.beside, *inner, intent], what):
            await self._withdraw(change.id, change.pk, change.life)
            return False
        if staged:
            # It is made; what is left to do is done by whoever comes next.
            with suppress(StorageError):
                await self.finish(change.pk, change.life, change.id)
        return True

    async def finish(self, pk: str, life: str, id: str) -> None:
        """Put in its place what a change has laid ready, unless somebody has."""
        still = Check(pk, THREAD, Where(equal={"life": life, "pending": id}))
        first, last = _all_of(life, "s", id)
        done: list[tuple[str, str]] = []
        async for page in self._table.range(pk, first, last, limit=_STEP):
            for steps in _by_transaction([_step(item) for item in page]):
                if not await self._table.transact(
                    [still, *steps], "Finishing a change", repeatable=True
                ):
                    return
            done += [(pk, item["sk"]) for item in page]
        over = Update(pk, THREAD, {"pending": None}, still.where)
        if await self._table.write(over, "Finishing a change"):
            await self._table.delete_all(done)
            await self._settle(pk, life, id)

    async def _announce(self, change: Change) -> None:
        intent = {
            "pk": INTENTS,
            "sk": change.id,
            "thread": change.pk,
            "life": change.life,
            "state": "writing",
            "time": int(self._clock.time()),
        }
        await self._table.write(Put(intent), "Announcing a change")

    async def _stage(self, change: Change) -> None:
        items = [
            *({**item, "sk": "", "to": item["sk"]} for item in change.puts),
            *({"to": sk, "gone": True} for sk in change.deletes),
        ]
        await self._table.put_all(
            {**item, "pk": change.pk, "sk": f"{change.life}/s/{change.id}/{number:06}"}
            for number, item in enumerate(items)
        )

    # -- what is left behind -----------------------------------------------------------------------

    def removal(self, id: str, pk: str, life: str) -> Put:
        """The intent to delete all that a thread has held, for the transaction that ends it."""
        return Put(
            {
                "pk": INTENTS,
                "sk": id,
                "thread": pk,
                "life": life,
                "state": "removed",
                "time": int(self._clock.time()),
            }
        )

    async def clear(self, id: str, pk: str, life: str, most: int | None = None) -> int:
        """Delete what a thread has held that is gone, or so many items of it; how many it was."""
        count = await self._delete(pk, f"{life}/", f"{life}/~", most)
        if most is None or count < most:
            await self._table.write(Delete(INTENTS, id), "Clearing up")
        return count

    async def collect(self, intent: Item, most: int) -> int:
        """Clear up after a change that nobody seems to be making any more.

        It is safe to be wrong about that: who still makes it finds its intent gone and has
        changed nothing.

        Args:
            intent: its intent.
            most: how many items may be deleted at once.

        Returns:
            How many were.
        """
        id, pk, life = intent["sk"], intent["thread"], intent["life"]
        if intent["state"] == "removed":
            count = await self.clear(id, pk, life, most)
        elif intent["state"] == "made":
            thread = await self._table.get(pk, THREAD) or {}
            if thread.get("life") == life and thread.get("pending") == id:
                await self.finish(pk, life, id)
                count = 0
            else:
                count = await self._settle(pk, life, id, thread)
        else:
            count = await self._withdraw(id, pk, life)
        self.collected += count
        return count

    async def _withdraw(self, id: str, pk: str, life: str) -> int:
        """Take back what a change has written that was not made."""
        is_not_made = Where(equal={"state": "writing"})
        taken = Update(INTENTS, id, {"state": "withdrawn"}, is_not_made)
        if not await self._table.write(taken, "Withdrawing a change"):
            intent = await self._table.get(INTENTS, id)
            if intent is None or intent["state"] != "withdrawn":
                return 0
        count = 0
        for of in "csh":
            count += await self._delete(pk, *_all_of(life, of, id))
        await self._table.write(Delete(INTENTS, id), "Withdrawing a change")
        return count

    async def _settle(self, pk: str, life: str, id: str, thread: Item | None = None) -> int:
        """Delete what only the making of a change needed, and its head once it has a next one."""
        count = await self._delete(pk, *_all_of(life, "s", id))
        thread = thread or await self._table.get(pk, THREAD) or {}
        if thread.get("life") == life and thread.get("head_at") == id:
            return count
        count += await self._delete(pk, *_all_of(life, "h", id))
        await self._table.write(Delete(INTENTS, id), "Clearing up")
        return count

    async def drop_head(self, pk: str, life: str, id: str) -> None:
        """Delete a head that has a next one."""
        with suppress(StorageError):  # else it is collected
            await self._settle(pk, life, id)

    async def _delete(self, pk: str, first: str, last: str, most: int | None = None) -> int:
        count = 0
        async for page in self._table.range(pk, first, last, limit=most, only=("pk", "sk")):
            await self._table.delete_all((pk, item["sk"]) for item in page)
            count += len(page)
            if most is not None and count >= most:
                break
        return count


def _puts(pk: str, items: list[Item]) -> list[Request]:
    return [Put({"pk": pk, **item}) for item in items]


def _all_of(life: str, of: str, id: str) -> tuple[str, str]:
    return f"{life}/{of}/{id}/", f"{life}/{of}/{id}/~"


def _by_transaction(steps: Sequence[Request]) -> Iterator[list[Request]]:
    some: list[Request] = []
    for step in steps:
        if some and not fits([*some, step]):
            yield some
            some = []
        some.append(step)
    yield some


def _step(item: Item) -> Put | Delete:
    if item.get("gone"):
        return Delete(item["pk"], item["to"])
    rest = {name: value for name, value in item.items() if name not in ("sk", "to")}
    return Put({**rest, "sk": item["to"]})
