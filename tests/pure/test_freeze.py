"""What a task returned is fixed in bytes the moment it returns."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from durable_graph import Overwrite
from durable_graph.decisions import freeze
from durable_graph.decisions.freeze import LARGE, Freezer
from durable_graph.errors import InvalidUpdateError, UnknownKeyWarning
from durable_graph.log.codec import blobs_in
from durable_graph.log.delta import Encoded, Written, apply_op, flat
from durable_graph.state.messages import Message, MessagesState
from tests.pure.definitions import Free, define, freezer_of, schema_of
from tests.pure.values import form, values

BIG = "x" * LARGE
Values = dict[str, Encoded]


@pytest.fixture
def freezer() -> Freezer:
    return freezer_of(define(schema=schema_of(a=Any, b=Any, items=Annotated[list, operator.add])))


def absolute(written: Written, base: Encoded | None = None) -> bytes:
    """What was written, as a whole value."""
    value = apply_op(base, written, lambda _: ()) if isinstance(written, tuple) else written
    assert value is not None
    return flat(value)


@given(base=values, value=values)
def test_a_value_thaws_as_it_was_frozen(base: Any, value: Any) -> None:
    """Cut into parts or not, as a change or as a whole, the value comes back exactly."""
    freezer = freezer_of(define(schema=Free))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(freeze, "LARGE", 16)  # small examples are cut into parts, too
        state: Values = {"a": freezer.reduced("a", base)}
        written = freezer.update("n", {"a": value}, state)["a"]
        assert form(freezer.thaw(absolute(written, state["a"]))) == form(value)
        for frozen in (freezer.value(value, "x"), freezer.packet(value, "x")):
            assert form(freezer.thaw(frozen)) == form(value)


def test_a_large_dict_may_have_any_keys() -> None:
    """A dict of which parts are cut out keeps keys with lone surrogates."""
    freezer = freezer_of(define(schema=Free))
    value = {"\ud800": BIG}
    assert freezer.thaw(absolute(freezer.update("n", {"a": value}, {})["a"])) == value


def test_what_is_changed_later_changes_nothing(freezer: Freezer) -> None:
    """A node that goes on with an object it returned cannot change what was written."""
    kept: dict[str, list[Any]] = {"list": [1], "big": [BIG]}
    written = freezer.update("n", {"a": kept}, {})
    kept["list"].append(2)
    kept["big"].clear()
    assert freezer.thaw(absolute(written["a"])) == {"list": [1], "big": [BIG]}


def test_each_thawed_copy_belongs_to_its_taker(freezer: Freezer) -> None:
    """Changing a thawed value changes neither the frozen one nor another copy."""
    frozen = freezer.reduced("a", {"list": [BIG]})
    freezer.thaw(frozen)["list"].append(1)
    assert freezer.thaw(frozen) == {"list": [BIG]}


# -- large values -----------------------------------------------------------------------------


def test_a_large_value_is_stored_once(freezer: Freezer) -> None:
    """The same large value in the state, in results, in sends and in answers is one."""
    written = freezer.update("n", {"a": BIG, "b": {"x": BIG, "y": [1, 2]}}, {})
    more = [freezer.packet({"doc": BIG, "n": n}, "x") for n in range(100)]
    more += [freezer.value(BIG, "x"), freezer.reduced("a", [BIG])]
    (digest,) = freezer.take_new()
    parts = [absolute(written["a"]), *more]
    assert all(blobs_in(part) == [digest] for part in parts)
    assert sum(map(len, parts)) < LARGE * 4


def test_a_large_value_is_new_only_once(freezer: Freezer) -> None:
    """What has been handed over to be written is not handed over again."""
    freezer.value(BIG, "x")
    assert len(freezer.take_new()) == 1
    freezer.value(BIG, "x")
    freezer.value("small", "x")
    assert not freezer.take_new()


def test_a_run_knows_only_what_the_state_refers_to(freezer: Freezer) -> None:
    """When a run begins, a large value that the state does not hold may have been pruned."""
    kept, gone = freezer.value(BIG, "x"), freezer.value(BIG + "2", "x")
    freezer.take_new()
    freezer.begin(set(blobs_in(kept)))
    assert freezer.thaw(kept) == BIG
    assert [*freezer.blobs] == blobs_in(kept)
    freezer.value(BIG, "x")
    freezer.value(BIG + "2", "x")
    assert [*freezer.take_new()] == blobs_in(gone)


def test_forgotten_values_need_not_be_stored_again(freezer: Freezer) -> None:
    """Within a run, what was written stays in storage even when nothing refers to it."""
    first = freezer.value(BIG, "x")
    freezer.take_new()
    freezer.keep(set())
    assert not freezer.blobs
    assert freezer.value(BIG, "x") == first
    assert freezer.thaw(first) == BIG
    assert not freezer.take_new()


def test_much_that_is_held_is_noticed(freezer: Freezer) -> None:
    """Once megabytes are held it is time to forget; what is kept does not count as much again."""
    assert not freezer.heavy
    frozen = freezer.value("y" * 3_000_000, "x")
    assert freezer.heavy
    freezer.keep(set(blobs_in(frozen)))
    assert not freezer.heavy


def test_one_changed_part_is_one_changed_part(freezer: Freezer) -> None:
    """In a large dict or list of large parts, a change of one part stores that part."""
    documents = {f"doc {n}": f"{n}{BIG}" for n in range(5)}
    pages = [f"{n}{BIG}" for n in range(5)]
    state: Values = {"a": freezer.reduced("a", documents), "b": freezer.reduced("b", pages)}
    freezer.take_new()
    changed = {"a": documents | {"doc 3": BIG}, "b": [*pages[:4], BIG, pages[4]]}
    written = freezer.update("n", changed, state)
    (new,) = freezer.take_new()
    reference = f'{{"~blob":"{new}"}}'.encode()
    assert written["a"] == ("m", {"doc 3": reference}, ())
    assert written["b"] == ("~", 4, 0, b"[%b]" % reference)


def test_texts_that_look_like_references_are_texts(freezer: Freezer) -> None:
    """A user's dict with the name of a large value is that dict."""
    freezer.value(BIG, "x")
    (digest,) = freezer.take_new()
    for forged in ({"~blob": digest}, {"k": {"~blob": digest}}, [{"~blob": digest}]):
        assert freezer.thaw(freezer.value(forged, "x")) == forged
        assert not blobs_in(freezer.value(forged, "x"))


# -- changes ----------------------------------------------------------------------------------


def test_a_key_without_reducer_stores_its_change(freezer: Freezer) -> None:
    """A value that grew, or of which a part changed, is stored as that."""
    items = [f"this is item number {n}" for n in range(20)]
    state: Values = {"a": orjson.dumps(items)}
    assert freezer.update("n", {"a": [*items, 1]}, state) == {"a": ("+", b"[1]")}
    assert freezer.update("n", {"a": items}, state) == {"a": ("",)}
    assert freezer.update("n", {"a": [0, *items]}, state) == {"a": ("~", 0, 0, b"[0]")}
    assert freezer.update("n", {"a": [1]}, state) == {"a": b"[1]"}


def test_an_overwrite_is_marked_as_one(freezer: Freezer) -> None:
    """Every spelling of an overwrite replaces the value, whatever it was."""
    state: Values = {"items": b"[1]"}
    plain = orjson.loads(orjson.dumps(Overwrite([1])))
    for given_ in (Overwrite([1]), {"__overwrite__": [1]}, plain):
        assert freezer.update("n", {"items": given_}, state) == {"items": ("=", b"[1]")}


@pytest.mark.parametrize(
    "given_", [{"type": "__overwrite__"}, {"value": 1}, {"__overwrite__": 1, "a": 2}]
)
def test_a_dict_that_only_resembles_an_overwrite_is_a_value(
    given_: dict[str, Any], freezer: Freezer
) -> None:
    """A user's own dicts stay what they are."""
    assert freezer.update("n", {"a": given_}, {}) == {"a": orjson.dumps(given_)}


def test_messages_that_replace_the_others_are_messages_with_ids() -> None:
    """As those that are added: whoever reads them next can name them."""
    freezer = freezer_of(define(schema=MessagesState))
    given_ = [("user", "a"), Message("ai", "b", id="1"), Message("ai", "c", id="1")]
    op, value = freezer.update("n", {"messages": Overwrite(given_)}, {})["messages"]
    assert op == "="
    assert [(m.content, m.id) for m in freezer.thaw(bytes(value))] == [("a", "id 1"), ("c", "1")]
    with pytest.raises(InvalidUpdateError, match="'n' wrote an invalid value to 'messages'"):
        freezer.update("n", {"messages": Overwrite([5])}, {})


# -- what is refused --------------------------------------------------------------------------


def test_an_unknown_key_warns_and_is_left_out(freezer: Freezer) -> None:
    """The warning names node and key, and the key that was probably meant."""
    with pytest.warns(UnknownKeyWarning, match="'n' wrote to 'itms'.*Did you mean 'items'"):
        assert freezer.update("n", {"itms": [1], "a": 1}, {}) == {"a": b"1"}


def test_a_strict_graph_refuses_an_unknown_key() -> None:
    """With ``strict=True`` the same is an error."""
    freezer = freezer_of(define(strict=True))
    with pytest.raises(InvalidUpdateError, match="'n' wrote to 'zzz', which is no key"):
        freezer.update("n", {"zzz": 1}, {})


@pytest.mark.filterwarnings("ignore::durable_graph.errors.UnknownKeyWarning")
def test_a_key_that_is_no_text_is_an_unknown_key(freezer: Freezer) -> None:
    """A key of another type is as unknown as any."""
    assert freezer.update("n", {1: "x"}, {}) == {}  # type: ignore[dict-item]


def test_what_cannot_be_stored_names_node_and_key(freezer: Freezer) -> None:
    """The error says who wrote what to where, and what is wrong with it."""
    with pytest.raises(InvalidUpdateError, match=r"Node 'n' cannot write this to 'a': .*object"):
        freezer.update("n", {"a": [object()]}, {})
    with pytest.raises(InvalidUpdateError, match=r"^The answer cannot be stored: .*object"):
        freezer.value(object(), "The answer")
    with pytest.raises(InvalidUpdateError, match=r"^What 'n' sends cannot be stored: .*object"):
        freezer.packet({"k": object()}, "What 'n' sends")


def found_as_text(old: list[int], new: str) -> list[int]:
    return [*old, int(new)]


class Checked(BaseModel):
    number: Annotated[int, Field(gt=-1)] = 0
    short: str = Field(default="", max_length=3)
    name: str = ""
    items: Annotated[list[int], operator.add] = []
    found: Annotated[list[int], found_as_text] = []

    @field_validator("name")
    @classmethod
    def known(cls, name: str) -> str:
        if name == "nobody":
            raise ValueError("unknown name")
        return name


def test_a_pydantic_state_checks_what_is_written() -> None:
    """A value is checked and converted by its field's type; the error names node and key."""
    freezer = freezer_of(define(schema=Checked))
    assert freezer.update("n", {"number": "7"}, {}) == {"number": b"7"}
    for wrong in ("x", -1, None, [1]):
        with pytest.raises(InvalidUpdateError, match="Node 'n' wrote an invalid value to 'number'"):
            freezer.update("n", {"number": wrong}, {})


def test_a_key_with_a_reducer_takes_what_its_reducer_takes() -> None:
    """Updates of a reduced key need not be of the key's own type."""
    freezer = freezer_of(define(schema=Checked))
    assert freezer.update("n", {"found": "7"}, {}) == {"found": b'"7"'}


def test_what_is_added_to_a_list_is_checked_by_itself() -> None:
    """So a long list is never looked at for the sake of what comes behind it."""
    freezer = freezer_of(define(schema=Checked))
    assert freezer.update("n", {"items": ["7"]}, {}) == {"items": b"[7]"}
    with pytest.raises(InvalidUpdateError, match="Node 'n' wrote an invalid value to 'items'"):
        freezer.update("n", {"items": ["x"]}, {})
    assert not freezer.checks_whole("items")
    assert freezer.checks_whole("found")


@pytest.mark.parametrize(
    "update",
    [
        {"short": "too long"},
        pytest.param(
            {"name": "nobody"},
        ),
    ],
)
def test_a_pydantic_field_checks_what_is_written(update: dict[str, str]) -> None:
    """What the model itself refuses does not get into the state, where no node could read it."""
    freezer = freezer_of(define(schema=Checked))
    with pytest.raises(InvalidUpdateError, match="wrote an invalid value to"):
        freezer.update("n", update, {})


def test_messages_get_their_ids_when_they_are_frozen() -> None:
    """Each message without an id gets one here, so that it has the same for ever."""
    freezer = freezer_of(define(schema=MessagesState))
    written = absolute(
        freezer.update("n", {"messages": ["hi", Message("ai", "x", id="7")]}, {})["messages"]
    )
    once, again = freezer.thaw(written), freezer.thaw(written)
    assert once == again
    assert [message.id for message in once] == ["id 1", "7"]


def test_what_is_no_message_names_node_and_key() -> None:
    """A wrong message is refused when it is written, not when it is reduced."""
    freezer = freezer_of(define(schema=MessagesState))
    with pytest.raises(InvalidUpdateError, match=r"'n' .* value to 'messages': 7 is not a"):
        freezer.update("n", {"messages": [7]}, {})


@given(st.lists(st.sampled_from([BIG, "small", 1]), max_size=4))
def test_what_is_to_be_written_is_what_is_referred_to(parts: list[Any]) -> None:
    """Every large value that an update refers to is handed over with it, and no other."""
    freezer = freezer_of(define(schema=Free))
    written = freezer.update("n", {"a": parts}, {})
    assert set(freezer.take_new()) == set(blobs_in(absolute(written["a"])))
