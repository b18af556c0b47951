"""Sealed bytes: opened where and as they were sealed, and nowhere and as nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.encryption.envelope import (
    NotSealedError,
    Opener,
    binding,
    derived,
    is_sealed,
)
from tests.backends.kit import TORTURE

KEY = bytes(range(32))
parts = st.lists(st.none() | st.binary(max_size=20) | st.text(max_size=20), max_size=6)


@given(
    data=st.binary(max_size=300),
    bound=st.binary(max_size=50),
    key=st.binary(min_size=32, max_size=32),
)
def test_what_was_sealed_is_opened(data: bytes, bound: bytes, key: bytes) -> None:
    """Under the same key and with the same binding it is what it was."""
    opener = Opener(key)
    sealed = opener.seal(data, bound)
    assert is_sealed(sealed)
    assert len(sealed) == len(data) + 33  # what encryption costs in storage
    assert Opener(key).open(sealed, bound) == data


@given(data=st.binary(max_size=60), place=st.integers(0, 500), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused(data: bytes, place: int, flip: int) -> None:
    """Whichever byte it is: of the mark, the format, the nonce, the ciphertext or the tag."""
    opener = Opener(KEY)
    sealed = bytearray(opener.seal(data, b"here"))
    sealed[place % len(sealed)] ^= flip
    with pytest.raises(NotSealedError):
        opener.open(bytes(sealed), b"here")


@given(data=st.binary(max_size=60), cut=st.integers(0, 100))
def test_a_part_is_refused(data: bytes, cut: int) -> None:
    """Neither a beginning of it nor more than it is can be opened."""
    opener = Opener(KEY)
    sealed = opener.seal(data, b"here")
    for changed in (sealed[: min(cut, len(sealed) - 1)], sealed + bytes(cut + 1), data):
        with pytest.raises(NotSealedError):
            opener.open(changed, b"here")


@given(one=parts, other=parts)
def test_two_places_are_two_bindings(
    one: list[str | bytes | None], other: list[str | bytes | None]
) -> None:
    """Lists of parts that differ are bound differently: no part runs into the next."""
    spelt = [
        [p.encode("utf-8", "surrogatepass") if isinstance(p, str) else p for p in each]
        for each in (one, other)
    ]
    assert (binding(*one) == binding(*other)) == (spelt[0] == spelt[1])


def test_another_place_or_key_is_refused() -> None:
    """What is bound to one thing is not opened as another, nor under another key."""
    opener = Opener(KEY)
    sealed = opener.seal(b"data", binding("record", "", "thread"))
    for bound in (binding("record", "t", "hread"), binding("blob", "", "thread"), b""):
        with pytest.raises(NotSealedError):
            opener.open(sealed, bound)
    with pytest.raises(NotSealedError):
        Opener(derived(KEY, b"other")).open(sealed, binding("record", "", "thread"))


def test_plain_values_are_never_taken_for_sealed_ones() -> None:
    """What the codec and the log write begins otherwise, so it can be told apart."""
    for plain in (b"", b"{", b'{"delta":[]}\n1', b"null", b"[1]", b'"\\u0000dge"', os.urandom(16)):
        assert not is_sealed(plain)


def test_keys_depend_on_secret_and_purpose() -> None:
    """One secret gives another key for each purpose, and always the same one."""
    keys = {derived(secret, purpose) for secret in (b"a", b"b") for purpose in (b"x", b"y", b"")}
    assert len(keys) == 6
    assert all(len(key) == 32 for key in keys)
    assert derived(b"a", b"x") == derived(b"a", b"x")
    # By RFC 5869 with SHA-256 and no salt: whatever computes it, it must come to the same for ever.
    assert derived(bytes(16), b"purpose").hex() == (
        "e4f928eb1a47f111aaecb14a8fcef74fb5889ee7eb419a8670fac8c97aa8de6f"
    )


def test_no_nonce_is_used_twice() -> None:
    """Of many messages under one key, no two have the same nonce (scenario 40)."""
    count = 1_000_000 if TORTURE else 20_000
    opener = Opener(KEY)
    nonces = {opener.seal(b"", b"")[5:17] for _ in range(count)}
    assert len(nonces) == count
