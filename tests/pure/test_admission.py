"""What a call does, by the thread's status: every cell of the table.

Rows are how the thread stands, columns what the call brings. The questions of a thread are those
that are open; only "asking" always has some, but a thread can crash, fail or be stopped with a
question open, and then nothing may drop it silently.
"""

from __future__ import annotations

import itertools
from typing import TypeAlias, get_args

import pytest

from durable_graph.decisions.admission import Action, Asked, Situation, admit
from durable_graph.errors import (
    EmptyInputError,
    NothingToResumeError,
    PendingInterruptsError,
    RunError,
    ThreadBusyError,
)
from durable_graph.log.records import Status
from durable_graph.types import OnPending

Cell: TypeAlias = Action | type[RunError]

SITUATIONS: tuple[Situation, ...] = ("new", "crashed", *get_args(Status))
ASKED: tuple[Asked, ...] = get_args(Asked)
PENDING: tuple[OnPending, ...] = get_args(OnPending)

RETURN, GO_ON, BEGIN = Action.RETURN, Action.GO_ON, Action.BEGIN
ANSWER, POST, ANSWER_WITH_INPUT = Action.ANSWER, Action.POST, Action.ANSWER_WITH_INPUT
NOTHING, BUSY, OPEN = NothingToResumeError, ThreadBusyError, PendingInterruptsError

# (situation, open questions): what each column does.
TABLE: dict[tuple[Situation, int], tuple[Cell, Cell, Cell, Cell]] = {
    # ("nothing", "same input", "input", "answer")
    ("new", 0): (EmptyInputError, BEGIN, BEGIN, NOTHING),
    ("finished", 0): (RETURN, BEGIN, BEGIN, NOTHING),
    ("crashed", 0): (GO_ON, GO_ON, BEGIN, NOTHING),
    ("failed", 0): (GO_ON, GO_ON, BEGIN, NOTHING),
    ("stopped", 0): (GO_ON, GO_ON, BEGIN, NOTHING),
    ("running", 0): (BUSY, BUSY, BUSY, NOTHING),
    ("asking", 1): (RETURN, RETURN, OPEN, ANSWER),
    ("asking", 3): (RETURN, RETURN, OPEN, ANSWER),
    ("crashed", 1): (GO_ON, GO_ON, OPEN, ANSWER),
    ("failed", 1): (GO_ON, GO_ON, OPEN, ANSWER),
    ("stopped", 1): (GO_ON, GO_ON, OPEN, ANSWER),
    ("running", 1): (BUSY, BUSY, BUSY, POST),
}
CELLS = [
    (situation, questions, asked, cell)
    for (situation, questions), row in TABLE.items()
    for asked, cell in zip(ASKED, row, strict=True)
]


def decide(
    situation: Situation,
    asked: Asked,
    questions: int,
    *,
    on_pending: OnPending = "reject",
    branch: bool = False,
    posted: bool = False,
) -> Cell:
    try:
        return admit(
            situation,
            asked,
            thread="the thread",
            questions=questions,
            on_pending=on_pending,
            branch=branch,
            posted=posted,
            owner="somebody",
        )
    except RunError as error:
        return type(error)


def test_the_table_has_every_cell() -> None:
    """Every status is a row, whatever statuses there come to be."""
    assert (
        {situation for situation, _ in TABLE}
        == set(SITUATIONS)
        == set(get_args(Status))
        | {
            "new",
            "crashed",
        }
    )


@pytest.mark.parametrize(("situation", "questions", "asked", "cell"), CELLS)
def test_what_a_call_does(situation: Situation, questions: int, asked: Asked, cell: Cell) -> None:
    """Each cell of the table."""
    assert decide(situation, asked, questions) == cell


@pytest.mark.parametrize("situation", ["asking", "crashed", "failed", "stopped"])
@pytest.mark.parametrize(
    ("on_pending", "cell"), [("reject", OPEN), ("answer", ANSWER_WITH_INPUT), ("supersede", BEGIN)]
)
def test_open_questions_are_not_dropped_silently(
    situation: Situation, on_pending: OnPending, cell: Cell
) -> None:
    """A new input meets open questions only as its caller says."""
    assert decide(situation, "input", 1, on_pending=on_pending) == cell


@pytest.mark.parametrize(("situation", "questions", "asked", "cell"), CELLS)
@pytest.mark.parametrize("on_pending", PENDING)
def test_on_pending_is_only_about_a_new_input_and_open_questions(
    situation: Situation, questions: int, asked: Asked, cell: Cell, on_pending: OnPending
) -> None:
    """Where it does not apply it changes nothing."""
    if not (asked == "input" and questions and situation != "running"):
        assert decide(situation, asked, questions, on_pending=on_pending) == cell


@pytest.mark.parametrize("situation", [s for s in SITUATIONS if s not in ("running", "new")])
@pytest.mark.parametrize("questions", [0, 2])
def test_a_named_checkpoint_makes_a_branch(situation: Situation, questions: int) -> None:
    """However the thread stands, a call at a checkpoint branches off there and asks nobody."""
    for on_pending in PENDING:
        cells = [
            decide(situation, asked, questions, branch=True, on_pending=on_pending)
            for asked in ASKED
        ]
        answer = Action.BRANCH_ANSWER if questions else NOTHING
        begin = Action.BRANCH_BEGIN
        assert cells == [Action.BRANCH_ON, begin, begin, answer]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("questions", [0, 2])
def test_a_running_thread_is_not_branched(asked: Asked, questions: int) -> None:
    """While a live run owns the thread, a call at a checkpoint is refused like any other."""
    assert decide("running", asked, questions, branch=True) is BUSY


def test_a_waiting_answer_is_taken_up() -> None:
    """An answer that was left for an owner who died is found by the next call with nothing."""
    assert decide("asking", "nothing", 1, posted=True) is GO_ON
    assert decide("asking", "same input", 1, posted=True) is GO_ON


@pytest.mark.parametrize(("situation", "questions", "asked", "cell"), CELLS)
def test_a_waiting_answer_changes_nothing_else(
    situation: Situation, questions: int, asked: Asked, cell: Cell
) -> None:
    """Besides that, messages in the inbox leave the table as it is."""
    if situation != "asking" or asked not in ("nothing", "same input"):
        assert decide(situation, asked, questions, posted=True) == cell


def test_every_call_has_an_answer() -> None:
    """No combination of arguments raises anything but an error about the thread's state."""
    flags = (False, True)
    for situation, asked, questions, on_pending, branch, posted in itertools.product(
        SITUATIONS, ASKED, (0, 1, 2), PENDING, flags, flags
    ):
        decided = decide(
            situation, asked, questions, on_pending=on_pending, branch=branch, posted=posted
        )
        assert isinstance(decided, Action) or issubclass(decided, RunError)


def test_the_refusals_say_what_to_do() -> None:
    """Each error names the thread and the way on."""
    with pytest.raises(EmptyInputError, match="call with an input"):
        admit("new", "nothing", thread="t", questions=0)
    with pytest.raises(ThreadBusyError, match=r"is being run by worker 7\. Wait"):
        admit("running", "input", thread="t", questions=0, owner="worker 7")
    with pytest.raises(ThreadBusyError, match=r"is being run\. Wait"):
        admit("running", "input", thread="t", questions=0)
    with pytest.raises(NothingToResumeError, match="call with None"):
        admit("finished", "answer", thread="t", questions=0)
    with pytest.raises(PendingInterruptsError, match=r"asks 1 question that .*on_pending='answer'"):
        admit("asking", "input", thread="t", questions=1)
    with pytest.raises(PendingInterruptsError, match="asks 2 questions that"):
        admit("asking", "input", thread="t", questions=2)
