"""What rotation had to leave as it was, told as one error."""

from __future__ import annotations

from collections.abc import Sequence

from durable_graph.errors import DecryptionError, IntegrityError

__all__ = ["left_as_it_was"]

_TOLD = 20


def left_as_it_was(
    failed: Sequence[tuple[str, IntegrityError]], what: str, others: str
) -> IntegrityError:
    """The error to raise once everything else has been seen to.

    Args:
        failed: how each of them is called, and why it could not be read; at least one.
        what: what they are, in the plural.
        others: what has become of all others, and what to do.
    """
    first = failed[0][1]
    told = ", ".join(name for name, _ in failed[:_TOLD])
    more = f" and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
    text = (
        f"{len(failed)} {what} stay as they are, since they cannot be read: {told}{more}. "
        f"{others} {first}"
    )
    return DecryptionError(text) if isinstance(first, DecryptionError) else IntegrityError(text)
