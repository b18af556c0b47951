"""Single bits that flip in a SQLite file: what is read is what was written, or a typed error.

Every 50th byte, and under torture every byte, of a file with two threads has one bit flipped, on a
copy; then everything that can be seen of the threads is looked at. Where SQLite itself answers
every question as before, the byte is no part of the data, and nothing else can be seen either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.backends.kit import TORTURE
from tests.backends.sqlite_observer import Seen, content, integrity, make, observe

pytestmark = pytest.mark.timeout(7200 if TORTURE else 180)

_EVERY: Final = 1 if TORTURE else 50
_HEADER: Final = 100  # of the file: what SQLite makes of it depends on how it is opened


@dataclass(slots=True)
class Flip:
    """A bit that flipped, and what was seen then.

    Attributes:
        place: page and byte, for messages.
        seen: what was seen of each thread; ``None`` if an error came that is not typed.
        error: that error.
        sound: whether SQLite itself found nothing wrong; looked up only if something was.
    """

    place: str
    seen: dict[str, Seen] | None
    error: BaseException | None
    sound: bool


@dataclass(slots=True)
class Flips:
    """What was seen undamaged, and after each flip."""

    truth: dict[str, Seen]
    flips: list[Flip]
    schema: tuple[str, ...]
    """How the places begin that say what the tables are: all threads need those."""

    def each(self, part: str) -> Iterator[tuple[str, Any, Any]]:
        """One part of what was seen, for every flip and thread: place, what was seen, truth."""
        for flip in self.flips:
            for name, seen in (flip.seen or {}).items():
                yield f"{flip.place} {name}", seen.parts()[part], self.truth[name].parts()[part]

    def is_unsound(self, place: str) -> bool:
        """Whether SQLite finds something wrong after the flip at a place that `each` names."""
        return place.rpartition(" ")[0] in {flip.place for flip in self.flips if not flip.sound}


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> Flips:
    """The file with each bit flipped in turn."""
    return asyncio.run(_flip_all(tmp_path_factory.mktemp("flips")))


def test_only_typed_errors_come(flips: Flips) -> None:
    """Whatever bit flips, nothing else is raised than this library's own errors."""
    assert len(flips.flips) > 1000
    assert [(flip.place, flip.error) for flip in flips.flips if flip.error is not None] == []


def test_a_state_is_right_or_refused(flips: Flips) -> None:
    """The state of a thread is the one that was written, or there is an error instead.

    The one exception: SQLite's index can lose a thread, which is then told as one that does not
    exist. `PRAGMA integrity_check` says so.
    """
    for place, seen, truth in flips.each("state"):
        if isinstance(seen, Exception) or seen == truth:
            continue
        lost = not seen[0] and seen[3] is None
        assert lost, (place, seen)
        assert flips.is_unsound(place), place
    refused = [place for place, seen, _ in flips.each("state") if isinstance(seen, Exception)]
    assert len(refused) > 20  # else the flips have hit nothing


def test_a_history_shows_nothing_else(flips: Flips) -> None:
    """Each entry of a history is one that was written, in its place, or an error."""
    for place, seen, truth in flips.each("history"):
        if isinstance(seen, Exception):
            continue
        shown = [entry for entry in seen if not isinstance(entry, Exception)]
        rest = iter(truth)
        assert all(entry in rest for entry in shown), place


def test_a_history_leaves_nothing_out(flips: Flips) -> None:
    """A history has as many entries as were written, errors among them; or none, where SQLite's
    index has lost the thread."""
    for place, seen, truth in flips.each("history"):
        if isinstance(seen, Exception) or len(seen) == len(truth):
            continue
        assert seen == [], place
        assert flips.is_unsound(place), place


def test_what_is_wrong_is_named(flips: Flips) -> None:
    """Whatever is seen otherwise than it was written, `averify` names something or fails itself."""
    for flip in flips.flips:
        for name, seen in (flip.seen or {}).items():
            truth = flips.truth[name]
            if (seen.state, seen.history) != (truth.state, truth.history):
                assert seen.wrong != 0, (flip.place, name)


def test_one_thread_does_not_spoil_the_other(flips: Flips) -> None:
    """As long as SQLite can read the file and what it says of its tables, a bit that flips harms
    one thread and not both."""
    for flip in flips.flips:
        harmed = [name for name, seen in (flip.seen or {}).items() if seen != flips.truth[name]]
        shared = flip.place.startswith(flips.schema) or not flip.sound
        assert len(harmed) < 2 or shared, (flip.place, harmed)


async def _flip_all(folder: Path) -> Flips:
    original, copy = folder / "original.db", folder / "copy.db"
    truth = await make(original)
    assert all(seen.wrong == 0 for seen in truth.values())
    data, whole = original.read_bytes(), content(original)
    assert whole is not None
    found = []
    for number, place in enumerate(range(0, len(data), _EVERY)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << number % 8
        copy.write_bytes(damaged)
        if place >= _HEADER and content(copy) == whole:
            found.append(Flip(_name(place), truth, None, sound=True))
            continue
        seen, error = None, None
        try:
            seen = await observe(copy)
        except BaseException as caught:  # told by a test
            error = caught
        else:
            seen = _shared(seen, truth)
        for beside in folder.glob("copy.db-*"):
            beside.unlink()
        sound = True
        if seen != truth:
            copy.write_bytes(damaged)
            sound = integrity(copy)
        found.append(Flip(_name(place), seen, error, sound))
    schema = tuple(f"page {page} " for page in _schema_pages(data))
    return Flips(truth, found, schema)


def _schema_pages(data: bytes) -> list[int]:
    """The pages of the table of tables, from 0: the first, and if it has no room for all, those
    that it leads to (https://www.sqlite.org/fileformat2.html, section 1.6)."""
    kind, cells = data[100], int.from_bytes(data[103:105])
    if kind == 13:  # a leaf
        return [0]
    assert kind == 5
    places = (int.from_bytes(data[at : at + 2]) for at in range(112, 112 + 2 * cells, 2))
    numbers = [data[108:112], *(data[place : place + 4] for place in places)]
    return [0, *(int.from_bytes(number) - 1 for number in numbers)]


def _shared(seen: dict[str, Seen], truth: dict[str, Seen]) -> dict[str, Seen]:
    """The same, held in memory once where it is as it was written: there are many flips."""

    def same(part: Any, was: Any) -> Any:
        if part == was:
            return was
        if isinstance(part, list) and isinstance(was, list):
            return [next((w for w in was if w == entry), entry) for entry in part]
        return part

    return {
        name: Seen(
            same(found.state, truth[name].state),
            same(found.history, truth[name].history),
            found.wrong,
        )
        for name, found in seen.items()
    }


def _name(place: int) -> str:
    return f"page {place // 4096} byte {place % 4096}"
