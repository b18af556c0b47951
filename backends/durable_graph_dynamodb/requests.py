"""Requests to DynamoDB as data: what to change, and under which conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from durable_graph_dynamodb.values import Item, encode, size_of

__all__ = [
    "MOST_BYTES",
    "MOST_ITEMS",
    "Check",
    "Delete",
    "Put",
    "Request",
    "Update",
    "Where",
    "fits",
]

# DynamoDB takes 100 items and 4 MB. But a request of more than 1 MB, which is what this amounts to
# as it is sent, holds up the event loop, and a bad connection.
MOST_ITEMS: Final = 98
MOST_BYTES: Final = 700_000


@dataclass(frozen=True, slots=True)
class Where:
    """What an item must be like.

    Attributes:
        equal: attributes that must be there with these values.
        absent: attributes that must not be there.
        present: attributes that must be there, whatever their value.
    """

    equal: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """Store an item in the place of whatever is there."""

    item: Item
    where: Where = Where()

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return size_of(self.item)

    def to_aws(self, table: str) -> dict[str, Any]:
        """As it is sent."""
        sent = {"TableName": table, "Item": encode(self.item)}
        return {"Put": {**sent, **_condition(self.where)}}


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an item, if it is there."""

    pk: str
    sk: str
    where: Where = Where()

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return len(self.pk) + len(self.sk)

    def to_aws(self, table: str) -> dict[str, Any]:
        """As it is sent."""
        sent = {"TableName": table, "Key": encode({"pk": self.pk, "sk": self.sk})}
        return {"Delete": {**sent, **_condition(self.where)}}


@dataclass(frozen=True, slots=True)
class Update:
    """Change attributes of an item, which is made if it is not there.

    Attributes:
        sets: attributes and their values; what is ``None`` is taken away.
        adds: numbers to be added to.
    """

    pk: str
    sk: str
    sets: Mapping[str, Any]
    where: Where = Where()
    adds: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return len(self.pk) + len(self.sk) + size_of(self.sets)

    def to_aws(self, table: str) -> dict[str, Any]:
        """As it is sent."""
        sent = {"TableName": table, "Key": encode({"pk": self.pk, "sk": self.sk})}
        names = {f"#{name}": name for name in (*self.sets, *self.adds)}
        values = {f":{name}": value for name, value in self.sets.items() if value is not None}
        values |= {f":{name}": value for name, value in self.adds.items()}
        clauses = [
            ("SET", [f"#{name} = :{name}" for name, v in self.sets.items() if v is not None]),
            ("REMOVE", [f"#{name}" for name, value in self.sets.items() if value is None]),
            ("ADD", [f"#{name} :{name}" for name in self.adds]),
        ]
        told = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts)
        sent |= {"UpdateExpression": told, **_condition(self.where, names, values)}
        return {"Update": sent}


@dataclass(frozen=True, slots=True)
class Check:
    """Change nothing, but see that an item is as it should be."""

    pk: str
    sk: str
    where: Where
    size: int = 0

    def to_aws(self, table: str) -> dict[str, Any]:
        """As it is sent."""
        sent = {"TableName": table, "Key": encode({"pk": self.pk, "sk": self.sk})}
        return {"ConditionCheck": {**sent, **_condition(self.where)}}


Request: TypeAlias = Put | Delete | Update | Check


def fits(requests: Sequence[Request]) -> bool:
    """Whether this goes into one transaction."""
    size = sum(request.size for request in requests)
    return len(requests) <= MOST_ITEMS and size <= MOST_BYTES


def _condition(
    where: Where,
    names: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The part of a request that says what must be; names stand for themselves nowhere, since
    DynamoDB reserves hundreds of words."""
    tests = [
        *(f"#{name} = :is_{name}" for name in where.equal),
        *(f"attribute_not_exists(#{name})" for name in where.absent),
        *(f"attribute_exists(#{name})" for name in where.present),
    ]
    used = {f"#{name}": name for name in (*where.equal, *where.absent, *where.present)}
    all_names = {**(names or {}), **used}
    all_values = {**(values or {}), **{f":is_{n}": value for n, value in where.equal.items()}}
    told: dict[str, Any] = {}
    if tests:
        told["ConditionExpression"] = " AND ".join(tests)
    if all_names:
        told["ExpressionAttributeNames"] = all_names
    if all_values:
        told["ExpressionAttributeValues"] = encode(all_values)
    return told
