"""The contract, on what others leave for a thread's owner, and on who is alive."""

from __future__ import annotations

from dataclasses import replace

from durable_graph.errors import ThreadNotFoundError
from durable_graph.ports.backend import Backend, Identity, Message, Outcome, Process, ThreadKey
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    message,
    process,
    results,
    write,
)

__all__ = ["BEAT", "INBOX"]

INBOX = Chapter("inbox")
BEAT = Chapter("beat")


@INBOX.check
async def a_message_is_read_with_the_thread(backend: Backend) -> None:
    """A message is returned as it is stored, and read with the thread until it is settled."""
    log = Log()
    await write(backend, log, commit("c1"))
    sent = Message("id", "answer", b'{"answers":{"q":1}}', "somebody", 1234.5)
    expect_equal(await backend.post(log.key, sent), sent, "What `post` returns")
    expect_equal(await _waiting(backend, log.key), [sent], "What waits")
    reading = await backend.read(log.key, "c1")
    told = None if reading is None else list(reading.messages)
    expect_equal(told, [sent], "What waits, read with a checkpoint")
    await expect_log(backend, log)


@INBOX.check
async def messages_wait_in_their_order(backend: Backend) -> None:
    """Messages are read oldest first, whatever their ids and times say."""
    log = Log()
    await write(backend, log, commit("c1"))
    sent = [replace(message(id), time=1e6 - place) for place, id in enumerate("dbeac")]
    for each in sent:
        await backend.post(log.key, each)
    expect_equal(await _waiting(backend, log.key), sent, "What waits")
    await write(backend, log, mark(), settled={"b": "", "e": "no"})
    left = [sent[0], sent[3], sent[4]]
    expect_equal(await _waiting(backend, log.key), left, "What waits after two were settled")


@INBOX.check
async def posting_an_id_again_changes_nothing(backend: Backend) -> None:
    """A message under an id that is taken is not stored; the first one is returned."""
    log = Log()
    await write(backend, log, commit("c1"))
    await backend.post(log.key, message("id", b"first", by="first"))
    for other in (message("id", b"second"), message("id", b"first", by="first")):
        stored = await backend.post(log.key, other)
        expect_equal(stored, message("id", b"first", by="first"), "What is stored under the id")
    waiting = await _waiting(backend, log.key)
    expect_equal(waiting, [message("id", b"first", by="first")], "What waits")


@INBOX.check
async def a_verdict_is_told_to_whoever_asks(backend: Backend) -> None:
    """Once an append has settled a message, posting it again tells the verdict, and it does not
    wait any more."""
    log = Log()
    await write(backend, log, commit("c1"))
    verdicts = {"taken": "", "refused": 'AlreadyAnsweredError "too late"'}
    for id in (*verdicts, "waiting"):
        await backend.post(log.key, message(id))
    await write(backend, log, results(), settled=verdicts)
    for id, verdict in verdicts.items():
        stored = await backend.post(log.key, message(id, b"again"))
        expect_equal(stored, replace(message(id), verdict=verdict), "What a sender is told")
    expect_equal(await _waiting(backend, log.key), [message("waiting")], "What waits")
    await write(backend, log, commit("c2"))
    stored = await backend.post(log.key, message("taken"))
    expect_equal(stored.verdict, "", "A verdict, some appends later")


@INBOX.check
async def only_an_applied_append_settles(backend: Backend) -> None:
    """A refused append gives no verdicts."""
    log = Log()
    await write(backend, log, commit("c1"))
    stale = log.copy()
    await backend.post(log.key, message())
    await write(backend, log, mark())
    answers = list(await backend.append([stale.next(results(), settled={"message": "no"})]))
    expect_equal(answers, [Outcome.REFUSED], "A stale append")
    expect_equal(await _waiting(backend, log.key), [message()], "What waits")


@INBOX.check
async def a_verdict_on_nothing_is_harmless(backend: Backend) -> None:
    """An append may settle ids that nobody posted; a message under such an id waits."""
    log = Log()
    await write(backend, log, commit("c1"), settled={"unknown": "no"})
    await write(backend, log, mark(), settled={"unknown": ""})
    await expect_log(backend, log)
    stored = await backend.post(log.key, message("unknown"))
    expect_equal(stored, message("unknown"), "A message under an id that was settled before")


@INBOX.check
async def a_missing_thread_has_no_inbox(backend: Backend) -> None:
    """Posting to a thread that does not exist raises `ThreadNotFoundError` and creates nothing."""
    await write(backend, Log("there"), commit("c1"))
    for log in (Log("missing"), Log("there", tenant="other")):
        try:
            await backend.post(log.key, message())
        except ThreadNotFoundError:
            expect_equal(await backend.read(log.key), None, "A thread that was posted to")
        else:
            raise AssertionError(f"A message was left for {log.key}, which does not exist.")


@INBOX.check
async def inboxes_are_apart(backend: Backend) -> None:
    """The same id in two threads is two messages, each settled by its own thread."""
    logs = [Log("a"), Log("b"), Log("a", tenant="t")]
    for place, log in enumerate(logs):
        await write(backend, log, commit("c1"))
        await backend.post(log.key, message("id", str(place).encode()))
    await write(backend, logs[1], mark(), settled={"id": "no"})
    for place, log in enumerate(logs):
        stored = await backend.post(log.key, message("id"))
        verdict = "no" if place == 1 else None
        wanted = replace(message("id", str(place).encode()), verdict=verdict)
        expect_equal(stored, wanted, f"The message of {log.key}")


# -- signs of life ---------------------------------------------------------------------------------


@BEAT.check
async def a_sign_of_life_is_known_to_all(backend: Backend) -> None:
    """A process that gave a sign of life is told to everybody, with how long ago that was."""
    expect_equal(list(await backend.beat(None)), [], "Who is known at the beginning")
    for id in ("a", "b"):
        told = await backend.beat(process(id))
        expect(id in {entry.process.id for entry in told}, "A beat does not tell of itself.")
    known = {entry.process.id: entry for entry in await backend.beat(None)}
    expect_equal(sorted(known), ["a", "b"], "Who is known")
    for id, entry in known.items():
        expect_equal(entry.process, process(id), "The process")
        expect(0.0 <= entry.age < 60.0, f"A sign of life just given is {entry.age} s old.")


@BEAT.check
async def beating_again_is_one_process(backend: Backend) -> None:
    """However often a process gives signs of life, it is told once, with its latest lease."""
    for lease in (10.0, 20.0, 2.5):
        await backend.beat(process("a", lease))
    known = list(await backend.beat(None))
    expect_equal([entry.process for entry in known], [process("a", 2.5)], "Who is known")


@BEAT.check
async def what_is_not_known_of_a_process_stays_unknown(backend: Backend) -> None:
    """Host and start of a process may be unknown, and its lease any number of seconds."""
    odd = Process("odd", Identity(None, 1, None), 0.125)
    full = Process("full", Identity("host 'name'/pid:[4026531836]", 2**31, 2**40), 1e6)
    for each in (odd, full):
        await backend.beat(each)
    known = {entry.process.id: entry.process for entry in await backend.beat(None)}
    expect_equal(known, {"odd": odd, "full": full}, "Who is known")


async def _waiting(backend: Backend, key: ThreadKey) -> list[Message]:
    reading = await backend.read(key)
    return [] if reading is None else list(reading.messages)
