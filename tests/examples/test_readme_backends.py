"""The README's table of backends says what each of them declares."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from durable_graph.ports.backend import Backend, Capabilities
from durable_graph.ports.memory import InMemoryBackend
from durable_graph_dynamodb.backend import DynamoDBBackend
from durable_graph_postgres import PostgresBackend
from durable_graph_redis import RedisBackend
from durable_graph_s3 import S3Backend
from durable_graph_sqlite.backend import SqliteBackend
from tests.examples.documents import ROOT, rows, section

TABLE = {row[0]: row[1:] for row in rows(section("README.md", "Which backend"))[1:]}


def backends(folder: Path) -> dict[str, Backend]:
    """One of each; none of them connects before it is used."""
    return {
        "memory": InMemoryBackend(),
        "SQLite": SqliteBackend(folder / "threads.db"),
        "PostgreSQL": PostgresBackend("postgresql://127.0.0.1/none"),
        "Redis": RedisBackend("redis://127.0.0.1"),
        "DynamoDB": DynamoDBBackend("none"),
        "S3": S3Backend("none"),
    }


def in_words(declared: Capabilities) -> list[str]:
    """What the table says of capabilities: who may share it, what is left, how it is written."""
    transactions = {None: "no", "sync": "a function", "async": "an async function"}
    return [
        "yes" if declared.durable else "no",
        transactions[declared.transactions],
        "yes" if declared.stores else "no",
    ]


async def test_the_table_says_what_backends_declare(tmp_path: Path) -> None:
    """A row for each backend, and in it what its capabilities are."""
    made = backends(tmp_path)
    assert list(TABLE) == list(made)
    for name, backend in made.items():
        _, processes, durable, writes, transactions, stores, _ = TABLE[name]
        declared = backend.capabilities
        assert [durable, transactions, stores] == in_words(declared), name
        assert (processes != "one") == declared.shared, name
        assert (writes == "side by side") == (not declared.groups and not declared.immediate), name
        assert (writes == "no wait") == declared.immediate, name
        await backend.aclose()


@pytest.mark.parametrize("name", TABLE)
def test_each_extra_is_there(name: str) -> None:
    """What a row says to install is an extra; the others need none."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    extra = TABLE[name][0].strip("`")
    assert extra in extras or (extra == "none" and name.lower() not in extras)


def test_all_but_one_have_a_store() -> None:
    """What opens threads by a URL opens a store by the same one, but for S3."""
    assert "All but S3 have a store" in section("README.md", "Which backend")
    with (ROOT / "pyproject.toml").open("rb") as file:
        entries = tomllib.load(file)["project"]["entry-points"]
    assert {*entries["durable_graph.stores"], "s3"} == {*entries["durable_graph.backends"]}
