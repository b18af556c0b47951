"""A change of a value: found as data, applied byte for byte, and no larger than it must be."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_graph.errors import IntegrityError
from durable_graph.log.delta import SAME, Op, Rope, Written, apply_op, diff, flat, growth, size
from tests.pure.values import json_values

# Long enough that a change is worth looking for, few enough that equal ones meet.
long_texts = st.integers(0, 5).map("a text, and not a short one: {}".format)
elements = st.one_of(
    st.integers(0, 5).map(lambda n: {"role": "user", "content": f"message number {n}"}),
    long_texts,
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(["", None, 0.1, -0.0, 2**63, "]", ",", '"', "\\", "[1,2", "é\n"]),
)
names = st.sampled_from([*(f"name {n}" for n in range(20)), "~tuple", "~dict", "", "é"])
arrays = st.lists(elements, max_size=12)
objects = st.dictionaries(names, elements, max_size=12)


@st.composite
def changed_array(draw: st.DrawFn) -> tuple[Any, Any]:
    """An array, and what becomes of it when a stretch of it gives way to another."""
    base = draw(st.lists(elements, min_size=6, max_size=12))
    start = draw(st.integers(0, len(base)))
    stop = draw(st.integers(start, min(start + 2, len(base))))
    return base, [*base[:start], *draw(st.lists(elements, max_size=2)), *base[stop:]]


@st.composite
def changed_object(draw: st.DrawFn) -> tuple[Any, Any]:
    """An object, and what becomes of it when members change, come, go and change places."""
    base: dict[str, Any] = draw(st.dictionaries(names, long_texts, min_size=6, max_size=12))
    gone = draw(st.sets(st.sampled_from(list(base)), max_size=2))
    kept = [name for name in base if name not in gone]
    if not draw(st.integers(0, 3)):
        kept.reverse()
    new: dict[str, Any] = {name: base[name] for name in kept}
    new.update(draw(st.dictionaries(names, elements, min_size=1, max_size=2)))
    return base, new


grown_array = st.builds(
    lambda base, more: (base, base + more),
    st.lists(elements, min_size=5, max_size=9),
    st.lists(elements, min_size=1, max_size=2),
)
pairs: st.SearchStrategy[tuple[Any, Any]] = st.one_of(
    changed_array(),
    grown_array,
    changed_object(),
    changed_object(),
    st.tuples(json_values, json_values),
    st.tuples(st.one_of(arrays, objects), st.one_of(arrays, objects)),
)


def nothing(task: int) -> list[Written]:
    raise AssertionError("This operation refers to no task.")


@given(pair=pairs, as_rope=st.booleans())
@example(pair=(["x" * 100, 2], ["x" * 100, 23]), as_rope=False)
@example(pair=(["x" * 100, 2], ["x" * 100, 23, 4]), as_rope=True)
@example(pair=([[1], ["x" * 100]], [[1], ["x" * 100], [3]]), as_rope=True)
@example(pair=({"a": "x" * 100, "b": 1}, {"b": 1, "a": "x" * 100}), as_rope=False)
def test_a_change_leads_to_exactly_the_new_value(pair: tuple[Any, Any], as_rope: bool) -> None:
    """Applying what `diff` found gives the new value, byte for byte."""
    base, new = map(orjson.dumps, pair)
    before = Rope.of(base) if as_rope and base[:1] == b"[" else base
    after = apply_op(before, diff(before, new), nothing)
    assert after is not None
    assert flat(after) == new
    assert size(after) == len(new)


@given(pair=pairs, as_rope=st.booleans())
def test_growth_leads_to_exactly_the_new_value(pair: tuple[Any, Any], as_rope: bool) -> None:
    """Applying what `growth` found gives the new value, byte for byte."""
    base, new = map(orjson.dumps, pair)
    before = Rope.of(base) if as_rope and base[:1] == b"[" else base
    op = growth(before, new)
    assert op[0] in ("", "+", "=")
    after = apply_op(before, op, nothing)
    assert after is not None
    assert flat(after) == new


@given(json_values)
def test_a_first_value_is_stored_whole(value: Any) -> None:
    """Without a value before it, a value is the change."""
    new = orjson.dumps(value)
    assert diff(None, new) == growth(None, new) == ("=", new)


@given(st.lists(elements, min_size=5, max_size=12))
def test_the_same_value_is_no_change(value: Any) -> None:
    """Equal bytes are no change, whether the base is flat or a rope."""
    data = orjson.dumps(value)
    assert diff(data, data) == diff(Rope.of(data), data) == SAME


@given(pairs)
def test_applying_leaves_the_base_as_it_was(pair: tuple[Any, Any]) -> None:
    """A value is never changed in place: others may hold it."""
    base, new = map(orjson.dumps, pair)
    before = Rope.of(base) if base[:1] == b"[" else base
    apply_op(before, diff(before, new), nothing)
    apply_op(before, ("=", new), nothing)
    assert flat(before) == base


# -- no larger than it must be ----------------------------------------------------------------

CHAT = [{"role": "user", "content": f"This is message number {n}."} for n in range(100)]
TABLE = {f"member {n}": f"the value of number {n}" for n in range(100)}


def _op(base: Any, new: Any) -> Op:
    return diff(orjson.dumps(base), orjson.dumps(new))


def _cost(op: Op) -> int:
    """What an operation stores: the bytes of its values and of its names."""
    parts: list[Any] = [*op[1].items(), op[2]] if op[0] == "m" else [op[1:]]
    flat_parts = [piece for part in parts for piece in part]
    return sum(len(piece) for piece in flat_parts if isinstance(piece, (bytes, str)))


def test_an_appended_element_is_stored_alone() -> None:
    """Appending to a long list stores the new elements and nothing else."""
    more = {"role": "assistant", "content": "new"}
    assert _op(CHAT, [*CHAT, more, 1]) == ("+", orjson.dumps([more, 1]))
    assert growth(orjson.dumps(CHAT), orjson.dumps([*CHAT, more])) == ("+", orjson.dumps([more]))


def test_a_changed_member_is_stored_alone() -> None:
    """Changing one member of a large dict stores that member."""
    assert _op(TABLE, TABLE | {"member 50": 0}) == ("m", {"member 50": b"0"}, ())


def test_a_new_member_is_stored_alone() -> None:
    """Adding a member to a large dict stores that member."""
    assert _op(TABLE, {**TABLE, "new": [1]}) == ("m", {"new": b"[1]"}, ())


def test_a_removed_member_is_stored_as_its_name() -> None:
    """Removing a member of a large dict stores its name."""
    rest = {name: item for name, item in TABLE.items() if name != "member 7"}
    assert _op(TABLE, rest) == ("m", {}, ("member 7",))


@pytest.mark.parametrize("place", [0, 50, 99])
def test_a_changed_element_is_stored_alone(place: int) -> None:
    """Changing one element of a long list stores that element and its place."""
    changed = [*CHAT[:place], 0, *CHAT[place + 1 :]]
    assert _op(CHAT, changed) == ("~", place, 1, b"[0]")


def test_a_window_that_moves_stores_what_came_in() -> None:
    """A list that drops its first elements and is given as many at its end stores the change."""
    assert _op(CHAT, [0, *CHAT]) == ("~", 0, 0, b"[0]")
    assert _op(CHAT, CHAT[1:]) == ("~", 0, 1, b"[]")
    assert _op(CHAT, CHAT[:-1]) == ("~", 99, 1, b"[]")


@pytest.mark.parametrize(
    ("base", "new"),
    [
        (TABLE, dict(reversed(TABLE.items()))),
        (TABLE, [1]),
        (CHAT, TABLE),
        (CHAT, list(reversed(CHAT))),
        (CHAT, CHAT[:2]),
        ([1], [1, 2]),
        ("a" * 200, "a" * 201),
        ({"~tuple": CHAT}, {"~tuple": [*CHAT, 1]}),
    ],
)
def test_other_changes_store_the_new_value(base: Any, new: Any) -> None:
    """What is no small change of the same kind of value is stored whole."""
    assert _op(base, new) == ("=", orjson.dumps(new))


@given(pairs)
def test_a_change_that_is_no_growth_costs_less_than_the_value(pair: tuple[Any, Any]) -> None:
    """An operation other than "=" pays: its values are smaller than the new value."""
    base, new = map(orjson.dumps, pair)
    op = diff(base, new)
    assert op[0] == "=" or _cost(op) < len(new)


def test_many_removed_names_are_not_stored_for_a_small_rest() -> None:
    """Where naming what went costs more than what is left, what is left is stored."""
    base = {f"a member with a long name: {n}": 1 for n in range(100)}
    rest = dict(list(base.items())[:30])
    assert _cost(_op(base, rest)) <= len(orjson.dumps(rest))


# -- operations that refer to tasks, and damaged ones -----------------------------------------

WRITTEN: dict[int, list[Written]] = {
    0: [b"[1,2]"],
    1: [b"[]"],
    2: [b"[3]", b"[4]"],
    3: [("+", b"[9]")],
    4: [("=", b'{"a":1}')],
    5: [],
    6: [b"7"],
}


@pytest.mark.parametrize(
    ("base", "op", "after"),
    [
        (None, ("w", 0), b"[1,2]"),
        (b"[0]", ("w", 3), b"[0,9]"),
        (b"5", ("w", 4), b'{"a":1}'),
        (b"5", ("w", 5), b"5"),
        (None, ("a", 0), b"[1,2]"),
        (None, ("a", 1), b"[]"),
        (b"[]", ("a", 1, 1), b"[]"),
        (b"[0]", ("a", 2, 0), b"[0,3,4,1,2]"),
        (b"[0]", ("-",), None),
        (None, ("-",), None),
        (b"[0]", ("",), b"[0]"),
        (b'{"a":1,"b":2}', ("m", {"c": b"[]", "a": b"0"}, ("b",)), b'{"a":0,"c":[]}'),
        (b"[1,2,3]", ("~", 1, 1, b"[7,8]"), b"[1,7,8,3]"),
    ],
)
def test_what_an_operation_makes(base: bytes | None, op: Op, after: bytes | None) -> None:
    """Each operation does what the table in the module says."""
    made = apply_op(base, op, WRITTEN.__getitem__)
    assert (None if made is None else flat(made)) == after


@pytest.mark.parametrize(
    ("base", "op"),
    [
        (b"[1]", ()),
        (b"[1]", ("?",)),
        (b"[1]", ("=", 5)),
        (b"[1]", ("=", "text")),
        (b"[1]", ("+", b'{"a":1}')),
        (b"1", ("+", b"[1]")),
        (None, ("+", b"[1]")),
        (b"1", ("a", 0)),
        (b"[1]", ("a", 6)),
        (b"[1]", ("a", 99)),
        (b"[1]", ("w", 99)),
        (b"[1]", ("w", "0")),
        (b"[1]", ("~", 0, 2, b"[]")),
        (b"[1]", ("~", -1, 1, b"[]")),
        (b"[1]", ("~", 0, 1, b"{}")),
        (b"[1]", ("~", 0, 1, b"[1")),
        (b"{}", ("~", 0, 0, b"[1]")),
        (None, ("m", {}, ())),
        (b"{}", ("m", {}, ("gone",))),
        (b"{}", ("m", {"a": b"nul"}, ())),
        (b"{", ("m", {"a": b"1"}, ())),
        (b"[1]", ("m", {"a": b"1"}, ())),
        (b"1", ("m", {}, ())),
    ],
)
def test_an_operation_that_does_not_fit_is_damage(base: bytes | None, op: Op) -> None:
    """An operation that cannot be applied raises IntegrityError, whatever is wrong with it."""
    with pytest.raises(IntegrityError, match="does not fit the value"):
        apply_op(base, op, WRITTEN.__getitem__)


def test_a_task_that_wrote_a_reference_to_itself_is_damage() -> None:
    """What a task wrote may not refer to what a task wrote."""
    with pytest.raises(IntegrityError):
        apply_op(b"[1]", ("w", 0), lambda task: [("w", 0)])
