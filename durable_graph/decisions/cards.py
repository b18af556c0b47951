"""What a thread's card says in its body: how long the thread is kept, and what was done with it.

A card is storage's, and its body this library's: JSON, which others may have put more into than
is known here; that stays. What happens within a thread is in its log. What happens to it as a
whole (tagged, archived, pruned, deleted) is kept here, the last acts only, so that a card stays
small however often a thread is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import orjson

from durable_graph.errors import IntegrityError

__all__ = ["ACTS", "Act", "ActKind", "Notes", "read_notes"]

ActKind: TypeAlias = Literal[
    "created", "changed", "archived", "restored", "pruned", "deleted", "copied", "imported"
]

ACTS: Final = 100
"""How many acts a card keeps."""

_KINDS: Final = frozenset(get_args(ActKind))


@dataclass(frozen=True, slots=True)
class Act:
    """Something that was done with a thread as a whole.

    Attributes:
        what: which kind of thing.
        time: when, Unix time.
        by: who did it, if they said so.
        detail: more about it, for people.
    """

    what: ActKind
    time: float
    by: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Notes:
    """The body of a card, read.

    Attributes:
        id: of the creation, random: so that of two callers who create the same thread at the same
            moment only one has; ``None`` for a thread that just began to run.
        created: when it was created, Unix time.
        ttl: seconds without a change after which it may be deleted.
        deleted: whether the card is but the trace of a thread that is gone.
        acts: the last things done with it, oldest first.
        rest: what else is there.
    """

    id: str | None = None
    created: float | None = None
    ttl: float | None = None
    deleted: bool = False
    acts: tuple[Act, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    def after(self, act: Act) -> Notes:
        """The notes with one more act."""
        return replace(self, acts=(*self.acts, act)[-ACTS:])

    def trace(self, act: Act) -> Notes:
        """What stays of them when the thread is deleted: who did what and when, and nothing that
        the thread was known by."""
        acts = tuple(replace(before, detail=None) for before in self.acts)
        return Notes(deleted=True, acts=acts).after(act)

    def encode(self) -> bytes:
        """The body; what is as usual is left out."""
        plain: dict[str, Any] = dict(self.rest)
        if self.id is not None:
            plain["id"] = self.id
        if self.created is not None:
            plain["created"] = self.created
        if self.ttl is not None:
            plain["ttl"] = self.ttl
        if self.deleted:
            plain["deleted"] = True
        if self.acts:
            plain["acts"] = [_written(act) for act in self.acts]
        return orjson.dumps(plain)


def read_notes(body: bytes, thread: str) -> Notes:
    """What a card's body says.

    Args:
        body: the card's.
        thread: whose card it is, for the error.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        plain = orjson.loads(body)
        notes = Notes(
            id=_text(plain.pop("id", None)),
            created=_time(plain.pop("created", None)),
            ttl=_time(plain.pop("ttl", None)),
            deleted=plain.pop("deleted", False) is True,
            acts=tuple(_read(act) for act in plain.pop("acts", ())),
            rest=plain,
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"The card of thread {thread!r} is damaged.") from error
    return notes


def _written(act: Act) -> dict[str, Any]:
    written: dict[str, Any] = {"what": act.what, "time": act.time}
    if act.by is not None:
        written["by"] = act.by
    if act.detail is not None:
        written["detail"] = act.detail
    return written


def _read(plain: Mapping[str, Any]) -> Act:
    what, time = plain["what"], _time(plain["time"])
    if what not in _KINDS or time is None:
        raise ValueError("not what anybody writes")
    return Act(what, time, _text(plain.get("by")), _text(plain.get("detail")))


def _text(plain: Any) -> str | None:
    if plain is not None and not isinstance(plain, str):
        raise ValueError("no text")
    return plain


def _time(plain: Any) -> float | None:
    if plain is not None and type(plain) not in (int, float):
        raise ValueError("no time")
    return None if plain is None else float(plain)
