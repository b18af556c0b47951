"""Archives: where threads that rest go, so that fast storage holds those that are used.

`FolderArchive` is a folder; ``durable_graph_s3.S3Archive`` a bucket. Anything with the methods of
`Archive` will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from durable_graph.errors import StorageError, StorageFullError
from durable_graph.ports.archive import Archive, check_name

__all__ = ["Archive", "FolderArchive"]

T = TypeVar("T")


class FolderArchive:
    """Archived threads as files in a folder, which only the user who made them may read.

    Args:
        folder: the folder; it is made if it does not exist.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).absolute()

    def __repr__(self) -> str:
        return f"<FolderArchive {str(self._folder)!r}>"

    @property
    def url(self) -> str:
        return self._folder.as_uri()

    async def put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        await _in_thread(lambda: _write(path, data, self._folder))

    async def get(self, name: str) -> bytes | None:
        path = self._path(name)

        def read() -> bytes | None:
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

        return await _in_thread(read)

    async def delete(self, name: str) -> None:
        path = self._path(name)
        await _in_thread(lambda: _delete(path))

    async def names(self, folder: str) -> Sequence[str]:
        path = self._path(folder)
        files = await _in_thread(lambda: [file for file in path.rglob("*") if file.is_file()])
        return sorted(file.relative_to(self._folder).as_posix() for file in files)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _path(self, name: str) -> Path:
        return self._folder / check_name(name)


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except FileExistsError as error:
        raise StorageError(f"{error.filename} exists already; nothing was written.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"{error}; nothing was written. Free some space and call again."
            ) from error
        raise StorageError(
            f"{error}. Check that the archive's folder exists and can be written by this user."
        ) from error


def _write(path: Path, data: bytes, top: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Under its own name at once: half a file is one that no card names yet.
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(file)
        for folder in _up_to(path.parent, top.parent):
            _sync(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            _delete(path)
        raise


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        # Also where it was gone already: whoever deleted it may have died before this.
        _sync(path.parent)
    except FileNotFoundError:  # nor is there its folder
        return


def _up_to(folder: Path, top: Path) -> Iterator[Path]:
    """The folder and those around it: each new one is an entry in the next."""
    while True:
        yield folder
        if folder in (top, folder.parent):
            return
        folder = folder.parent


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
