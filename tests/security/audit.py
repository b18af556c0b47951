"""Known vulnerabilities in what durable_graph asks for: ``python -m tests.security.audit``.

Looks at those of the default installation and of all extras for users, in the versions that are
installed here, with all that they ask for themselves. Says so when it could not find out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

__all__ = ["EXTRAS", "absent", "installed", "main", "verdict"]

_OURS: Final = "durable-graph"
EXTRAS: Final = ("draw", "dynamodb", "encryption", "postgres", "redis", "s3", "schema")
"""What people install; tools for developing are not shipped to anybody."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit; returns 0 if nothing is known, 1 if something is, 2 if it could not be found out."""
    parser = argparse.ArgumentParser(description="Look for known vulnerabilities.")
    parser.add_argument("--service", choices=["pypi", "osv"], default="pypi", help="who is asked")
    parser.add_argument("names", nargs="*", help="packages; by default all that is shipped with")
    given = parser.parse_args(arguments)
    if find_spec("pip_audit") is None:
        parser.error("pip-audit is not installed: pip install 'durable-graph[audit]'")
    pins = sorted(set(installed(given.names or [_OURS], EXTRAS)))
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(pins) + "\n")
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--format", "json", "--desc", "off"),
                *("--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "20"),
                *("--vulnerability-service", given.service, "--requirement", str(listed)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    code, text = verdict(ran.stdout, ran.stderr, len(pins))
    print(text)
    if missing := absent(given.names or [_OURS], EXTRAS):
        print(f"NOT AUDITED, since not installed here: {', '.join(missing)}.")
        return code or 2
    return code


def installed(names: Sequence[str], extras: Sequence[str] = ()) -> Iterator[str]:
    """Packages and all they ask for, each as ``name==version``, as they are installed here.

    Args:
        names: the packages; this one is left out itself.
        extras: of these packages, which extras are meant, too.
    """
    seen: set[str] = set()
    queue = [(name, tuple(extras)) for name in names]
    while queue:
        name, wanted = queue.pop()
        plain = re.sub(r"[-_.]+", "-", name).lower()
        if plain in seen:
            continue
        seen.add(plain)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform; `absent` tells of those that are not
        if plain != _OURS:
            yield f"{plain}=={found.version}"
        queue += ((needed, ()) for needed in _needed_by(found, wanted))


def absent(names: Sequence[str], extras: Sequence[str] = ()) -> list[str]:
    """Of packages, and what they ask for on every platform, which are not installed here."""
    missing = []
    for name in names:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        for needed in _needed_by(found, extras, everywhere=True):
            try:
                distribution(needed)
            except PackageNotFoundError:
                missing.append(needed)
    return sorted(set(missing))


def _needed_by(
    found: Distribution, extras: Sequence[str], *, everywhere: bool = False
) -> Iterator[str]:
    """The names of what a package asks for, with these extras; if wanted, only what it asks for
    whatever the platform and the version of Python."""
    for requirement in found.requires or ():
        marker = requirement.partition(";")[2]
        extra = _EXTRA.search(marker)
        match = _NAME.match(requirement)
        if everywhere and _EXTRA.sub("", marker).strip():
            continue
        if match is not None and (extra is None or extra[1] in extras):
            yield match[0]


def verdict(output: str, errors: str, asked: int) -> tuple[int, str]:
    """What pip-audit's answer means: an exit code, and a text for people."""
    try:
        plain: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (KeyError, ValueError):
        last = (errors.strip().splitlines() or ["It said nothing."])[-1]
        return 2, (
            f"NOT AUDITED: the vulnerability service could not be asked, so nothing is known about "
            f"these {asked} packages. Try again with a connection, or with SERVICE=osv. ({last})"
        )
    skipped = [entry["name"] for entry in plain if "skip_reason" in entry]
    known = [
        f"{entry['name']} {entry['version']}: {flaw['id']}, mended in "
        f"{', '.join(flaw['fix_versions']) or 'no version'}"
        for entry in plain
        for flaw in entry.get("vulns", ())
    ]
    unknown = f" Of {', '.join(skipped)} the service knows nothing." if skipped else ""
    if known:
        return 1, "\n".join(["VULNERABLE:", *known]) + unknown
    if len(skipped) == len(plain):
        return 2, (
            f"NOT AUDITED: the service knows none of these {asked} packages, as a mirror does that "
            f"has no advisories. Try again with SERVICE=osv."
        )
    return 0, f"Nothing is known against {len(plain) - len(skipped)} packages.{unknown}"


if __name__ == "__main__":
    sys.exit(main())
