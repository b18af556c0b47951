"""Which results of a superstep exclude each other, told while some of them are still to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from durable_graph.decisions.reduce import replaces
from durable_graph.log.records import Outcome
from durable_graph.state.channel import Channel

__all__ = ["Claims"]


class Claims:
    """What results have written that no other result of their superstep may write.

    That reducers fail on several results together is not told; who asks would have to reduce them
    all over again for each that comes.

    Args:
        channels: the keys of the state.
    """

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels
        self._holders: dict[tuple[str, bool], int] = {}

    def add(self, outcome: Outcome) -> None:
        """A result that stays."""
        for claim in self._alone(outcome):
            self._holders[claim] = outcome.index

    def rivals(self, outcome: Outcome) -> set[int]:
        """The tasks whose results, of those that stay, exclude this one."""
        holders = {self._holders.get(claim, outcome.index) for claim in self._alone(outcome)}
        return holders - {outcome.index}

    def _alone(self, outcome: Outcome) -> Iterator[tuple[str, bool]]:
        """Keys, and whether it replaces them: one that does goes with those that do not."""
        for update in outcome.writes:
            for key, written in update.items():
                channel = self._channels.get(key)
                if channel is None or channel.latest:
                    continue
                replacing = replaces(written)
                if channel.reducer is None or replacing:
                    yield key, replacing
