"""Changes of inputs that stay JSON: blind ones of bytes seldom get behind the parser."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

__all__ = ["mutator"]

_ODD: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63)),
    *(0.5, -0.0, 1e308, "", "~", "x", "1", "null", "\0", "ä", "../x", "$gt", "9" * 4400),
    *([], {}, [[]], [{}], {"": 0}, {"~": 1}, {"~untracked": []}, {"~blob": 1}),
]


def mutator(seeds: Sequence[bytes], bytewise: Callable[[bytes, int], bytes]) -> Any:
    """A function that changes an input, as the fuzzer wants it.

    Args:
        seeds: whose parts are put in the places of others.
        bytewise: the fuzzer's own changes.
    """
    parts = [part for seed in seeds for plain in _plain_lines(seed) for part in _parts(plain)]
    parts += _ODD

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.4:
            return bytewise(data, most)
        lines = bytes(data).split(b"\n")
        at = chance.randrange(len(lines))
        start = lines[at].find(lines[at].lstrip(bytes(range(32)))[:1])  # a kind may come before it
        try:
            plain = orjson.loads(lines[at][start:])
        except orjson.JSONDecodeError:
            return bytewise(data, most)
        for _ in range(chance.choice((1, 1, 2, 4))):
            plain = _changed(plain, chance, parts)
        try:
            lines[at] = lines[at][:start] + orjson.dumps(plain)
        except (TypeError, RecursionError):
            return bytewise(data, most)
        return b"\n".join(lines)[:most]

    return mutate


def _plain_lines(data: bytes) -> list[Any]:
    plain = []
    for line in data.split(b"\n"):
        try:
            plain.append(orjson.loads(line.lstrip(bytes(range(32)))))
        except orjson.JSONDecodeError:
            continue
    return plain


def _parts(plain: Any, depth: int = 6) -> list[Any]:
    inner = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    return [plain, *(part for one in inner for part in _parts(one, depth - 1) if depth)]


def _changed(plain: Any, chance: random.Random, parts: Sequence[Any]) -> Any:
    """The same with one part of it replaced, doubled, dropped or put somewhere else."""
    if not isinstance(plain, (list, dict)) or not plain or chance.random() < 0.15:
        return copy.deepcopy(chance.choice(parts))
    if isinstance(plain, list):
        at = chance.randrange(len(plain))
        match chance.random():
            case x if x < 0.7:
                return [*plain[:at], _changed(plain[at], chance, parts), *plain[at + 1 :]]
            case x if x < 0.8:
                return plain[:at] + plain[at + 1 :]
            case x if x < 0.9:
                return [*plain[:at], plain[at], *plain[at:]]
            case _:
                return [*plain[:at], copy.deepcopy(chance.choice(parts)), *plain[at:]]
    name = chance.choice(list(plain))
    match chance.random():
        case x if x < 0.7:
            return {**plain, name: _changed(plain[name], chance, parts)}
        case x if x < 0.8:
            return {key: part for key, part in plain.items() if key != name}
        case _:
            other = chance.choice(parts)
            new = other if isinstance(other, str) else chance.choice(("~type", "~dict", "", "id"))
            return {(new if key == name else key): part for key, part in plain.items()}
