"""Items of a store as they are kept, and what one batch of puts comes to before it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from durable_graph.errors import StoreConflictError

__all__ = ["ABSENT", "Entry", "Layered", "Namespace", "Pending", "Place", "Write", "next_version"]

Namespace: TypeAlias = tuple[str, ...]
Place: TypeAlias = tuple[Namespace, str]

ABSENT: Final = 0
"""The version of what is not there."""

_RANDOM_BITS: Final = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """An item as storage keeps it.

    Attributes:
        namespace: where it is.
        key: its key there.
        value: its value, encoded.
        version: names this put of it; greater than that of any put before, as far as clocks agree.
        created: when something was first put there, Unix time.
        updated: when this was put there, Unix time.
        ttl: how long it lives unread, in seconds; ``None`` for ever.
        expires: when it is gone, Unix time; ``None`` for never.
        vectors: what its texts mean: for each a vector of 32-bit floats, the lowest byte first.
    """

    namespace: Namespace
    key: str
    value: bytes
    version: int
    created: float
    updated: float
    ttl: float | None = None
    expires: float | None = None
    vectors: tuple[bytes, ...] = ()

    @property
    def place(self) -> Place:
        """Namespace and key."""
        return self.namespace, self.key

    @property
    def order(self) -> tuple[int, Namespace, str]:
        """What items are sorted by; the greatest comes first."""
        return self.version, self.namespace, self.key

    def lives(self, now: float) -> bool:
        """Whether it is still there."""
        return self.expires is None or now < self.expires


@dataclass(frozen=True, slots=True)
class Write:
    """What a batch leaves under one key.

    Attributes:
        place: namespace and key.
        entry: what is to be there; ``None`` for nothing. If something is there already, it keeps
            the time at which that was created.
        expects: the version that must be there for any of the batch to be written; 0 if nothing
            may be there; ``None`` for no condition.
        fresh: what is there does not count as the item's past: it was removed in this batch.
    """

    place: Place
    entry: Entry | None
    expects: int | None = None
    fresh: bool = False

    def allows(self, found: Entry | None) -> bool:
        """Whether it may be written over what is there."""
        return self.expects in (None, ABSENT if found is None else found.version)

    def over(self, found: Entry | None) -> Entry | None:
        """What is there once it is written over what was."""
        if self.entry is None or found is None or self.fresh:
            return self.entry
        return replace(self.entry, created=found.created)


@dataclass(slots=True)
class Pending:
    """Writes that are not stored yet, one for each key; those who read through them see them.

    Attributes:
        writes: by namespace and key.
    """

    writes: dict[Place, Write] = field(default_factory=dict)

    def add(self, place: Place, entry: Entry | None, expects: int | None) -> None:
        """Put something in the place of what is there, or nothing.

        Raises:
            StoreConflictError: a version is expected, and what is pending there is of another.
        """
        before = self.writes.get(place)
        if before is None:
            self.writes[place] = Write(place, entry, expects)
            return
        if not Write(place, entry, expects).allows(before.entry):
            raise StoreConflictError([place])
        fresh = before.fresh or before.entry is None
        if entry is not None and before.entry is not None:
            entry = replace(entry, created=before.entry.created)
        self.writes[place] = Write(place, entry, before.expects, fresh)

    def expire(self, now: float) -> None:
        """Remove what has expired while it was pending."""
        for place, write in self.writes.items():
            if write.entry is not None and not write.entry.lives(now):
                self.writes[place] = replace(write, entry=None)

    def prolong(self, place: Place, until: float) -> None:
        """Let what is pending in a place expire later than it would."""
        write = self.writes[place]
        if write.entry is not None:
            self.writes[place] = replace(write, entry=replace(write.entry, expires=until))

    def merge(self, writes: Sequence[Write]) -> None:
        """Take in what was pending elsewhere, later than what is here.

        Raises:
            StoreConflictError: a version is expected, and what is pending here is of another.
                Nothing was taken in.
        """
        merged = Pending(dict(self.writes))
        for write in writes:
            if write.fresh and write.place not in merged.writes:
                merged.writes[write.place] = write
                continue
            if write.fresh:
                merged.add(write.place, None, write.expects)
                merged.add(write.place, write.entry, None)
            else:
                merged.add(write.place, write.entry, write.expects)
        self.writes = merged.writes

    def found(self, prefix: Namespace) -> Iterator[Entry]:
        """What is put into a namespace and beneath it, the last first."""
        entries = [
            write.entry
            for write in self.writes.values()
            if write.entry is not None and write.entry.namespace[: len(prefix)] == prefix
        ]
        return iter(sorted(entries, key=lambda entry: entry.order, reverse=True))


class Layered(Pending):
    """Writes over others that are not stored either: those who read see both, and what is added
    is kept apart as well, as it would be if those below were stored.

    Args:
        below: the others.
        own: what was written over them so far, and takes in what is added.
    """

    def __init__(self, below: Pending, own: Pending) -> None:
        super().__init__(dict(below.writes))
        self.merge(list(own.writes.values()))
        self._own = own

    def add(self, place: Place, entry: Entry | None, expects: int | None) -> None:
        """See `Pending.add`."""
        super().add(place, entry, expects)
        self._own.add(place, entry, expects)

    def expire(self, now: float) -> None:
        """See `Pending.expire`."""
        super().expire(now)
        self._own.expire(now)

    def prolong(self, place: Place, until: float) -> None:
        """See `Pending.prolong`; what is below keeps its end."""
        super().prolong(place, until)
        if place in self._own.writes:
            self._own.prolong(place, until)


def next_version(last: int, now: float, chance: float) -> int:
    """A version for a put: later than the last of this process, and not to be met again.

    A counter per item would begin anew once the item was removed, and who had read it before
    could overwrite what was put there since.

    Args:
        last: the last version that this process gave.
        now: Unix time.
        chance: a random number from 0 up to 1.
    """
    drawn = (max(int(now * 1000), 0) << _RANDOM_BITS) | int(chance * (1 << _RANDOM_BITS))
    return max(last, drawn) + 1
