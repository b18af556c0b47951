"""Which answer is meant for which question."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions.answers import interrupt_id, match_answers
from durable_graph.errors import AlreadyAnsweredError, AmbiguousAnswerError, UnknownInterruptError

ONE, TWO, DONE, OTHER = ("1" * 32, "2" * 32, "d" * 32, "e" * 32)


@given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())))
def test_a_bare_answer_is_for_the_only_question(resume: Any) -> None:
    """Any value is an answer, None included."""
    assert match_answers(resume, [ONE], [], "t") == {ONE: resume}


@pytest.mark.parametrize(
    "resume",
    [{"key": 1}, {ONE: 1, "key": 2}, {ONE[:31]: 1}, {ONE + "0": 1}, {ONE.upper() + "G": 1}, {1: 2}],
)
def test_a_dict_that_is_not_all_ids_is_an_answer(resume: Any) -> None:
    """Only a dict whose keys are all interrupt ids answers by id."""
    assert match_answers(resume, [ONE], [], "t") == {ONE: resume}


def test_several_questions_are_answered_by_id() -> None:
    """Some or all of the open questions, whatever the answers are."""
    assert match_answers({TWO: None}, [ONE, TWO], [], "t") == {TWO: None}
    assert match_answers({TWO: {}, ONE: 0}, [ONE, TWO], [DONE], "t") == {ONE: 0, TWO: {}}


@pytest.mark.parametrize("resume", ["yes", None, {"key": 1}, [1, 2]])
def test_a_bare_answer_to_several_questions_is_ambiguous(resume: Any) -> None:
    """The error lists the ids to choose from."""
    with pytest.raises(AmbiguousAnswerError, match=f"asks 2 questions.*{ONE}.*{TWO}"):
        match_answers(resume, [ONE, TWO], [], "t")


def test_a_question_is_answered_once() -> None:
    """A second answer is refused, even beside an answer that would be fine."""
    with pytest.raises(AlreadyAnsweredError, match=f"{DONE} of thread 't' has an answer"):
        match_answers({ONE: 1, DONE: 2}, [ONE], [DONE], "t")


def test_a_question_nobody_asked_has_no_answer() -> None:
    """An id that is not open is refused; the error says what is."""
    with pytest.raises(UnknownInterruptError, match=f"no open question {OTHER}; it asks .*{ONE}"):
        match_answers({OTHER: 1}, [ONE], [], "t")


def test_an_empty_mapping_answers_nothing() -> None:
    """It names no question, so it is a mistake."""
    with pytest.raises(UnknownInterruptError, match="answers nothing"):
        match_answers({}, [ONE], [], "t")


def test_the_id_of_a_question_is_the_same_for_ever() -> None:
    """Ids are kept by those who are to answer: no release may compute others."""
    assert interrupt_id("task", b'"really?"', 0) == "0aa67a5d61018757642bc766ad62a27b"


@given(
    st.sets(
        st.tuples(st.text("ab", max_size=2), st.binary(max_size=2), st.integers(0, 12)), max_size=20
    )
)
def test_different_questions_have_different_ids(asked: set[tuple[str, bytes, int]]) -> None:
    """Task, question and how often it was asked before tell questions apart."""
    ids = {interrupt_id(*question) for question in asked}
    assert len(ids) == len(asked)
    for name in ids:
        assert match_answers({name: 1}, [name], [], "t") == {name: 1}
