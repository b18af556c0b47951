"""A crash at every call that archiving makes: the thread is in one place, and nothing is left."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from durable_graph import FolderArchive
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.testing.crash import Crash, CrashingBackend, When
from tests.conftest import thread
from tests.runtime.kit import chain, says

CONFIG = thread("archived")


class DyingArchive:
    """An archive that is reached by the process that dies: its calls count with the storage's."""

    def __init__(self, inner: FolderArchive, process: CrashingBackend) -> None:
        self._inner = inner
        self._process = process

    @property
    def url(self) -> str:
        return self._inner.url

    async def put(self, name: str, data: bytes) -> None:
        await self._process._call("put", partial(self._inner.put, name, data))

    async def get(self, name: str) -> bytes | None:
        return await self._process._call("get", partial(self._inner.get, name))

    async def delete(self, name: str) -> None:
        await self._process._call("delete", partial(self._inner.delete, name))

    async def names(self, folder: str) -> Sequence[str]:
        return await self._process._call("names", partial(self._inner.names, folder))

    async def aclose(self) -> None:
        """Nothing is held open."""


async def archive(saver: Saver) -> None:
    """Move the thread to the archive."""
    await saver.aarchive_thread("archived")


async def bring_back(saver: Saver) -> None:
    """Have it back."""
    await chain(("a", says("a")), saver=saver).aget_state(CONFIG)


async def there_and_back(saver: Saver) -> None:
    """Twice there and back: what the first time has left goes with the second."""
    for _ in range(2):
        await archive(saver)
        await bring_back(saver)


PROGRAMS: dict[str, Callable[[Saver], Awaitable[None]]] = {
    "archive": archive,
    "there_and_back": there_and_back,
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", list(PROGRAMS))
async def test_wherever_the_process_dies_the_thread_is_whole(
    name: str, when: When, tmp_path: Path
) -> None:
    """It reads as before, can be archived, brought back and deleted, and no file is left."""
    number, crashed, died_at = 0, True, set()
    while crashed:
        number += 1
        stored = InMemoryBackend()
        folder = tmp_path / str(number)
        living = Saver(stored, archive=FolderArchive(folder))
        graph = chain(("a", says("a")), saver=living)
        await graph.ainvoke({}, CONFIG)
        dying = CrashingBackend(stored, number, when)
        with contextlib.suppress(Crash):
            await PROGRAMS[name](Saver(dying, archive=DyingArchive(FolderArchive(folder), dying)))
        crashed = dying.crashed
        died_at.add(dying.calls[-1])
        if number % 2:  # where it is then does not matter
            assert (await graph.aget_state(CONFIG)).values["items"] == ["a"]
        await living.aarchive_thread("archived")
        assert (await graph.ainvoke({}, CONFIG))["items"] == ["a", "a"]
        await living.aarchive_thread("archived")
        assert len(_files(folder)) == 1
        await living.adelete_thread("archived")
        assert _files(folder) == []
    assert {"put", "remove"} <= died_at
    assert name == "archive" or {"get", "append", "delete"} <= died_at


@pytest.mark.parametrize("by", [None, "ann"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_deleting_dies_it_can_be_done_again(
    when: When, by: str | None, tmp_path: Path
) -> None:
    """A thread in the archive is deleted by the next who tries, file and all, whether it leaves a
    trace or not."""
    number, crashed = 0, True
    while crashed:
        number += 1
        stored = InMemoryBackend()
        folder = tmp_path / str(number)
        living = Saver(stored, archive=FolderArchive(folder))
        graph = chain(("a", says("a")), saver=living)
        await graph.ainvoke({}, CONFIG)
        await living.aarchive_thread("archived")
        dying = CrashingBackend(stored, number, when)
        with contextlib.suppress(Crash):
            saver = Saver(dying, archive=DyingArchive(FolderArchive(folder), dying))
            await saver.threads.delete("archived", by=by)
        crashed = dying.crashed
        await living.threads.delete("archived", by=by)
        assert _files(folder) == []
        assert (await graph.aget_state(CONFIG)).values == {}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
