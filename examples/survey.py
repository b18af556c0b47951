"""Survey a tree of Python files, and go on wherever a crash cut it off.

    python survey.py [DIR] [--out report.md] [--db survey.db] [--limit 15] [--yes]

Every file is analysed in a task of its own, the results are added up, a report is drafted, and a
person approves, edits or rejects it before it is published. Kill it at any moment and run the
same command again: it goes on, and no file whose analysis was stored is analysed again.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import operator
import os
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from durable_graph import END, START, Command, Overwrite, Send, StateGraph, interrupt
from durable_graph.errors import DurableGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from python_facts import Facts, facts_of

PACKAGES = ("asyncio", "concurrent", "email", "json", "http")
"""What is surveyed by default: these packages of the running Python."""

AT_ONCE = 8
"""How many files are analysed at once."""


class SurveyError(Exception):
    """There is nothing to survey; the message says why."""


# -- the state ---------------------------------------------------------------------------------


class Totals(TypedDict):
    """All files, added up."""

    files: int
    lines: int
    functions: int
    public: int
    documented: int
    todos: int
    problems: list[str]
    complex: list[str]


class Survey(TypedDict, total=False):
    """The state of a survey. The first four keys are its input."""

    base: str
    folders: list[str]
    limit: int
    out: str
    files: list[str]
    facts: Annotated[list[Facts], operator.add]
    totals: Totals
    report: str
    published: str | None


class File(TypedDict):
    """The input of one task of the fan-out."""

    base: str
    file: str


class Answer(TypedDict, total=False):
    """What a person says to a report; `report` is the new text of an edited one."""

    choice: Literal["approve", "edit", "reject"]
    report: str


# -- the nodes ---------------------------------------------------------------------------------


def find(state: Survey) -> dict[str, Any]:
    """Find the files. Starts from nothing, also on a thread that has been surveyed before."""
    base = Path(state["base"])
    found = {file for folder in state["folders"] for file in _python_files(base / folder)}
    if not found:
        raise SurveyError(
            f"No Python files in {', '.join(str(base / f) for f in state['folders'])}."
        )
    files = sorted(file.relative_to(base).as_posix() for file in found)
    return {"files": files, "facts": Overwrite([]), "published": None}


def fan_out(state: Survey) -> list[Send]:
    """One task per file."""
    return [Send("analyse", File(base=state["base"], file=file)) for file in state["files"]]


def analyse(task: File) -> Survey:
    """Analyse one file. One that cannot be read or parsed is a fact as well."""
    return {"facts": [facts_of(task["base"], task["file"])]}


def add_up(state: Survey) -> Survey:
    """Reduce the facts to totals."""
    facts = state["facts"]
    over = [
        (function["complexity"], f"{one['file']}:{function['line']} {function['name']}")
        for one in facts
        for function in one["functions"]
        if function["complexity"] > state["limit"]
    ]
    return {
        "totals": Totals(
            files=len(facts),
            lines=sum(one["lines"] for one in facts),
            functions=sum(len(one["functions"]) for one in facts),
            public=sum(one["public"] for one in facts),
            documented=sum(one["documented"] for one in facts),
            todos=sum(one["todos"] for one in facts),
            problems=[f"{one['file']}: {one['problem']}" for one in facts if one["problem"]],
            complex=[f"{n:>4}  {where}" for n, where in sorted(over, key=lambda o: (-o[0], o[1]))],
        )
    }


def draft(state: Survey) -> Survey:
    """Write the report."""
    totals = state["totals"]
    documented = 100 * totals["documented"] // max(1, totals["public"])
    lines = [
        f"# Survey of {', '.join(state['folders'])}",
        "",
        f"{totals['files']:,} files, {totals['lines']:,} lines, {totals['functions']:,} functions.",
        f"{documented} % of what is public has a docstring. {totals['todos']:,} TODOs.",
        *_listed(f"functions with a complexity over {state['limit']}", totals["complex"]),
        *_listed("files that could not be analysed", totals["problems"]),
    ]
    text = "\n".join(lines) + "\n"
    # A file's name may hold bytes that are no text; a report may not.
    return {"report": text.encode("utf-8", "backslashreplace").decode()}


def _listed(what: str, items: list[str], most: int = 12) -> list[str]:
    """A section of the report; none if there is nothing to list."""
    more = [f"... and {len(items) - most:,} more"] if len(items) > most else []
    lines = [f"    {item}" for item in items[:most] + more]
    return ["", f"{len(items):,} {what}:", "", *lines] if items else []


def review(state: Survey) -> Command[Literal["publish", "__end__"]]:
    """Ask a person. The run ends here, and goes on with the answer, in whatever process."""
    answer: Answer = interrupt({"question": "Publish this report?", "report": state["report"]})
    if answer["choice"] == "reject":
        return Command(goto=END)
    return Command(update={"report": answer.get("report", state["report"])}, goto="publish")


def publish(state: Survey) -> Survey:
    """Put the report where it is read. Done twice, as after a crash, it is as if done once."""
    out = Path(state["out"])
    unfinished = out.with_name(f".{out.name}.new")
    unfinished.write_text(state["report"], encoding="utf-8")
    unfinished.replace(out)
    return {"published": str(out)}


def build(saver: Saver, analyse: Callable[[File], Survey] = analyse) -> CompiledGraph:
    """The graph; whoever wants to analyse something else brings another `analyse`."""
    graph = StateGraph(Survey)
    graph.add_node("find", find)
    graph.add_node("analyse", analyse, input_schema=File)
    graph.add_sequence([add_up, draft, review])
    graph.add_node("publish", publish)
    graph.add_edge(START, "find")
    graph.add_conditional_edges("find", fan_out, ["analyse"])
    graph.add_edge("analyse", "add_up")
    return graph.compile(saver, name="survey")


def _python_files(folder: Path) -> Iterator[Path]:
    """Python files in a folder; what is hidden, such as a virtual environment, is left out."""
    for where, folders, names in os.walk(folder, onerror=_cannot_read):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(where, name) for name in names if name.endswith(".py"))


def _cannot_read(error: OSError) -> None:
    raise SurveyError(f"{error.filename} cannot be read: {error.strerror}.")


# -- running it --------------------------------------------------------------------------------


def survey_of(folder: Path | None, out: Path, limit: int) -> tuple[Survey, RunnableConfig]:
    """A survey's input and the thread it runs on: one for every folder.

    Raises:
        SurveyError: there is no such folder, or none for the report.
    """
    if folder is None:
        base, folders = Path(sysconfig.get_path("stdlib")), list(PACKAGES)
    elif folder.is_dir():
        base, folders = folder.resolve().parent, [folder.resolve().name]
    else:
        raise SurveyError(f"{folder} is no folder.")
    if not out.resolve().parent.is_dir():
        raise SurveyError(f"There is no folder {out.parent} to put the report into.")
    survey = Survey(base=str(base), folders=folders, limit=limit, out=str(out.resolve()))
    thread = f"survey of {base}: {' '.join(folders)}"
    return survey, {"configurable": {"thread_id": thread}, "max_concurrency": AT_ONCE}


async def advance(graph: CompiledGraph, what: Survey | Command[Any], config: RunnableConfig) -> Any:
    """Run until a question is asked, which is returned, or the survey is over."""
    question = None
    stored = await graph.aget_state(config)
    files, done = len(stored.values.get("files", ())), len(stored.values.get("facts", ()))
    if "analyse" in stored.next:
        print(f"Going on: {done} of {files} files are stored.")
    events = graph.astream(what, config, stream_mode="updates", on_pending="supersede")
    async for update in events:
        for node, change in update.items():
            if node == "__interrupt__":
                question = change[0].value
            elif node == "find":
                files, done = len(change["files"]), 0
            elif node == "analyse":
                done += 1
                print(f"{done:>5} of {files}  {change['facts'][0]['file']}")
            elif node == "publish":
                print(f"Published: {change['published']}")
    return question


def ask(question: dict[str, Any]) -> Answer:
    """Ask whoever sits at the terminal."""
    print(f"\n{question['report']}")
    while True:
        match input(f"{question['question']} [a]pprove, [e]dit, [r]eject: ").strip().lower()[:1]:
            case "a":
                return {"choice": "approve"}
            case "e":
                try:
                    return {"choice": "edit", "report": edited(question["report"])}
                except (OSError, subprocess.CalledProcessError) as error:
                    print(f"The editor failed: {error}")
            case "r":
                return {"choice": "reject"}


def edited(text: str) -> str:
    """The text as it is after a visit to the editor."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.md")
        file.write_text(text, encoding="utf-8")
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        subprocess.run([*editor.split(), str(file)], check=True)  # noqa: S603  # it is theirs
        return file.read_text(encoding="utf-8")


def main() -> None:
    """Survey a folder from the command line."""
    options = argparse.ArgumentParser(description="Survey a tree of Python files.")
    options.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="what to survey")
    options.add_argument("--out", type=Path, default=Path("report.md"), help="the report")
    options.add_argument("--db", type=Path, default=Path("survey.db"), help="where it is stored")
    options.add_argument("--limit", type=int, default=15, help="list functions more complex")
    options.add_argument("--yes", action="store_true", help="approve without being asked")
    given = options.parse_args()
    unattended = given.yes or not sys.stdin.isatty()
    # What is surveyed may be full of warnings, and of names that no terminal can print.
    warnings.simplefilter("ignore", SyntaxWarning)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        survey, config = survey_of(given.folder, given.out, given.limit)
        with SqliteSaver(given.db) as saver:
            graph = build(saver)
            step: Survey | Command[Any] = survey
            while question := asyncio.run(advance(graph, step, config)):
                step = Command(resume={"choice": "approve"} if unattended else ask(question))
    except (SurveyError, DurableGraphError) as error:
        sys.exit(f"survey: {error}")
    except (KeyboardInterrupt, EOFError):
        sys.exit("\nStopped. Run it again, and it goes on.")


if __name__ == "__main__":
    main()
