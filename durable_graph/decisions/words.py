"""What a namespace, a key and a page of a store may be."""

from __future__ import annotations

from typing import Any, Final

from durable_graph.errors import InvalidNamespaceError, StoreError

__all__ = ["check_key", "check_namespace", "check_page", "check_words"]

# Storage systems have limits of their own for what they find things by; the tightest allows this.
_MOST_BYTES: Final = 1000


def check_words(words: Any) -> None:
    """Refuse what cannot be the beginning of a namespace.

    Raises:
        InvalidNamespaceError: it is no tuple of words.
    """
    if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
        raise InvalidNamespaceError(
            f"A namespace is a tuple of words, such as ('users', '7'), not {words!r:.200}."
        )
    if any(_bytes(word) is None for word in words):
        raise InvalidNamespaceError(
            f"No word of a namespace has half a character in it; {words!r:.200} has."
        )


def check_namespace(namespace: Any) -> None:
    """Refuse what is no namespace.

    Raises:
        InvalidNamespaceError: it is none.
    """
    check_words(namespace)
    if not namespace:
        raise InvalidNamespaceError("A namespace has at least one word: ('users',), not ().")
    size = 0
    for word in namespace:
        encoded = _bytes(word)
        if not word or encoded is None or "." in word or "\0" in word:
            raise InvalidNamespaceError(
                f"{word!r:.200} cannot be a word of a namespace: it is empty, has a '.' or a zero "
                f"byte in it, or half a character. Of an address, make several words, or replace "
                f"its dots."
            )
        size += len(encoded) + 1
    if size > _MOST_BYTES:
        raise InvalidNamespaceError(
            f"A namespace has {_MOST_BYTES} bytes at most, one for each word's end included; "
            f"{namespace!r:.100}... has {size}. Use a digest of what is longer."
        )
    if namespace[0] == "langgraph":
        raise InvalidNamespaceError("The first word of a namespace cannot be 'langgraph'.")


def check_key(key: Any) -> None:
    """Refuse what is no key.

    Raises:
        StoreError: it is none.
    """
    encoded = _bytes(key) if isinstance(key, str) else None
    if not encoded or "\0" in key:
        raise StoreError(
            f"A key is a text that is not empty and has no zero byte in it, not {key!r:.200}."
        )
    if len(encoded) > _MOST_BYTES:
        raise StoreError(
            f"A key has {_MOST_BYTES} bytes at most; {key!r:.100}... has {len(encoded)}. Use a "
            f"digest of it, and keep the whole in the value."
        )


def check_page(limit: Any, offset: Any) -> None:
    """Refuse what is no part of a list.

    Raises:
        StoreError: one of them is no number from 0 on.
    """
    for name, number in (("limit", limit), ("offset", offset)):
        if type(number) is not int or number < 0:
            raise StoreError(f"{name} is a number, at least 0, not {number!r:.200}.")


def _bytes(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no storage system takes
        return None
