"""Somebody else's approval, the next day and in another process: who, when, and until when.

python examples/approval.py ask 250          the run stops at a question, and the process ends;
                                             with a second number, the seconds it is open
python examples/approval.py show             what is asked, what fits, and until when
python examples/approval.py answer ann yes   another process answers; the run goes on
python examples/approval.py late             the deadline has passed: the default holds
python examples/approval.py record           who answered what, and when
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Literal, TypedDict

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.errors import AlreadyAnsweredError, InvalidAnswerError
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver

DECISION = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
A_WEEK = timedelta(days=7)


class Payment(TypedDict, total=False):
    to: str
    amount: int
    within: float
    outcome: Literal["paid", "refused"]


def approve(payment: Payment) -> Payment:
    decision = interrupt(
        {"pay": payment["amount"], "to": payment["to"]},
        response_schema=DECISION,
        timeout=payment.get("within", A_WEEK),
        default={"approved": False, "reason": "nobody answered"},
    )
    # The answer is bound to this very amount: had it changed, this would be another question.
    return {"outcome": "paid" if decision["approved"] else "refused"}


graph = StateGraph(Payment).add_node(approve).add_edge(START, "approve")
config: RunnableConfig = {"configurable": {"thread_id": "invoice-9"}}


def day(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}"


def main(command: str, *words: str) -> None:
    with SqliteSaver("payments.db") as saver:
        payments = graph.compile(saver)
        if command == "ask":
            payment: Payment = {"to": "ACME", "amount": int(words[0])}
            if len(words) > 1:
                payment["within"] = float(words[1])
            payments.invoke(payment, config, by="clerk")
        if command in ("ask", "show"):
            for question in payments.get_state(config).interrupts:
                print("asked:", question.value, "until", day(question.deadline or 0))
                print("fits: ", question.response_schema["properties"])
        if command == "answer":
            by, word = words
            answer = {"yes": {"approved": True}, "no": {"approved": False}}.get(word, word)
            try:
                print(payments.invoke(Command(resume=answer), config, by=by))
            except (InvalidAnswerError, AlreadyAnsweredError) as error:
                print("refused:", error)
        if command == "late":
            print(payments.invoke(None, config))
        if command == "record":
            for checkpoint in payments.get_state_history(config):
                for question in checkpoint.interrupts:
                    if question.answer is not None:
                        given, who, time = question.answer
                        print(f"{question.value}: {given} by {who} on {day(time)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:])
    else:
        print(__doc__)
