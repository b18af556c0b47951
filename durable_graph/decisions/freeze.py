"""What a task returned, fixed in bytes the moment it returns.

From here on nothing that the node does to its objects can change history. Large values are cut
out and named by their content, so that one value in the state, in a result and in a hundred
`Send` packets is stored once in its thread.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from durable_graph.definition.graph import GraphDefinition
from durable_graph.errors import (
    IntegrityError,
    InvalidUpdateError,
    StateTooLargeError,
    UnknownKeyWarning,
)
from durable_graph.log.codec import (
    Codec,
    UnstorableValueError,
    blob_reference,
    blobs_in,
)
from durable_graph.log.delta import WORTHWHILE, Encoded, Written, diff, flat, growth, size
from durable_graph.log.pieces import BULKY, is_bulky, joined
from durable_graph.log.registered import TypeCodec
from durable_graph.log.seal import blob_digest
from durable_graph.state.channel import Channel
from durable_graph.state.messages import as_messages, merge_messages
from durable_graph.types import Overwrite

__all__ = ["LARGE", "Blobs", "Freezer"]

LARGE: Final = 4096
"""Values of at least so many encoded bytes are stored by content."""

_MUCH: Final = 2**20


class Blobs:
    """The large values of one thread, which all its graphs share.

    Attributes:
        held: by digest: at least those of the present state.
        new: those that must be written along with the next record.
        stored: digests of those that are sure to be in storage.
        size: bytes of all that are held.
        limit: beyond so many bytes it is time to forget what has no use any more.
        most: how many bytes one value may have.
    """

    __slots__ = ("held", "limit", "most", "new", "size", "stored")

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.new: dict[str, bytes] = {}
        self.stored: set[str] = set()
        self.size = 0
        self.limit = _MUCH
        self.most = sys.maxsize

    def add(self, digest: str, data: bytes) -> None:
        """Hold a large value, and have it written if it is not yet."""
        if digest not in self.held:
            self.held[digest] = data
            self.size += len(data)
        if digest not in self.stored:
            self.new[digest] = data

    def take_new(self) -> Mapping[str, bytes]:
        """See `Freezer.take_new`."""
        if not self.new:
            return {}
        new, self.new = self.new, {}
        self.stored.update(new)
        return new

    def keep(self, live: set[str]) -> None:
        """See `Freezer.keep`."""
        self.held = {digest: data for digest, data in self.held.items() if digest in live}
        self.size = sum(map(len, self.held.values()))
        self.limit = 2 * self.size + _MUCH


class Freezer:
    """Encodes what goes into one thread, for one of its graphs.

    Args:
        definition: the graph.
        codec: encodes its values.
        secret: the thread's.
        new_id: names messages that have no id.
        thread: its id, for errors to name.
        checkpoint: see below.
        large: the thread's large values, if another graph of it has them at hand.

    Attributes:
        checkpoint: whose values are read, for errors to name.
    """

    def __init__(
        self,
        definition: GraphDefinition,
        codec: Codec,
        secret: bytes,
        new_id: Callable[[], str],
        thread: str = "",
        checkpoint: str = "",
        large: Blobs | None = None,
    ) -> None:
        self._definition = definition
        self._untracked = codec.untracked() if definition.untracked else None
        self._codec = self._untracked or codec
        self._secret = secret
        self._new_id = new_id
        self._thread = thread
        self.checkpoint = checkpoint
        self._spoken: str | None = None
        self._large = Blobs() if large is None else large
        self._apart = False

    def apart(self) -> Freezer:
        """What encodes a large value for this thread in another thread than this is used in.

        What it makes becomes known here by `take_over`: `Blobs` are one event loop's.
        """
        apart = copy.copy(self)
        apart._large = Blobs()
        apart._large.most = self._large.most
        apart._apart = True
        return apart

    def take_over(self, apart: Freezer) -> None:
        """Hold what was encoded apart."""
        for digest, data in apart._large.held.items():
            self._large.add(digest, data)

    def inside(self, definition: GraphDefinition) -> Freezer:
        """What encodes for a graph within this one, in the same thread."""
        codec, secret, new_id = definition.codec, self._secret, self._new_id
        return Freezer(
            definition, codec, secret, new_id, self._thread, self.checkpoint, self._large
        )

    @property
    def blobs(self) -> dict[str, bytes]:
        """Large values by digest: at least those of the present state."""
        return self._large.held

    def allow(self, most: int | None) -> None:
        """Refuse values of more than so many bytes, in all graphs of the thread; ``None``: none."""
        self._large.most = sys.maxsize if most is None else most

    def learn(self, types: Iterable[TypeCodec]) -> None:
        """See `Codec.learn`."""
        self._codec.learn(types)

    def thaw(self, value: Encoded) -> Any:
        """A fresh value that its taker may change.

        Raises:
            IntegrityError: it is damaged, or (`UnknownTypeError`) of a type nobody knows here. It
                names thread and checkpoint.
        """
        try:
            return self._codec.decode(
                value if type(value) is bytes else flat(value), self._large.held
            )
        except IntegrityError as error:
            if not self._thread:
                raise
            place = f"Thread {self._thread!r}, checkpoint {self.checkpoint or 'unknown'}"
            raise type(error)(f"{place}: {error}") from error

    def is_bulky(self, values: Iterable[Encoded | None]) -> bool:
        """Whether it takes long to `thaw` all of these."""
        large, total = self._large, 0
        for value in values:
            if value is None:
                continue
            total += size(value)
            if total <= BULKY and large.size > BULKY:
                total += sum(len(large.held.get(name, b"")) for name in blobs_in(flat(value)))
            if total > BULKY:
                return True
        return False

    def update(
        self,
        node: str,
        update: Mapping[str, Any],
        values: Mapping[str, Encoded],
        spoken: str | None = None,
        *,
        asked: bool = False,
    ) -> dict[str, Written]:
        """An update, encoded; as changes of the present values where that is smaller.

        Args:
            node: who wrote it.
            update: the update.
            values: the present values.
            spoken: id under which the node has emitted pieces of a message: its first message
                of an assistant without an id is that message.
            asked: whether it is the input of a call, which may write the input's keys only.

        Raises:
            InvalidUpdateError: a value cannot be stored, breaks the schema, or (in a strict
                graph) has a key the state does not have. It names node and key.
        """
        self._spoken = spoken
        written: dict[str, Written] = {}
        for key, given in update.items():
            channel = self._definition.channels.get(key)
            if channel is None or (asked and key not in self._definition.input.channels):
                if key not in self._definition.managed:
                    self._unknown(node, key, asked=asked)
                continue
            replaces, value = _overwrite(given)
            encoded = self._checked(node, channel, value, replaces=replaces)
            if replaces:
                written[key] = ("=", encoded)
            elif len(encoded) < WORTHWHILE or channel.fades:  # which begins with nothing
                written[key] = encoded
            else:
                change = diff if channel.reducer is None else growth
                op = change(values.get(key), encoded)
                written[key] = encoded if op[0] == "=" else op
        return written

    def value(self, value: Any, what: str) -> bytes:
        """A value by itself: an answer, a question.

        Raises:
            InvalidUpdateError: it cannot be stored; the message begins with `what`.
        """
        try:
            return self._whole(value)
        except UnstorableValueError as error:
            raise _refusal(error, f"{what} cannot be stored: {error}.") from error

    def inline(self, value: Any, what: str) -> bytes:
        """A value by itself, with nothing cut out of it; from any thread.

        Raises:
            InvalidUpdateError: it cannot be stored; the message begins with `what`.
        """
        try:
            return self._fitting(self._codec.encode(value))
        except UnstorableValueError as error:
            raise _refusal(error, f"{what} cannot be stored: {error}.") from error

    def packet(self, value: Any, what: str) -> bytes:
        """The argument of a `Send`, whose large parts are often those of its siblings."""
        try:
            encoded = self._encode(value)
            if len(encoded) >= LARGE and _plain_dict(value):
                return self._members(value)
            return self._fitting(encoded)
        except UnstorableValueError as error:
            raise _refusal(error, f"{what} cannot be stored: {error}.") from error

    def reduced(self, key: str, value: Any) -> bytes:
        """The result of a reducer.

        Raises:
            InvalidUpdateError: it cannot be stored, or breaks the schema.
        """
        check = self._definition.checks.get(key)
        try:
            return self._slot(check.validate(value) if check and check.whole else value)
        except UnstorableValueError as error:
            raise _refusal(
                error, f"The reducer of {key!r} made something that cannot be stored: {error}."
            ) from error
        except ValueError as error:
            raise InvalidUpdateError(
                f"The reducer of {key!r} made an invalid value: {error}"
            ) from error

    def checks_whole(self, key: str) -> bool:
        """Whether the schema has something to say about what a key's reducer makes."""
        check = self._definition.checks.get(key)
        return check is not None and check.whole

    def take_new(self) -> Mapping[str, bytes]:
        """The large values that must be written along with the next record."""
        return self._large.take_new()

    def stores(self, digest: str) -> bool:
        """Whether this is the first time that something with this digest is to be stored."""
        first = digest not in self._large.stored
        self._large.stored.add(digest)
        return first

    @property
    def heavy(self) -> bool:
        """Whether so much is held that it is time to `keep` what is needed."""
        return self._large.size > self._large.limit

    def keep(self, live: set[str]) -> None:
        """Forget the large values that the present state has no use for any more."""
        self._large.keep(live)

    def begin(self, live: set[str]) -> None:
        """A run begins: only what the present state refers to is sure to be in storage.

        While a run owns the thread nothing is pruned, so what it has written stays there.
        """
        self._large.stored, self._large.new = live, {}
        if self._untracked is not None:
            self._untracked.forget()
        self.keep(live)

    def _name_message(self, message: Any) -> str:
        if self._spoken is not None and getattr(message, "type", None) == "ai":
            name, self._spoken = self._spoken, None
            return name
        return self._new_id()

    def _checked(self, node: str, channel: Channel, value: Any, *, replaces: bool) -> bytes:
        key = channel.key
        try:
            if channel.gathers and not isinstance(value, (list, tuple)):
                value = [value]
            elif channel.gathers:
                value = list(value)
            if channel.messages is not None:
                value = as_messages(value, self._name_message, channel.messages)
                if replaces:  # what is to be removed, or comes twice, has no place in a state
                    value = merge_messages((), value)
            # What a reducer takes need not be of the key's own type; what it makes does.
            check = self._definition.checks.get(key)
            applies = check is not None and (replaces or not check.whole)
            if check and applies:
                value = check.validate(value)
            if not channel.tracked and self._untracked is not None:
                return self._untracked.keep(value, self._new_id())
            return self._slot(value)
        except UnstorableValueError as error:
            raise _refusal(
                error, f"Node {node!r} cannot write this to {key!r}: {error}."
            ) from error
        except (ValueError, InvalidUpdateError) as error:
            raise InvalidUpdateError(
                f"Node {node!r} wrote an invalid value to {key!r}: {error}"
            ) from error

    def _encode(self, value: Any) -> bytes:
        if self._apart and is_bulky(value):
            return self._codec.encode_in_pieces(value)
        return self._codec.encode(value)

    def _slot(self, value: Any) -> bytes:
        encoded = None
        if not (self._apart and is_bulky(value)):
            encoded = self._codec.encode(value)
            if len(encoded) < LARGE:
                return encoded
        # The parts of a list or dict are cut out one by one: then a change of one of them is
        # still found to be a change of just that one.
        if type(value) is list:
            return self._fitting(joined(map(self._whole, value), b"[]"))
        if _plain_dict(value):
            return self._members(value)
        return self._blob(self._encode(value) if encoded is None else encoded)

    def _members(self, value: dict[str, Any]) -> bytes:
        members = (b"%b:%b" % (self._codec.encode(k), self._whole(v)) for k, v in value.items())
        return self._fitting(joined(members, b"{}"))

    def _whole(self, value: Any) -> bytes:
        encoded = self._encode(value)
        return encoded if len(encoded) < LARGE else self._blob(encoded)

    def _blob(self, encoded: bytes) -> bytes:
        digest = blob_digest(self._fitting(encoded), self._secret)
        self._large.add(digest, encoded)
        return blob_reference(digest)

    def _fitting(self, encoded: bytes) -> bytes:
        if len(encoded) > self._large.most:
            raise _TooLargeError(
                f"it has {len(encoded):,} bytes when it is encoded, and a value may have "
                f"{self._large.most:,}, by the saver's max_value_bytes or by what its storage "
                f"takes in one piece. Keep it elsewhere, such as in a file or a bucket, and its "
                f"address in the state; or cut it into parts of a list or dict, of which those of "
                f"{LARGE:,} bytes and more count by themselves"
            )
        return encoded

    def _unknown(self, node: str, key: str, *, asked: bool) -> None:
        who = "The input has" if asked else f"Node {node!r} wrote to"
        what = "input" if asked else "state"
        text = f"{who} {key!r}, which is no key of the {what}.{self._definition.nearest(key)}"
        if self._definition.strict:
            raise InvalidUpdateError(text)
        warnings.warn(f"{text} It was left out.", UnknownKeyWarning, stacklevel=2)


class _TooLargeError(UnstorableValueError):
    """It could be stored, were it smaller."""


def _refusal(error: UnstorableValueError, text: str) -> InvalidUpdateError:
    kind = StateTooLargeError if isinstance(error, _TooLargeError) else InvalidUpdateError
    return kind(text)


def _plain_dict(value: Any) -> bool:
    """Whether a value is stored as an object with its own keys."""
    if type(value) is not dict:
        return False
    try:
        return all(type(k) is str and k[:1] != "~" and k.encode() is not None for k in value)
    except UnicodeEncodeError:
        return False


def _overwrite(value: Any) -> tuple[bool, Any]:
    if isinstance(value, Overwrite):
        return True, value.value
    if type(value) is dict:  # as it comes out of JSON, in either of LangGraph's spellings
        if len(value) == 1 and "__overwrite__" in value:
            return True, value["__overwrite__"]
        if len(value) == 2 and value.get("type") == "__overwrite__" and "value" in value:
            return True, value["value"]
    return False, value
