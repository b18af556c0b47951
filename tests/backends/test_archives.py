"""What an archive has to do, over each of them; and threads of any saver in a bucket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from durable_graph import FolderArchive
from durable_graph.archive import Archive
from durable_graph.errors import StorageError
from durable_graph_s3 import S3Archive
from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import counting, thread
from tests.services import aws


@pytest_asyncio.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.services)])
async def reopen(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Callable[[], Archive]]:
    """Opens the archive, as often as one likes."""
    if request.param == "folder":
        yield lambda: FolderArchive(tmp_path / "archive")
        return
    bucket = await aws.fresh_bucket()
    made: list[S3Archive] = []

    def open() -> Archive:
        url = f"s3://{bucket}/cold/threads"
        made.append(S3Archive(url, session=aws.session(), **aws.options()))
        return made[-1]

    yield open
    for archive in made:
        await archive.aclose()


async def test_what_is_put_is_there(reopen: Callable[[], Archive]) -> None:
    """A file is read as it was stored, also by somebody else, until it is deleted."""
    data = bytes(range(256)) * 1000
    await reopen().put("a/b/1.thread", data)
    archive = reopen()
    assert await archive.get("a/b/1.thread") == data
    assert await archive.get("a/b/2.thread") is None
    await archive.delete("a/b/1.thread")
    await archive.delete("a/b/1.thread")
    assert await archive.get("a/b/1.thread") is None


async def test_what_is_done_in_a_folder_survives_a_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is synced once a file has come or gone, else it could be as it was before."""
    archive, sync = FolderArchive(tmp_path / "archive"), os.fsync
    folder = tmp_path / "archive" / "a" / "b"
    seen: list[list[str]] = []

    def noted(file: int) -> None:
        sync(file)
        if os.path.sameopenfile(file, opened):
            seen.append(sorted(file.name for file in folder.iterdir()))

    await archive.delete("a/b/1.thread")  # there is no such folder
    await archive.put("a/b/1.thread", b"first")
    opened = os.open(folder, os.O_RDONLY)
    monkeypatch.setattr(os, "fsync", noted)
    await archive.put("a/b/2.thread", b"second")
    await archive.delete("a/b/1.thread")
    await archive.delete("a/b/1.thread")
    os.close(opened)
    assert seen == [["1.thread", "2.thread"], ["2.thread"], ["2.thread"]]


async def test_a_file_is_never_written_over(reopen: Callable[[], Archive]) -> None:
    """What has a name keeps it."""
    archive = reopen()
    await archive.put("a/b/1.thread", b"first")
    with pytest.raises(StorageError, match="exists"):
        await archive.put("a/b/1.thread", b"second")
    assert await archive.get("a/b/1.thread") == b"first"


async def test_names_are_those_of_a_folder(reopen: Callable[[], Archive]) -> None:
    """All files of a folder, and of no other that begins alike."""
    archive = reopen()
    for name in ("a/b/1", "a/b/2", "a/bb/3", "b/b/4"):
        await archive.put(name, b"x")
    assert list(await archive.names("a/b")) == ["a/b/1", "a/b/2"]
    assert list(await archive.names("a")) == ["a/b/1", "a/b/2", "a/bb/3"]
    assert list(await archive.names("none")) == []


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "../a", "a/../b", "a//b", ".a", "a b", "a\0", "ä"]
)
async def test_names_lead_nowhere_else(reopen: Callable[[], Archive], name: str) -> None:
    """A name that is none is refused."""
    archive = reopen()
    with pytest.raises(ValueError, match="no name"):
        await archive.put(name, b"x")
    with pytest.raises(ValueError, match="no name"):
        await archive.get(name)
    with pytest.raises(ValueError, match="no name"):
        await archive.delete(name)


async def test_a_thread_of_a_file_goes_there_and_back(
    reopen: Callable[[], Archive], tmp_path: Path
) -> None:
    """A thread of SQLite's is archived, comes back when it is called, and is deleted there."""
    archive = reopen()
    async with SqliteSaver(tmp_path / "threads.db", archive=archive) as saver:
        graph = counting(saver, 3, size=9000)
        before = await graph.ainvoke({"items": []}, thread("t"))
        await saver.aarchive_thread("t")
        stored = await saver.backend.thread(saver.key("t"))
        assert stored is not None
        assert stored.card is not None
        assert str(stored.card.archived).startswith(f"{archive.url}/")
        assert (await graph.aget_state(thread("t"))).values == before
        await saver.aarchive_thread("t")
        await saver.adelete_thread("t")
        assert (await graph.aget_state(thread("t"))).values == {}
    assert list(await reopen().names(str(stored.card.archived).split("/")[-3])) == []


async def test_a_full_or_forbidden_folder_is_told(tmp_path: Path) -> None:
    """A folder that cannot be one says so, and nothing is left."""
    (tmp_path / "file").write_bytes(b"")
    archive = FolderArchive(tmp_path / "file")
    with pytest.raises(StorageError, match="folder"):
        await archive.put("a/b/1", b"x")
