"""What the tests of the documents share: their texts, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["DOCUMENTS", "ROOT", "blocks", "rows", "section", "spans", "text_of"]

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/TOUR.md",
)

_BLOCK: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def text_of(document: str) -> str:
    """A document's text."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document in a language."""
    return [code for _, found, code in _BLOCK.findall(text_of(document)) if found == language]


def spans(text: str) -> list[str]:
    """What a text sets in code, without its blocks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _BLOCK.sub("", text))]


def section(document: str, title: str) -> str:
    """What stands under a heading, until the next one."""
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text_of(document), re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"{document} has no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The rows of the first table in a text, its head first."""
    lines = re.search(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert lines is not None
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()]
    return [table[0], *table[2:]]
