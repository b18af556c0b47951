"""Addresses of servers that hold a password, which no message must show."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult

__all__ = ["ESCAPES", "cut_password"]

ESCAPES: Final = "In name and password, write / as %2F, ? as %3F, # as %23 and @ as %40."
"""What to do about it, for messages."""


def cut_password(parts: SplitResult) -> bool:
    """Whether a URL's password holds a slash, a question mark or a hash: then what comes before it
    passes for the host, and the rest, up to the host itself, for a path, a query or a fragment."""
    beside = parts.query if not parts.path else ""
    return bool(parts.netloc) and ("@" in parts.path + beside or bool(parts.fragment))
