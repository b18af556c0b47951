"""Threads as things: created, found, labelled, moved, swept and audited; `saver.threads`.

What a thread is known by, beside its log, stands on its card: an owner, tags, metadata, and how
long it is kept. Cards are changed whether or not somebody runs the thread. What is done with a
thread as a whole may name its author (`by=`), and then stays on the card; see `Threads.audit`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from durable_graph.decisions.audit import AuditEntry, AuditKind
from durable_graph.decisions.cards import Act, Notes
from durable_graph.decisions.retention import Retention, due_at, kept_checkpoints
from durable_graph.engine.history.verifying import verify
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.upkeep import whole
from durable_graph.engine.upkeep.auditing import audit
from durable_graph.engine.upkeep.cards import is_trace, next_of, notes_of, revise
from durable_graph.engine.upkeep.cold import send_to_archive
from durable_graph.engine.upkeep.deleting import delete
from durable_graph.engine.upkeep.pruning import prune
from durable_graph.engine.upkeep.sweeping import Swept, sweep
from durable_graph.errors import (
    ConfigError,
    IntegrityError,
    ThreadExistsError,
    ThreadNotFoundError,
)
from durable_graph.log.records import Status, checked_id
from durable_graph.ports.backend import Card, Scalar, Thread, ThreadPage, ThreadQuery
from durable_graph.types import UNSET, Unset

__all__ = [
    "AuditEntry",
    "AuditKind",
    "Retention",
    "Swept",
    "ThreadInfo",
    "ThreadList",
    "ThreadStatus",
    "Threads",
]

ThreadStatus: TypeAlias = Status | Literal["new", "archived"]
"""How a thread stands: "new" if it has never been run, "archived" if its log was moved away."""

_STATUSES: Final = (*get_args(Status), "new", "archived")
_MANY: Final = 64
_LONG: Final = 1024
_PAGE: Final = 100
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """A thread, as a list shows it.

    Attributes:
        thread_id: its id.
        status: how it stands; "running" also for one whose owner has died.
        reason: why it stopped, where the status alone does not say it.
        checkpoint_id: its last checkpoint; ``None`` if it has no log here.
        step: that checkpoint's step.
        run_id: the run that wrote last.
        records: how many records its log has.
        size: bytes written to it.
        created_at: Unix time.
        updated_at: when its log changed last; without one, its card. Unix time.
        owner: whose it is.
        tags: words to find it by.
        metadata: values to find it by.
        ttl: seconds without a change for which it is kept; ``None``: for ever.
        expires_at: when that will be over, Unix time.
        archived: where its log is, if it was archived.
    """

    thread_id: str
    status: ThreadStatus
    reason: str | None
    checkpoint_id: str | None
    step: int | None
    run_id: str | None
    records: int
    size: int
    created_at: float
    updated_at: float
    owner: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    ttl: float | None = None
    expires_at: float | None = None
    archived: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadList:
    """A page of threads.

    Attributes:
        threads: the threads; there may be fewer than were asked for, and more to come.
        next: what to pass as `after=` for the next page; ``None`` at the end.
    """

    threads: Sequence[ThreadInfo]
    next: str | None


class Threads:
    """The threads of a saver, as things of their own.

    Args:
        keeper: the saver.
    """

    __slots__ = ("_keeper",)

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def __repr__(self) -> str:
        return f"<threads of {self._keeper!r}>"

    async def create(
        self,
        thread_id: str | None = None,
        *,
        owner: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Scalar] | None = None,
        ttl: float | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
        by: str | None = None,
    ) -> ThreadInfo:
        """Create a thread that has not been run yet. Threads need not be created to be run.

        Args:
            thread_id: its id; by default a new one.
            owner: whose it is.
            tags: words to find it by, at most 64.
            metadata: values to find it by, at most 64: text of up to 1024 characters, numbers,
                `True`, `False`, `None`.
            ttl: seconds without a change after which `sweep` may delete it.
            if_exists: what to do if there is a thread of that name: "do_nothing" leaves it as it
                is, and returns it.
            by: who creates it.

        Raises:
            ThreadExistsError: there is a thread of that name.
            ConfigError: an argument makes no sense.
        """
        if if_exists not in ("raise", "do_nothing"):
            raise ConfigError(f"if_exists is 'raise' or 'do_nothing', not {if_exists!r}.")
        keeper, now = self._keeper, self._keeper.clock.time()
        key = keeper.key(keeper.chance.id() if thread_id is None else thread_id)
        fresh = Card(
            0,
            owner=_name(owner, "owner"),
            tags=_tags(tags),
            metadata=_metadata(metadata or {}),
            expires=None if ttl is None else now + _seconds(ttl),
        )
        notes = Notes(id=keeper.chance.id(), created=now, ttl=ttl)
        act = Act("created", now, _name(by, "by"))

        def create(seen: Thread | None) -> Card | None:
            if seen is not None and not is_trace(seen):
                return None
            before = seen.card.version if seen is not None and seen.card is not None else 0
            acts = notes_of(seen).acts if seen is not None else ()
            told = replace(notes, acts=acts).after(act)
            return replace(fresh, version=before + 1, time=now, body=told.encode())

        thread = await revise(keeper, key, create)
        if thread is None:
            raise ThreadNotFoundError(f"Thread {key.thread!r} was deleted meanwhile.")
        if if_exists == "raise" and notes_of(thread).id != notes.id:
            raise ThreadExistsError(
                f"Thread {key.thread!r} exists already; choose another id, or say "
                f"if_exists='do_nothing'."
            )
        return _info(thread)

    async def get(self, thread_id: str) -> ThreadInfo:
        """A thread, without what it holds.

        Raises:
            ThreadNotFoundError: there is no such thread.
        """
        self._keeper.check_usable()
        key = self._keeper.key(thread_id)
        thread = await self._keeper.backend.thread(key)
        if thread is None or is_trace(thread):
            raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
        return _info(thread)

    async def search(
        self,
        *,
        owner: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Scalar] | None = None,
        status: ThreadStatus | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = _PAGE,
        after: str | None = None,
    ) -> ThreadList:
        """A page of threads, the one that changed last first. Reads no states.

        Args:
            owner: only this owner's.
            tags: only those that have all of these.
            metadata: only those that have all of these values.
            status: only those that stand like this.
            since: only those that changed then or later, Unix time.
            until: only those that changed before then.
            limit: how many at most, up to 1000.
            after: the `next` of the page before.

        Raises:
            ConfigError: an argument makes no sense.
        """
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise ConfigError(f"limit is a number from 1 to {_MOST}, not {limit!r}.")
        query = replace(self._query(owner, tags, metadata, status, since, until), limit=limit)
        return await self._page(query, status, after)

    async def list(
        self,
        *,
        owner: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Scalar] | None = None,
        status: ThreadStatus | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ThreadInfo]:
        """All threads that `search` finds, page by page.

        Args:
            owner: see `search`, as for all others.
            tags: likewise.
            metadata: likewise.
            status: likewise.
            since: likewise.
            until: likewise.
            limit: how many at most; ``None`` for all.

        Raises:
            ConfigError: an argument makes no sense.
        """
        query = self._query(owner, tags, metadata, status, since, until)
        left = math.inf if limit is None else limit
        cursor: str | None = None
        while left > 0:
            query = replace(query, limit=int(min(_PAGE, left)))
            page = await self._page(query, status, cursor)
            for info in page.threads:
                yield info
            left -= len(page.threads)
            cursor = page.next
            if cursor is None:
                return

    async def update(
        self,
        thread_id: str,
        *,
        owner: str | Unset | None = UNSET,
        metadata: Mapping[str, Scalar] | None = None,
        without: Iterable[str] = (),
        ttl: float | Unset | None = UNSET,
        by: str | None = None,
    ) -> ThreadInfo:
        """Change what a thread is known by, whether or not somebody runs it.

        Args:
            thread_id: the thread.
            owner: whose it is from now on; ``None`` for nobody's.
            metadata: values that are added, or take the place of those of the same name.
            without: names of values that are taken away.
            ttl: seconds without a change, counted from now, after which `sweep` may delete it;
                ``None``: it is kept for ever.
            by: who changes it.

        Raises:
            ThreadNotFoundError: there is no such thread.
            ConfigError: an argument makes no sense.
        """
        now, more, less = self._keeper.clock.time(), _metadata(metadata or {}), _names(without)
        changes: dict[str, Any] = {}
        if not isinstance(owner, Unset):
            changes["owner"] = _name(owner, "owner")
        if not isinstance(ttl, Unset):
            changes["expires"] = None if ttl is None else now + _seconds(ttl)

        def update(card: Card, notes: Notes) -> tuple[dict[str, Any], Notes]:
            kept = {name: value for name, value in card.metadata.items() if name not in less}
            values = _metadata({**kept, **more})
            told = notes if isinstance(ttl, Unset) else replace(notes, ttl=ttl)
            return {**changes, "metadata": values}, told

        named = [*changes, *(f"metadata {name!r}" for name in (*more, *less))]
        return await self._relabel(thread_id, update, now, by, ", ".join(named))

    async def tag(self, thread_id: str, *tags: str, by: str | None = None) -> ThreadInfo:
        """Add tags to a thread, whether or not somebody runs it.

        Raises:
            ThreadNotFoundError: there is no such thread.
            ConfigError: a tag is no usable text, or they are too many.
        """
        added = _tags(tags)

        def tag(card: Card, notes: Notes) -> tuple[dict[str, Any], Notes]:
            return {"tags": _tags((*card.tags, *added))}, notes

        now = self._keeper.clock.time()
        return await self._relabel(thread_id, tag, now, by, f"tagged {', '.join(added)}")

    async def untag(self, thread_id: str, *tags: str, by: str | None = None) -> ThreadInfo:
        """Take tags away from a thread, whether or not somebody runs it.

        Raises:
            ThreadNotFoundError: there is no such thread.
            ConfigError: a tag is no usable text.
        """
        gone = _tags(tags)

        def untag(card: Card, notes: Notes) -> tuple[dict[str, Any], Notes]:
            return {"tags": tuple(tag for tag in card.tags if tag not in gone)}, notes

        now = self._keeper.clock.time()
        return await self._relabel(thread_id, untag, now, by, f"no longer {', '.join(gone)}")

    async def delete(self, thread_id: str, *, by: str | None = None) -> None:
        """Delete a thread: its log, its values, its inbox and its card. Harmless if there is none.

        A writer that comes late finds nothing to write to.

        Args:
            thread_id: the thread.
            by: who deletes it. Then a trace stays, which is no thread and in no list: who did
                what with it, for `audit`, and nothing of what it held or was known by. Deleting
                once more without `by` removes that, too.

        Raises:
            ThreadBusyError: a live run owns it.
        """
        await delete(self._keeper, self._keeper.key(thread_id), _name(by, "by"))

    async def archive(self, thread_id: str, *, by: str | None = None) -> None:
        """Move a thread at rest to the saver's archive, as one file. Harmless if it is there.

        Reading it, resuming it and leaving it an answer bring it back, as it was; deleting it
        deletes the file. Until then its card is all that is here, and lists show it by that.

        Args:
            thread_id: the thread.
            by: who archives it.

        Raises:
            ConfigError: the saver has no archive.
            ThreadNotFoundError: there is no such thread, or it has never been run.
            ThreadBusyError: a live run owns it, or answers wait for it.
            IntegrityError: it is damaged.
            StorageError: it could not be stored there; it is still here.
        """
        await send_to_archive(self._keeper, self._keeper.key(thread_id), _name(by, "by"))

    async def copy(
        self, thread_id: str, target: str | None = None, *, by: str | None = None
    ) -> ThreadInfo:
        """Copy a thread at rest with its whole history, its waiting answers and its card.

        Args:
            thread_id: the thread.
            target: the copy's id; by default a new one.
            by: who copies it.

        Raises:
            ThreadNotFoundError: there is no such thread, or it has never been run.
            ThreadBusyError: it is being run.
            ThreadExistsError: there is a thread of the copy's name.
            IntegrityError: it is damaged.
        """
        keeper = self._keeper
        source = keeper.key(thread_id)
        key = keeper.key(keeper.chance.id() if target is None else target)
        return _info(await whole.copy(keeper, source, key, _name(by, "by")))

    async def export(self, thread_id: str) -> bytes:
        """A thread at rest as one file, for `import_` of any saver: its whole history, its waiting
        answers and its card.

        The file is as readable as the thread is to this saver, also where storage encrypts.

        Raises:
            ThreadNotFoundError: there is no such thread, or it has never been run.
            ThreadBusyError: it is being run.
            IntegrityError: it is damaged.
        """
        return await whole.export(self._keeper, self._keeper.key(thread_id))

    async def import_(
        self, data: bytes, thread_id: str | None = None, *, by: str | None = None
    ) -> ThreadInfo:
        """Store the thread that is in a file. It is this saver's tenant's, whosever it was.

        If the process dies in the middle, the same call completes it. Of those who import under
        one name at the same time, one succeeds.

        Args:
            data: what `export` returned.
            thread_id: its id here; by default that which it had.
            by: who imports it.

        Raises:
            IntegrityError: the file is damaged, or no such file; nothing was stored.
            UnknownTypeError: a newer version has written it.
            ThreadExistsError: there is a thread of that name.
            ConfigError: it is no bytes.
        """
        if not isinstance(data, bytes):
            raise ConfigError(f"import_ takes the bytes of a file, not {type(data).__name__}.")
        return _info(await whole.import_file(self._keeper, data, thread_id, _name(by, "by")))

    async def prune(self, thread_id: str, retention: Retention, *, by: str | None = None) -> bool:
        """Free the space of checkpoints that are not to be kept, of one thread at rest.

        Returns:
            Whether there were any.

        Raises:
            ThreadBusyError: it is being run, or changes faster than it can be looked at.
            IntegrityError: it is damaged.
        """
        now = self._keeper.clock.time()
        key, name = self._keeper.key(thread_id), _name(by, "by")
        return await prune(
            self._keeper, key, lambda headers: kept_checkpoints(headers, retention, now), name
        )

    async def sweep(
        self,
        retention: Retention | None = None,
        *,
        owner: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Scalar] | None = None,
        unanswered: bool = False,
        limit: int = _PAGE,
        after: str | None = None,
        by: str | None = None,
    ) -> Swept:
        """Delete threads whose `ttl` is over, and free the checkpoints of the others that are not
        to be kept: one page of threads at a time.

        Call it again with `after=` until `next` is ``None``. Whenever that is broken off, nothing
        is half done, and it may begin anew. Threads that are being run are left alone.

        Args:
            retention: which checkpoints to keep; by default all, and then only threads with a
                limit are looked at.
            owner: only this owner's threads.
            tags: only those that have all of these.
            metadata: only those that have all of these values.
            unanswered: whether threads that ask something are deleted as well once their time is
                over; by default somebody may still answer.
            limit: how many threads to look at, up to 1000.
            after: the `next` of the page before.
            by: who has this done; see `delete`.

        Raises:
            ConfigError: an argument makes no sense.
            StorageError: storage failed; what was done is done.
        """
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise ConfigError(f"limit is a number from 1 to {_MOST}, not {limit!r}.")
        if retention is not None and not isinstance(retention, Retention):
            raise ConfigError(f"Say what to keep as Retention(...), not {retention!r}.")
        query = self._query(owner, tags, metadata, None, None, None)
        expired = self._keeper.clock.time() if retention is None else None
        name = _name(by, "by")
        page = await self._found(replace(query, limit=limit, expired=expired), after)
        return await sweep(self._keeper, page, retention, unanswered=unanswered, by=name)

    async def verify(self, thread_id: str) -> Sequence[IntegrityError]:
        """Check every record of a thread against the hash chain; returns what is wrong.

        Raises:
            ThreadNotFoundError: there is no such thread, or it has never been run.
        """
        self._keeper.check_usable()
        return await verify(self._keeper, self._keeper.key(thread_id))

    def audit(self, thread_id: str) -> AsyncIterator[AuditEntry]:
        """Who did what with a thread, and when, oldest first: inputs, edits, answers, branches,
        takeovers and ends of runs, which its log says; and what was done with it as a whole,
        which its card says: the last 100 such acts.

        Of a thread that was deleted, what its trace says; see `delete`.

        Raises:
            ThreadNotFoundError: there is no such thread, and no trace of one.
            IntegrityError: what is stored is damaged.
        """
        return audit(self._keeper, self._keeper.key(thread_id))

    # -- the parts -----------------------------------------------------------------------------

    async def _relabel(
        self,
        thread_id: str,
        change: Any,
        now: float,
        by: str | None,
        what: str,
    ) -> ThreadInfo:
        key = self._keeper.key(thread_id)
        act = Act("changed", now, _name(by, "by"), what[:_LONG])

        def relabel(seen: Thread | None) -> Card:
            if seen is None or is_trace(seen):
                raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
            changes, notes = change(seen.card or Card(0), notes_of(seen))
            return next_of(seen, notes.after(act), now, **changes)

        thread = await revise(self._keeper, key, relabel)
        if thread is None:
            raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
        return _info(thread)

    def _query(
        self,
        owner: str | None,
        tags: Iterable[str],
        metadata: Mapping[str, Scalar] | None,
        status: ThreadStatus | None,
        since: float | None,
        until: float | None,
    ) -> ThreadQuery:
        if status is not None and status not in _STATUSES:
            names = ", ".join(map(repr, _STATUSES))
            raise ConfigError(f"A status is one of {names}, not {status!r}.")
        return ThreadQuery(
            self._keeper.tenant,
            # To storage an archived thread is one that has no log.
            status="new" if status == "archived" else status,
            owner=_name(owner, "owner"),
            tags=_tags(tags),
            metadata=_metadata(metadata or {}),
            since=_time(since, "since"),
            until=_time(until, "until"),
        )

    async def _page(
        self, query: ThreadQuery, status: ThreadStatus | None, after: str | None
    ) -> ThreadList:
        page = await self._found(query, after)
        found = [_info(thread) for thread in page.threads if not is_trace(thread)]
        shown = [info for info in found if status in (None, info.status)]
        return ThreadList(shown, page.next)

    async def _found(self, query: ThreadQuery, after: str | None) -> ThreadPage:
        self._keeper.check_usable()
        wrong = ConfigError(f"after= is the `next` of a page before, not {after!r}.")
        if after is not None and not isinstance(after, str):
            raise wrong
        try:
            return await self._keeper.backend.threads(replace(query, after=after))
        except ValueError:  # what a cursor is like is the backend's own affair
            if after is None:
                raise
            raise wrong from None


def _info(thread: Thread) -> ThreadInfo:
    head, card = thread.head, thread.card or Card(0)
    notes = notes_of(thread)
    status: ThreadStatus = "new" if card.archived is None else "archived"
    due = None if card.expires is None else due_at(card.expires, notes.ttl, thread.updated)
    created = head.created if head is not None else card.time
    return ThreadInfo(
        thread_id=thread.key.thread,
        status=status if head is None else head.status,
        reason=None if head is None else head.reason,
        checkpoint_id=None if head is None else head.checkpoint,
        step=None if head is None else head.step,
        run_id=None if head is None else head.run,
        records=0 if head is None else head.seq,
        size=0 if head is None else head.size,
        created_at=created if notes.created is None else notes.created,
        updated_at=thread.updated,
        owner=card.owner,
        tags=card.tags,
        metadata=card.metadata,
        ttl=notes.ttl,
        expires_at=due,
        archived=card.archived,
    )


# -- what is given, checked --------------------------------------------------------------------


def _name(given: Any, what: str) -> str | None:
    return None if given is None else checked_id(given, what)


def _names(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ConfigError(f"without= takes several names: [{given!r}], not {given!r}.")
    return tuple(checked_id(name, "name of a value") for name in given)


def _tags(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ConfigError(f"tags are several: [{given!r}], not {given!r}.")
    tags = tuple(sorted({checked_id(tag, "tag") for tag in given}))
    if len(tags) > _MANY:
        raise ConfigError(f"A thread has up to {_MANY} tags, not {len(tags)}.")
    return tags


def _metadata(given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"metadata is a dict, not {given!r}.")
    values = {checked_id(name, "name of a value"): value for name, value in given.items()}
    if len(values) > _MANY:
        raise ConfigError(f"A thread has up to {_MANY} values as its metadata, not {len(values)}.")
    for name, value in values.items():
        if not _is_scalar(value):
            raise ConfigError(
                f"metadata[{name!r}] is text of up to {_LONG} printable characters, a number of "
                f"up to 64 bits, True, False or None, not {value!r:.300}."
            )
    return values


def _is_scalar(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= _LONG and (not value or value.isprintable())
    if type(value) is int:
        return -(2**63) <= value < 2**63
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool


def _seconds(given: Any) -> float:
    if type(given) not in (int, float) or not 0 < given < math.inf:
        raise ConfigError(f"ttl is a number of seconds, more than 0, not {given!r}.")
    return float(given)


def _time(given: Any, what: str) -> float | None:
    if given is None:
        return None
    if type(given) not in (int, float) or not math.isfinite(given):
        raise ConfigError(f"{what} is a Unix time in seconds, not {given!r}.")
    return float(given)
