"""Everything that can be seen of threads in a SQLite file, for tests that damage the file."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_graph.errors import IntegrityError, StorageError
from durable_graph.saver import Saver
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import counting, thread

__all__ = ["THREADS", "Seen", "content", "integrity", "make", "observe"]

THREADS = {"first": 20, "second": 4}
"""Their numbers of steps."""

_SIZE = 50
# Large enough to be stored by digest, which some of the file's pages shall be.
_LARGE = "L" * 5000


@dataclass(slots=True)
class Seen:
    """What was seen of one thread: each part is plain data, or the typed error instead of it.

    Attributes:
        state: values, next nodes and metadata of the head.
        history: the same of every checkpoint.
        wrong: how many records `averify` names; or its error.
    """

    state: Any
    history: Any
    wrong: Any

    def parts(self) -> dict[str, Any]:
        """The parts by name."""
        return {"state": self.state, "history": self.history, "wrong": self.wrong}


async def make(path: Path) -> dict[str, Seen]:
    """Make a file with threads of many steps; returns what is seen of it undamaged."""
    saver = Saver(SqliteBackend(path, synchronous="normal"))
    for name, steps in THREADS.items():
        graph, config = counting(saver, steps, size=_SIZE), thread(name)
        await graph.ainvoke({"items": ["begin"]}, {**config, "metadata": {"who": name}})
        await graph.aupdate_state(config, {"items": [_LARGE]})
    await saver.aclose()
    return await observe(path)


async def observe(path: Path) -> dict[str, Seen]:
    """What is seen of each thread. Other errors than typed ones are not caught."""
    saver = Saver(SqliteBackend(path, synchronous="normal", busy_timeout=0.0))
    seen = {}
    for name, steps in THREADS.items():
        graph, config = counting(saver, steps, size=_SIZE), thread(name)

        async def state(graph: Any = graph, config: Any = config) -> Any:
            return _plain(await graph.aget_state(config))

        async def history(graph: Any = graph, config: Any = config) -> Any:
            return [_plain(entry) async for entry in graph.aget_state_history(config)]

        async def wrong(name: str = name) -> Any:
            return len(await saver.averify(name))

        seen[name] = Seen(await _typed(state()), await _typed(history()), await _typed(wrong()))
    await saver.aclose()
    return seen


def integrity(path: Path) -> bool:
    """Whether SQLite itself finds nothing wrong with a file."""
    db = sqlite3.connect(path)
    try:
        return bool(db.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    finally:
        db.close()


def content(path: Path) -> Any:
    """All that SQLite can tell of a file that nobody has open, or ``None`` if anything is wrong.

    A byte whose change leaves this as it was is no part of the data: pages have room to spare.
    """
    db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            return None
        tables = db.execute("SELECT * FROM sqlite_schema").fetchall()
        names = [name for kind, name, *_ in tables if kind == "table"]
        rows = [db.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in names]
        pragmas = ("application_id", "user_version", "encoding", "schema_version")
        return tables, rows, [db.execute(f"PRAGMA {pragma}").fetchone() for pragma in pragmas]
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    finally:
        db.close()


async def _typed(look: Any) -> Any:
    try:
        return await look
    except (IntegrityError, StorageError, LookupError) as error:
        if not type(error).__module__.startswith("durable_graph."):
            raise
        return _bare(error)


def _plain(entry: Any) -> Any:
    if isinstance(entry.values, Exception):
        return _bare(entry.values)
    return entry.values, entry.next, entry.config, entry.metadata, entry.created_at


def _bare(error: Exception) -> Exception:
    """An error without what was going on when it was raised, which is kept as long as it is."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
