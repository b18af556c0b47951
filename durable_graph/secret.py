"""A value that is handed on and never written down: a password, a token, a key."""

from __future__ import annotations

import hmac
from typing import Any, Generic, NoReturn, TypeVar, final

__all__ = ["Secret"]

T = TypeVar("T")

_HIDDEN = "***"


@final
class Secret(Generic[T]):
    """Holds a value that must not be stored, shown or logged; `reveal` alone gives it back.

    It belongs in the context of a call (``context=``) or in ``config["configurable"]``, which
    nodes can read and nothing stores. As text it is ``***``. A state, a store, a cache and the
    config's metadata refuse it, pickle and JSON do too, so it cannot get into one of them by
    accident. It protects from accidents only: code that runs in this process can reveal it.

    Args:
        value: what is secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        if isinstance(value, Secret):
            raise TypeError("This is a Secret already.")
        self._value = value

    def reveal(self) -> T:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{_HIDDEN}')"

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, others = _bytes_of(self._value), _bytes_of(other._value)
        if mine is None or others is None:
            return bool(self._value == other._value)
        # In a time that does not tell how much of it was right.
        return type(self._value) is type(other._value) and hmac.compare_digest(mine, others)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    # Nobody can change it, so a copy of what it is part of may share it.
    def __copy__(self) -> Secret[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[T]:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A Secret is not pickled: it would be written down in clear. Hand it over in the "
            "context of a call, or reveal() it where it is used."
        )


def _bytes_of(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None
