"""A new version of a graph meets threads of the old one: refused by name, or migrated.

python examples/new_version.py            both versions, one after the other
python -m durable_graph.compat new_version:second sqlite:///versions.db   what would break
"""

from typing import Any, TypedDict

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.errors import IncompatibleGraphError
from durable_graph.migration import convert_key, rename_key, rename_node
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver


class Letter(TypedDict, total=False):
    to: str
    txt: str


class LetterNow(TypedDict, total=False):
    to: list[str]
    text: str


def draft(letter: Letter) -> Letter:
    return {"txt": interrupt("What shall I write?")}


def write(letter: LetterNow) -> LetterNow:
    return {"text": interrupt("What shall I write?")}


def send(letter: LetterNow) -> None:
    print("sending to", " and ".join(letter["to"]), ":", letter["text"])


# A list that only grows at its end: each new version adds what it has changed.
CHANGES: list[Any] = [
    rename_node("draft", "write"),
    rename_key("txt", "text"),
    convert_key("to", lambda name: [name], was="str"),
]

first = StateGraph(Letter).add_node(draft).add_edge(START, "draft")
second = StateGraph(LetterNow).add_sequence([write, send]).add_edge(START, "write")
config: RunnableConfig = {"configurable": {"thread_id": "1"}}

if __name__ == "__main__":
    with SqliteSaver("versions.db") as saver:
        saver.delete_thread("1")  # of the last time that this was run
        first.compile(saver).invoke({"to": "Ada"}, config)
        try:
            second.compile(saver).invoke(Command(resume="Dear Ada"), config)
        except IncompatibleGraphError as error:
            print("refused:", error)
        letters = second.compile(saver, migrations=CHANGES)
        print("waits:", letters.get_state(config).next, letters.get_state(config).values)
        letters.invoke(Command(resume="Dear Ada"), config)
