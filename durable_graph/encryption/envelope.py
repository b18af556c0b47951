"""Bytes under a key: sealed, and opened again if they are what was sealed, where it was.

AES-256-GCM. A sealed message is a mark with the format's number, a nonce of 12 random bytes and
the ciphertext with its tag. What it is bound to is not in it: whoever opens it has to say so.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from durable_graph.errors import MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["NotSealedError", "Opener", "binding", "cipher", "derived", "is_sealed"]

# No plain value begins like this: they are JSON, in which a zero byte has no place.
_MARK: Final = b"\0dge\x01"
_NONCE: Final = 12
_TAG: Final = 16
KEY_SIZE: Final = 32


class NotSealedError(Exception):
    """These bytes are not what was sealed, or not here, or under another key."""


class Opener:
    """Seals bytes under one key, and opens them.

    One key may seal up to 2**32 messages, since nonces are drawn at random; a thread has a key of
    its own.

    Args:
        key: 32 bytes.
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = cipher()(key)

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Bytes that only `open` with the same binding gives back."""
        nonce = os.urandom(_NONCE)
        return _MARK + nonce + self._aead.encrypt(nonce, data, _MARK + bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        """What was sealed.

        Raises:
            NotSealedError: these are not the bytes, this is not the key, or they were bound to
                something else.
        """
        from cryptography.exceptions import InvalidTag

        start = len(_MARK) + _NONCE
        if sealed[: len(_MARK)] != _MARK or len(sealed) < start + _TAG:
            raise NotSealedError
        try:
            return self._aead.decrypt(sealed[len(_MARK) : start], sealed[start:], _MARK + bound)
        except InvalidTag:
            raise NotSealedError from None


def is_sealed(data: bytes) -> bool:
    """Whether bytes say that they are sealed; with any format, also one of a later version."""
    return data[: len(_MARK) - 1] == _MARK[:-1]


def binding(*parts: str | bytes | None) -> bytes:
    """What a message is bound to, so that no two lists of parts make the same bytes."""
    out = []
    for part in parts:
        if part is None:
            out.append(b"-")
            continue
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        out.append(struct.pack(">cQ", b"+", len(data)) + data)
    return b"".join(out)


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key made of a secret, another one for every purpose (HKDF with SHA-256)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_SIZE, None, purpose).derive(secret)


def cipher() -> type[AESGCM]:
    """AES-GCM.

    Raises:
        MissingExtraError: the package that has it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Encryption needs the package cryptography: pip install 'durable-graph[encryption]'."
        ) from error
    return AESGCM
