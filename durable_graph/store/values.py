"""The one way of a store's values to their stored form and back."""

from __future__ import annotations

from typing import Any

from durable_graph.decisions.items import Namespace
from durable_graph.errors import IntegrityError, StoreError
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.state.families import FAMILIES
from durable_graph.state.messages import MESSAGE_TYPES

__all__ = ["Values"]


class Values:
    """Encodes values and decodes them, each for the place where it is kept."""

    def __init__(self) -> None:
        self._codec = Codec(MESSAGE_TYPES, FAMILIES)

    def encode(self, namespace: Namespace, key: str, value: Any) -> bytes:
        """A value as it is kept.

        Raises:
            StoreError: it is no dict with texts as keys, or cannot be kept.
        """
        if type(value) is not dict or not all(isinstance(name, str) for name in value):
            raise StoreError(
                f"The value under {key!r} is to be a dict with texts as keys, not {value!r:.200}."
            )
        try:
            return self._codec.encode(value)
        except UnstorableValueError as error:
            raise StoreError(f"The value under {key!r} cannot be kept: {error}.") from error

    def decode(self, namespace: Namespace, key: str, stored: bytes) -> dict[str, Any]:
        """The value that is kept in a place: a copy, the reader's own.

        Raises:
            IntegrityError: it is damaged.
        """
        try:
            value = self._codec.decode(stored)
        except IntegrityError as error:
            raise type(error)(f"{error} It is under {key!r} in {namespace!r}.") from error
        if type(value) is not dict:
            raise IntegrityError(f"What is stored under {key!r} in {namespace!r} is no dict.")
        return value
