"""The survey as a show: killed in the middle, gone on with, looked at, and forked.

    python survey_demo.py [DIR] [--yes] [--folder DIR]

Two processes run the graph of `survey.py` one after the other. The first kills itself with
SIGKILL while files are being analysed; the second is started in the same way and goes on. A log
outside the library then shows what was done how often. It exits with 0 only if all of it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

import survey
from durable_graph import Command, StateSnapshot
from durable_graph.errors import DurableGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from effect_log import Check, EffectLog, checks_of
from survey import Answer, File, Survey, SurveyError
from survey_display import Display, branches, check_table, history_table, reports

LIMIT, EDITED_LIMIT = 15, 8
SECONDS = 5.0
"""How long the fan-out should take at most; the work itself is too fast to be watched."""

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """What all parts of the show are about.

    Attributes:
        dir: what is surveyed; ``None`` for parts of Python itself.
        folder: where everything is kept: the database, the effect log, the reports.
        yes: approve without asking.
    """

    dir: Path | None
    folder: Path
    yes: bool

    @property
    def saver(self) -> SqliteSaver:
        """The database that all processes use."""
        return SqliteSaver(self.folder / "survey.db")

    def log(self, process: Literal["first", "second", "audience"]) -> EffectLog:
        """The effect log, as one process sees it."""
        return EffectLog(self.folder / "effects.log", process)

    def survey(self) -> tuple[Survey, RunnableConfig]:
        """The survey's input and config.

        Raises:
            SurveyError: there is nothing to survey.
        """
        return survey.survey_of(self.dir, self.folder / "report.md", LIMIT)

    def command(self, process: str, *more: str) -> list[str]:
        """The command that starts one of the two processes."""
        command = [sys.executable, __file__, "--folder", str(self.folder), "--process", process]
        command += ["--yes"] if self.yes else []
        return [*command, *more, *([str(self.dir)] if self.dir is not None else [])]


# -- in the two processes ----------------------------------------------------------------------


def logged(log: EffectLog, pause: float, die_at: int | None) -> Callable[[File], Survey]:
    """The survey's own analysis, with an effect outside and, for one of them, a sudden end."""
    number = itertools.count(1)

    def analyse(task: File) -> Survey:
        log.add("analysed", task["file"])
        # Stands for work that takes longer than this one's, and not always as long.
        time.sleep(pause * (0.5 + zlib.crc32(os.fsencode(task["file"])) / 2**32))
        if next(number) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return survey.analyse(task)

    return analyse


async def run(graph: CompiledGraph, step: Any, config: RunnableConfig, log: EffectLog) -> Any:
    """Run to the end or to a question, which is returned; show how it goes."""
    question = None
    stored = await graph.aget_state(config)
    with Display(console, "analysing") as display:
        if stored.values.get("files"):
            display.begin(len(stored.values["files"]), stored.values["facts"])
        async for update in graph.astream(step, config, stream_mode="updates"):
            for node, change in update.items():
                if node == "__interrupt__":
                    question = change[0].value
                elif node == "find":
                    display.begin(len(change["files"]))
                elif node == "analyse":
                    log.add("acknowledged", change["facts"][0]["file"])
                    display.add(change["facts"][0])
    return question


def perform(stage: Stage, process: Literal["first", "second"], die_at: int | None) -> None:
    """What each of the two processes does: the survey, or what is left of it."""
    step, config = stage.survey()
    files, log = survey.find(step)["files"], stage.log(process)
    pause = min(0.2, SECONDS * survey.AT_ONCE / len(files))
    with stage.saver as saver:
        graph = survey.build(saver, logged(log, pause, die_at))
        question = asyncio.run(run(graph, step, config, log))
        while question:
            command: Command[Any] = Command(resume=answer(question, unattended=stage.yes))
            question = asyncio.run(graph.ainvoke(command, config)).get("__interrupt__")


def answer(question: dict[str, Any], *, unattended: bool) -> Answer:
    """The answer of whoever watches; or yes."""
    if not unattended and sys.stdin.isatty():
        return survey.ask(question)
    console.print(Text(f"\n{question['report']}"))
    console.print(f"{question['question']} [bold]yes[/] (unattended)")
    return {"choice": "approve"}


# -- the show ----------------------------------------------------------------------------------


def show(stage: Stage) -> bool:
    """The whole show; whether everything held.

    Raises:
        SurveyError: there is nothing to survey.
    """
    given, config = stage.survey()
    files: list[str] = survey.find(given)["files"]
    act("1. A survey is killed in the middle")
    console.print(Text(f"{len(files)} files in {', '.join(given['folders'])}"))
    died = started("first", stage, "--die-at", str(1 + 2 * len(files) // 5))
    finished = [one["file"] for one in asyncio.run(state(stage, config)).values.get("facts", ())]
    console.print(f"[bold red]{end(died)}.[/] The facts of {len(finished)} files are stored.")

    act("2. The same command again goes on, and asks")
    ended = started("second", stage)
    final = asyncio.run(state(stage, config))

    act("3. What a log outside the library says")
    in_state = [one["file"] for one in final.values.get("facts", ())]
    checks = [
        Check("the first process was killed", died == -signal.SIGKILL, end(died)),
        *checks_of(files, finished, in_state, stage.log("audience"), survey.AT_ONCE),
        Check("the second process ended by itself", ended == 0, end(ended)),
    ]
    if not ended:
        checks.append(published(final))
    console.print(check_table(checks))
    if ended:
        return False

    act("4. The thread's checkpoints, newest first")
    history = asyncio.run(checkpoints(stage, config))
    console.print(history_table(history))

    act(f"5. From an old checkpoint with another limit: {EDITED_LIMIT} instead of {LIMIT}")
    more = asyncio.run(fork(stage, config, history))
    console.print(check_table(more))
    return all(check.holds for check in (*checks, *more))


async def fork(
    stage: Stage, config: RunnableConfig, history: Sequence[StateSnapshot]
) -> list[Check]:
    """Go back to where all facts were there, change the limit, and go on from there."""
    place = next(i for i, snapshot in enumerate(history) if snapshot.next == ("add_up",))
    base, original = history[place], history[:place]
    analysed = stage.log("audience").files("analysed")
    other = stage.folder / "report-of-the-fork.md"
    async with stage.saver as saver:
        graph = survey.build(saver, logged(stage.log("audience"), 0, None))
        edit = {"limit": EDITED_LIMIT, "out": str(other)}
        edited = await graph.aupdate_state(base.config, edit, as_node="analyse")
        await graph.ainvoke(None, {**config, **edited})
        await graph.ainvoke(Command(resume={"choice": "approve"}), config)
        after = [snapshot async for snapshot in graph.aget_state_history(config)]
        last = await graph.aget_state(original[0].config)
    grown = after[: len(after) - len(history)]
    first, second = original[0].values, after[0].values
    console.print(
        branches(
            [*reversed(history[place:])],
            [
                (f"as it was: limit {first['limit']}", [*reversed(original)]),
                (f"the fork: limit {second['limit']}", [*reversed(grown)]),
            ],
        )
    )
    texts = [(f"limit {values['limit']}", values["report"]) for values in (first, second)]
    console.print(reports(console, texts))
    again = len(stage.log("audience").files("analysed")) - len(analysed)
    return [
        Check("the fork has the edited state", second["limit"] == EDITED_LIMIT, str(other.name)),
        Check(
            "its report is published",
            other.read_text(encoding="utf-8") == second["report"],
            str(other.name),
        ),
        Check("no file was analysed for it", again == 0, f"{again} analysed"),
        Check("the original branch is as it was", last.values == first, "its last state is equal"),
    ]


async def state(stage: Stage, config: RunnableConfig) -> StateSnapshot:
    """The thread as it is stored, whether or not its process lives."""
    async with stage.saver as saver:
        return await survey.build(saver).aget_state(config)


async def checkpoints(stage: Stage, config: RunnableConfig) -> list[StateSnapshot]:
    """The thread's checkpoints, newest first."""
    async with stage.saver as saver:
        return [snapshot async for snapshot in survey.build(saver).aget_state_history(config)]


def published(final: StateSnapshot) -> Check:
    """Whether what was decided about the report is what happened to it."""
    report, where = Path(final.values["out"]), final.values["published"]
    if where is None:
        return Check("what was rejected is not published", not report.exists(), report.name)
    text = report.read_text(encoding="utf-8") if report.exists() else None
    return Check("what was approved is published", text == final.values["report"], report.name)


def started(process: str, stage: Stage, *more: str) -> int:
    """Start one of the two processes, and wait until it has ended, one way or another."""
    code = subprocess.run(stage.command(process, *more), check=False).returncode  # noqa: S603
    if code and console.is_terminal:  # it left the terminal in the middle of its display
        console.show_cursor()
        console.print()
    return code


def act(title: str) -> None:
    """The title of a part of the show."""
    console.print()
    console.rule(Text(title, style="bold"), align="left")


def end(code: int) -> str:
    """How a process ended."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def main() -> None:
    """Perform the show, or be one of its processes."""
    options = argparse.ArgumentParser(description="The survey as a show.")
    options.add_argument("dir", nargs="?", type=Path, metavar="DIR", help="what to survey")
    options.add_argument("--yes", action="store_true", help="approve without being asked")
    options.add_argument("--folder", type=Path, help="keep everything in this new folder")
    options.add_argument("--process", choices=["first", "second"], help=argparse.SUPPRESS)
    options.add_argument("--die-at", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if given.process is not None:
            perform(Stage(given.dir, given.folder, given.yes), given.process, given.die_at)
        elif given.folder is not None:
            given.folder.mkdir(parents=True)
            curtain(show(Stage(given.dir, given.folder, given.yes)))
        else:
            with tempfile.TemporaryDirectory(prefix="survey-") as folder:
                curtain(show(Stage(given.dir, Path(folder), given.yes)))
    except FileExistsError:
        sys.exit(f"survey: {given.folder} exists already; name a new folder.")
    except (SurveyError, DurableGraphError) as error:
        sys.exit(f"survey: {error}")
    except (KeyboardInterrupt, EOFError):
        sys.exit("\nStopped.")


def curtain(held: bool) -> None:
    """The last word, and the exit code."""
    if not held:
        console.print("\n[bold red]Something did not hold; see above.")
        sys.exit(1)
    console.print("\n[bold green]Everything held.")


if __name__ == "__main__":
    main()
