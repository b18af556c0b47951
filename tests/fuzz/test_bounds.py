"""What reads hostile bytes refuses them, soon, in little memory, and does nothing else: on all that
has been used against such readers. `make fuzz` looks for more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.crash.harness.counts import TORTURE
from tests.fuzz.exploits import EXPLOITS, PLAIN_EXPLOITS
from tests.fuzz.of_values import CODEC, PLAIN
from tests.fuzz.targets import TARGETS

Check = Callable[[str, bytes], str | None]

_SIZE = 1_000_000
_HEAVY = [
    *(b"{}", b"[]", b'{"":0}', b'{"a":{}}', b'{"~set":[]}', b'{"~deque":[[],null]}'),
    *(plain for plain in PLAIN if b"~ip" in plain or (TORTURE and b"~blob" not in plain)),
]


@pytest.fixture(scope="module")
def check() -> Iterator[Check]:
    """Has a target read something in a process of its own; says what it did wrong."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.check"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, answers = process.stdin, process.stdout

        def ask(name: str, data: bytes) -> str | None:
            try:
                given.write(json.dumps([name, data.hex()]) + "\n")
                given.flush()
                said: str | None = json.loads(answers.readline())
            except BaseException:  # also a test's timeout: what comes now answers no later question
                process.kill()
                raise
            return said

        yield ask
        process.kill()


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_used_against_others_does_nothing_here(check: Check, name: str) -> None:
    """Every exploit, read as every kind of thing, and all that the target itself begins with."""
    seeds = [*TARGETS[name].seeds, *EXPLOITS]
    assert [said for seed in seeds if (said := check(name, seed)) is not None] == []


@pytest.mark.parametrize("item", _HEAVY, ids=lambda item: item.decode()[:24])
def test_a_megabyte_of_anything_is_read_within_bounds(check: Check, item: bytes) -> None:
    """A value that takes little to write takes no second and no 64 MB to read."""
    times = _SIZE // (len(item) + 1) - 2
    array = b'[{"~tuple":[]},%b]' % b",".join([item] * times)  # tagged, so it is walked through
    assert check("values", array) is None


@pytest.mark.parametrize("plain", PLAIN_EXPLOITS, ids=lambda plain: repr(plain)[:40])
def test_a_users_dict_that_looks_like_code_comes_back_as_it_is(plain: dict[str, Any]) -> None:
    """What would be an object elsewhere is data here, wherever in a value it is."""
    for value in (plain, [plain], {"k": {"~k": plain}}, (plain,)):
        assert CODEC.decode(CODEC.encode(value)) == value


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raises", "KeyError"),
        ("refuses otherwise", "ValueError"),
        ("imports", "find antigravity_"),
        ("opens", "open "),
        ("executes", "exec "),
        ("connects", "socket."),
        ("reserves", "95 MB"),
        ("works on", "1.2 s"),
    ],
)
def test_what_misbehaves_is_caught(check: Check, what: str, said: str) -> None:
    """The tests above can fail, in each way that they are about."""
    assert said in (check(f"bad-{what}", b"") or "")
