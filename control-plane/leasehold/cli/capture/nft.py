"""The ``nft`` program: load a text in one transaction, list our table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

from leasehold.cli.capture.ruleset import TABLE
from leasehold.cli.target import Failure

_SECONDS = 30.0


class Nft:
    """Raises ``Failure`` where the program is missing or the kernel says no."""

    def __init__(self) -> None:
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
        found = shutil.which("nft", path=path)
        if found is None:
            raise Failure("nft was not found: transparent capture needs nftables (Debian: apt-get install nftables)")
        self._program = found

    def load(self, text: str) -> None:
        """All of it or nothing."""
        done = self._run("-f", "-", text=text)
        if done.returncode:
            raise _refused(done.stderr, "the table was not changed")

    def listing(self) -> str | None:
        """Our table as text that can be loaded again; ``None`` when there is none."""
        done = self._run("list", "table", *TABLE.split())
        return self._found(done)

    def table(self) -> dict[str, Any] | None:
        """Our table as nft's JSON; ``None`` when there is none."""
        said = self._found(self._run("-n", "-j", "list", "table", *TABLE.split()))
        if said is None:
            return None
        document: dict[str, Any] = json.loads(said)
        return document

    def _found(self, done: subprocess.CompletedProcess[str]) -> str | None:
        if done.returncode == 0:
            return done.stdout
        if "No such file or directory" in done.stderr:
            return None
        raise _refused(done.stderr, "the table could not be looked at")

    def _run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self._program, *arguments],
                input=text, capture_output=True, text=True, timeout=_SECONDS, check=False,
                env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Failure(f"nft did not answer within {_SECONDS:g} s") from error


def _refused(said: str, consequence: str) -> Failure:
    if "Operation not permitted" in said or "must be root" in said:
        return Failure(
            f"the kernel does not let us: expected root, or CAP_NET_ADMIN in this network namespace; {consequence}"
        )
    first = next((line for line in said.splitlines() if line.strip()), "it did not say why")
    return Failure(f"nft refused ({first.strip()}); {consequence}")
