"""Updates of a key to its next value: what the reducers say, found as data."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import Overwrite
from durable_graph.decisions.advance import changes
from durable_graph.decisions.reduce import Reducers
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.delta import Encoded, Op, apply_op, flat
from durable_graph.log.records import Outcome
from durable_graph.state.messages import Message, RemoveMessage, add_messages
from tests.pure.definitions import define, freezer_of, schema_of
from tests.pure.values import form

LONG = "a text that makes the value long enough for changes to be worth finding"


def last_three(old: list[Any], new: list[Any]) -> list[Any]:
    return (old + new)[-3:]


def in_front(old: list[Any], new: list[Any]) -> list[Any]:
    return new + old


def mutating(old: list[Any], new: list[Any]) -> list[Any]:
    """Changes both its arguments, and returns one of them."""
    old.extend(new)
    new.clear()
    return old


def counting(old: dict[str, int], new: list[str]) -> dict[str, int]:
    """Takes an update of another type than the state's."""
    return {**old, **{name: (old.get(name) or 0) + 1 for name in new}}


def to_text(old: Any, new: Any) -> str:
    """Makes another type of the state."""
    return f"{old}{new}"


_names = st.integers(0, 4).map(lambda n: f"{n}: {LONG}")
_lists: st.SearchStrategy[Any] = st.lists(_names, max_size=4)
_dicts: st.SearchStrategy[Any] = st.dictionaries(_names, st.integers(0, 3), max_size=4)
_sets: st.SearchStrategy[Any] = st.sets(_names, max_size=4)

KINDS: dict[str, tuple[Any, Callable[[Any, Any], Any], st.SearchStrategy[Any]]] = {
    "add lists": (list, operator.add, _lists),
    "add numbers": (int, operator.add, st.integers(-5, 2**70)),
    "add texts": (str, operator.add, _names),
    "add tuples": (tuple, operator.add, _lists.map(tuple)),
    "iadd": (list, operator.iadd, _lists),
    "merge dicts": (dict, operator.or_, _dicts),
    "merge sets": (set, operator.or_, _sets),
    "intersect": (frozenset | None, operator.and_, _sets.map(frozenset)),
    "max": (int, max, st.integers(-5, 5)),
    "last three": (list, last_three, _lists),
    "in front": (list, in_front, _lists),
    "mutating": (list, mutating, _lists),
    "counting": (dict, counting, _lists),
    "to text": (int, to_text, st.integers(0, 9)),
    "lambda": (Any, lambda old, new: [old, new], st.integers(0, 3)),
}


class Thread:
    """The state of one key over supersteps, beside what plain Python makes of it."""

    def __init__(self, annotation: Any, reducer: Callable[[Any, Any], Any]) -> None:
        self.definition = define(schema=schema_of(k=Annotated[annotation, reducer]))
        self.freezer = freezer_of(self.definition)
        self.reducers = Reducers(self.freezer)
        self.values: dict[str, Encoded] = {}

    def superstep(self, written: Sequence[Sequence[Any]]) -> None:
        """Apply what each task wrote, and see that folding the operation gives the same."""
        outcomes = [
            Outcome(
                index, [self.freezer.update("n", {"k": value}, self.values) for value in writes]
            )
            for index, writes in enumerate(written)
        ]
        results = [("n", outcome) for outcome in outcomes]
        base = self.values.get("k")
        before = None if base is None else flat(base)
        delta, after = changes(self.definition, self.reducers, self.values, results)
        op: Op = delta.get("k", ("",))
        folded = apply_op(before, op, lambda task: outcomes[task].written("k"))
        new = after.get("k", base)
        assert (folded is None) == (new is None)
        assert (None if base is None else flat(base)) == before
        if new is not None and folded is not None:
            assert flat(folded) == flat(new)
            self.values["k"] = new

    @property
    def value(self) -> Any:
        stored = self.values.get("k")
        return _NONE if stored is None else self.freezer.thaw(stored)


_NONE: Any = object()


def reduced(
    annotation: Any, reducer: Callable[[Any, Any], Any], value: Any, writes: Sequence[Any]
) -> Any:
    """What a superstep's writes make of a value, in plain Python."""
    if value is _NONE and writes:
        with contextlib.suppress(TypeError):
            value = annotation()
    overwrites = [write for write in writes if isinstance(write, Overwrite)]
    if len(overwrites) > 1:
        raise InvalidUpdateError("two overwrites")
    if overwrites:
        return overwrites[0].value
    for write in writes:
        value = write if value is _NONE else reducer(value, write)
    return value


def _copy(value: Any) -> Any:
    return value.copy() if hasattr(value, "copy") else value


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_reducers_do_what_they_do_in_plain_python(kind: str, data: st.DataObject) -> None:
    """Over any supersteps of any writes, the state is what the reducer makes of them in order.

    And the operation that the log gets for it makes the same, byte for byte.
    """
    annotation, reducer, updates = KINDS[kind]
    thread = Thread(annotation, reducer)
    whole = updates.map(dict.fromkeys) if reducer is counting else updates
    writes = st.one_of(updates, whole.map(Overwrite))
    steps = st.lists(st.lists(st.lists(writes, max_size=2), min_size=1, max_size=3), max_size=4)
    expected: Any = _NONE
    for step in data.draw(steps):
        flat_writes = [write for task in step for write in task]
        given_ = [[_copy(write) for write in task] for task in step]
        try:
            wanted = reduced(annotation, reducer, _copy(expected), flat_writes)
        except InvalidUpdateError:
            with pytest.raises(InvalidUpdateError, match="only one Overwrite can hold"):
                thread.superstep(given_)
        else:
            thread.superstep(given_)
            expected = wanted
        assert form(thread.value) == form(expected)


@given(st.data())
def test_messages_are_merged_as_in_plain_python(data: st.DataObject) -> None:
    """Appended, replaced by id, removed, repeated as a whole: the list is what it should be."""
    thread = Thread(list, add_messages)
    expected: list[Any] = []
    for _ in range(data.draw(st.integers(1, 5))):
        step = data.draw(st.lists(_message_updates(expected), min_size=1, max_size=3))
        try:
            wanted = expected
            for update in step:
                wanted = add_messages(wanted, update)
        except InvalidUpdateError:
            with pytest.raises(InvalidUpdateError, match="no message with the id"):
                thread.superstep([[update] for update in step])
            continue
        thread.superstep([[update] for update in step])
        expected = wanted
        assert form(thread.value) == form(expected)


def _message_updates(present: list[Any]) -> st.SearchStrategy[Any]:
    ids = st.integers(0, 8).map(str)
    fresh = st.builds(lambda name, text: Message("user", text, id=name), ids, _names)
    removal = st.builds(RemoveMessage, ids)
    return st.one_of(
        fresh,
        st.lists(fresh, max_size=3),
        st.lists(st.one_of(fresh, removal), max_size=3),
        st.lists(fresh, max_size=2).map(lambda more: [*present, *more]),
        st.just([RemoveMessage("__remove_all__")]),
    )


# -- what is stored ---------------------------------------------------------------------------


def combine(annotation: Any, base: Any, *writes: Any) -> tuple[Op, Encoded | None]:
    definition = define(schema=schema_of(k=annotation))
    freezer = freezer_of(definition)
    values = {} if base is None else {"k": freezer.reduced("k", base)}
    results = [
        ("n", Outcome(index, [freezer.update("n", {"k": write}, values)]))
        for index, write in enumerate(writes)
    ]
    delta, after = changes(definition, Reducers(freezer), values, results)
    return delta.get("k", ("",)), after.get("k")


@pytest.mark.parametrize(
    ("annotation", "base", "writes", "op"),
    [
        (Any, 1, [2], ("w", 0)),
        (Any, [LONG, LONG], [[LONG, LONG]], ("",)),
        (Annotated[list, operator.add], None, [[1], [2]], ("a", 0, 1)),
        (Annotated[list, operator.add], [1], [[2]], ("a", 0)),
        (Annotated[list, add_messages], None, [("user", LONG)], ("a", 0)),
        (Annotated[list, last_three], [LONG, LONG], [["x"]], ("a", 0)),
        (Annotated[list, last_three], [LONG] * 3, [["x"]], ("~", 2, 1, b'["x"]')),
        (Annotated[dict, operator.or_], {"a": LONG, "b": LONG}, [{"c": 1}], ("m", {"c": b"1"}, ())),
        (Annotated[int, operator.add], 1, [1], ("=", b"2")),
        (Annotated[int, max], 1, [7, 3], ("=", b"7")),
        (Annotated[int, max], 1, [7], ("w", 0)),
        (Annotated[list, operator.add], [1], [Overwrite([7])], ("w", 0)),
        (Annotated[list, operator.add], [1], [[2], Overwrite([7])], ("=", b"[7]")),
        (Any, 1, [2, Overwrite(7)], ("=", b"7")),
    ],
)
def test_what_is_stored_of_a_reduction(annotation: Any, base: Any, writes: Any, op: Op) -> None:
    """A value that stands in a task's record is referred to, not stored again."""
    assert combine(annotation, base, *writes)[0] == op


def test_what_does_not_change_is_not_stored() -> None:
    """A key that was written its own value over is no part of what is stored."""
    definition = define(schema=schema_of(k=Any, s=Annotated[set, operator.or_]))
    freezer = freezer_of(definition)
    values: dict[str, Encoded] = {
        k: freezer.reduced(k, v) for k, v in {"k": LONG * 2, "s": {1}}.items()
    }
    update = freezer.update("n", {"k": LONG * 2, "s": {1}}, values)
    assert changes(definition, Reducers(freezer), values, [("n", Outcome(0, [update]))]) == ({}, {})


def test_appending_does_not_call_the_reducer() -> None:
    """What is known to append is appended unread: a long conversation is not decoded for it."""
    definition = define(schema=schema_of(k=Annotated[list, operator.add]))
    freezer = freezer_of(definition)
    op, value = Reducers(freezer).combine(
        definition.channels["k"], b"[not even JSON]", [(0, "n", b'["not decoded"]')]
    )
    assert op == ("a", 0)
    assert value is not None
    assert flat(value) == b'[not even JSON,"not decoded"]'


# -- what is refused --------------------------------------------------------------------------


def test_two_values_for_one_key_are_refused() -> None:
    """Without a reducer several values of one superstep exclude each other; who wrote is named."""
    definition = define("ab", (("__start__", "a"), ("a", "b")))
    results = [("a", Outcome(0, [{"a": b"1"}])), ("b", Outcome(1, [{"a": b"1"}]))]
    with pytest.raises(InvalidUpdateError, match="'a', 'b' wrote more than one value to 'a'"):
        changes(definition, Reducers(freezer_of(definition)), {}, results)


def test_one_task_can_conflict_with_itself() -> None:
    """Two commands of one node that write the same key are two values, too."""
    definition = define()
    results = [("a", Outcome(0, [{"a": b"1"}, {"a": b"2"}]))]
    with pytest.raises(InvalidUpdateError, match="'a' wrote more than one value to 'a'"):
        changes(definition, Reducers(freezer_of(definition)), {}, results)


def test_a_failing_reducer_is_named_with_the_node_that_fed_it() -> None:
    """The error says which key, which node and what was raised, and keeps it as its cause."""
    with pytest.raises(
        InvalidUpdateError, match="reducer of 'k' failed on what node 'n'"
    ) as caught:
        combine(Annotated[list, operator.and_], [1], [2])
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_initial_value_is_not_shared() -> None:
    """Every thread begins with an initial value of its own, whatever reducers do to theirs."""
    definition = define(schema=schema_of(k=Annotated[list, mutating]))
    for _ in range(2):
        freezer = freezer_of(definition)
        results = [("n", Outcome(0, [{"k": b"[1]"}]))]
        _, after = changes(definition, Reducers(freezer), {}, results)
        assert after == {"k": b"[1]"}


def test_a_list_is_not_appended_to_something_else() -> None:
    """Where the key is no list, its reducer says what becomes of one, from the first update on."""
    with pytest.raises(InvalidUpdateError, match="can only concatenate str"):
        combine(Annotated[str, operator.add], None, [1])


def test_a_reducer_that_makes_something_unstorable_is_refused() -> None:
    """What a reducer returns has to have a stored form like anything else."""
    with pytest.raises(InvalidUpdateError, match="The reducer of 'k' made something that cannot"):
        combine(Annotated[Any, lambda old, new: object()], 1, 2)


def test_a_key_whose_initial_value_cannot_be_stored_has_none() -> None:
    """Then the first update is the value, as for a type that cannot be made from nothing."""
    assert combine(Annotated[object, lambda old, new: [old, new]], None, 1)[1] == b"1"


def test_a_key_that_the_graph_no_longer_has_is_left_alone() -> None:
    """A result that was written by an older graph may hold keys this one lacks."""
    definition = define()
    results = [("a", Outcome(0, [{"gone": b"1", "a": b"2"}]))]
    delta, after = changes(definition, Reducers(freezer_of(definition)), {}, results)
    assert (delta, after) == ({"a": ("w", 0)}, {"a": b"2"})
