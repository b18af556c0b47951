"""Which answer is meant for which question."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions.answers import all_answers, interrupt_id, is_over, match_answers
from durable_graph.errors import AlreadyAnsweredError, AmbiguousAnswerError, UnknownInterruptError
from durable_graph.log.records import Answer, Answers, Ask

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


def test_an_answer_after_the_deadline_is_refused() -> None:
    """By id, and bare where nothing else is open; else a bare one is for what is left."""
    for resume in ({ONE: 1}, {TWO: 2, ONE: 1}):
        with pytest.raises(AlreadyAnsweredError, match=r"deadline.*nothing was changed"):
            match_answers(resume, [ONE, TWO], [], "t", [ONE])
    with pytest.raises(AlreadyAnsweredError, match="deadline"):
        match_answers("yes", [ONE, TWO], [], "t", [ONE, TWO])
    assert match_answers("yes", [ONE, TWO], [], "t", [ONE]) == {TWO: "yes"}


@pytest.mark.parametrize(
    ("deadline", "now", "over"), [(None, 9e9, False), (5.0, 4.9, False), (5.0, 5.0, True)]
)
def test_a_deadline_is_over_from_its_moment_on(
    deadline: float | None, now: float, over: bool
) -> None:
    """Not only after it; and never where there is none."""
    assert is_over(Ask(ONE, b"1", deadline=deadline), now) is over


ANN = Answer(b"1", "ann", 5.0)


def test_answers_are_written_down_by_hand_and_moment() -> None:
    """Those of one person at one time together, and those that a deadline left without a value."""
    over = Answer(None, "deadline", 5.0)
    given = {ONE: ANN, TWO: Answer(b"2", "bob", 5.0), DONE: ANN, OTHER: over}
    assert list(all_answers(given)) == [
        (Answers({ONE: b"1", DONE: b"1"}), "ann", 5.0),
        (Answers({TWO: b"2"}), "bob", 5.0),
        (Answers({}, (OTHER,)), "deadline", 5.0),
    ]


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
