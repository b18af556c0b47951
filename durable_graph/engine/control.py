"""Asking a run to stop where it can be gone on with."""

from __future__ import annotations

__all__ = ["RunControl"]


class RunControl:
    """Asks the runs it is given to, as `control=`, to stop; from any thread.

    A run that is asked finishes the superstep it is in, stores it, and raises `GraphDrained`; its
    thread is "stopped" and goes on when it is called with ``None``. One control may be given to
    all the runs of a server that is to be shut down.
    """

    __slots__ = ("_reason",)

    def __init__(self) -> None:
        self._reason: str | None = None

    def __repr__(self) -> str:
        asked = "" if self._reason is None else f", asked to drain: {self._reason!r}"
        return f"<RunControl{asked}>"

    def request_drain(self, reason: str = "shutdown") -> None:
        """Have the runs stop after the superstep they are in. Of several reasons the first counts.

        Args:
            reason: shown in `GraphDrained`, and to nodes.
        """
        # One assignment: whoever looks at it from another thread sees the one or the other.
        if self._reason is None:
            self._reason = reason

    @property
    def drain_requested(self) -> bool:
        """Whether the runs are to stop."""
        return self._reason is not None

    @property
    def drain_reason(self) -> str | None:
        """Why; ``None`` if they are not to."""
        return self._reason
