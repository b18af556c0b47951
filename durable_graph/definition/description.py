"""What is stored of a graph: its description, and what one can tell from it later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import orjson

from durable_graph.errors import IntegrityError

__all__ = ["Described", "DescribedKey", "fingerprint_of"]


@dataclass(frozen=True, slots=True)
class DescribedKey:
    """A key of the state, as a description has it.

    Attributes:
        type: its annotation, spelled.
        reducer: its reducer's name; ``None`` for none.
    """

    type: str | None = None
    reducer: str | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A graph as the threads that it wrote know it.

    Attributes:
        fingerprint: digest of its description.
        nodes: names of its nodes.
        keys: the keys of its state.
        types: what the application's own types in the state consist of, by stored name.
    """

    fingerprint: str
    nodes: frozenset[str]
    keys: Mapping[str, DescribedKey]
    types: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes, fingerprint: str) -> Self:
        """Read a stored description.

        Raises:
            IntegrityError: it is damaged.
        """
        try:
            if fingerprint_of(data) != fingerprint:
                raise ValueError("another digest")
            plain = orjson.loads(data)
            keys = plain["channels"].items()
            return cls(
                fingerprint,
                frozenset(plain["nodes"]),
                {key: DescribedKey(known["type"], known["reducer"]) for key, known in keys},
                plain.get("types", {}),
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"The description of graph {fingerprint} is damaged.") from error

    def has_node(self, name: str) -> bool:
        """Whether it has a node of this name."""
        return name in self.nodes

    def has_key(self, key: str, type: str | None = None) -> bool:
        """Whether its state has this key; of this type, as the annotation is spelled, if given."""
        return key in self.keys and type in (None, self.keys[key].type)

    def with_node(self, old: str, new: str) -> Self:
        """The same with one node under another name."""
        return replace(self, nodes=self.nodes - {old} | {new})

    def with_key(self, key: str, known: DescribedKey | None, *, instead: str | None = None) -> Self:
        """The same with a key, in the place of another; without it for ``None``."""
        keys = {name: other for name, other in self.keys.items() if name not in (key, instead)}
        return replace(self, keys=keys if known is None else {**keys, key: known})


def fingerprint_of(description: bytes) -> str:
    """The digest by which a description is stored."""
    return hashlib.blake2b(description, digest_size=16).hexdigest()
