"""An operator at a shell: types what the runbook says, block by block, and looks for what it says one sees.

What only looks is repeated until it shows what the page says, since states take their time; what acts is typed once.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path

from leasehold.protocol.etcd.binary import find_etcd
from tests.e2e.harness import SCRIPTS, World, eventually
from tests.runbook.page import Command, Section

ACTS = re.compile(
    r"leasehold (brake (trip|arm|accept)|pin|unpin|restore|release|apply)|sed -i|etcdctl snapshot|etcdutl|curl .*-X"
)
JUDGES = re.compile(r"leasehold (status|doctor|brake status)")
"""Whose exit code 1 says that something wants attention."""
COMMAND_SECONDS = 20.0
STATE_SECONDS = 40.0


class Hand:
    """At one section of the page, in one world. ``names``: what stands on the page -> what it is called here."""

    def __init__(self, here: World, section: Section, names: Mapping[str, str] | None = None) -> None:
        self.here, self.section = here, section
        self.names = dict(names or {})
        self._left = list(section.blocks)

    async def next(self) -> None:
        """Type the next block."""
        assert self._left, f"{self.section.title}: no console block is left on the page"
        for command in self._left.pop(0):
            await self.type(command)

    def done(self) -> None:
        """Nothing the page says was left out."""
        assert self._left == [], f"{self.section.title}: never typed"

    async def type(self, command: Command) -> None:
        if ACTS.match(command.text):
            code, output = await self._shell(command.text)
            assert self._is_right(command, code, output), self._told(command, code, output)
            return
        last: list[str] = []

        async def seen() -> bool:
            code, output = await self._shell(command.text)
            last[:] = [self._told(command, code, output)]
            return self._is_right(command, code, output)

        try:
            await eventually(command.text, seen, STATE_SECONDS)
        except AssertionError:
            raise AssertionError(*last) from None

    # --- parts ------------------------------------------------------------------------------------------------

    def _is_right(self, command: Command, code: int, output: str) -> bool:
        right = code == 0 or (code == 1 and JUDGES.match(command.text) is not None)
        return right and self._renamed(command).missing(output) is None

    def _renamed(self, command: Command) -> Command:
        return Command(self._here(command.text), tuple(map(self._here, command.expected)))

    def _here(self, text: str) -> str:
        for name, real in self.names.items():
            text = text.replace(name, real)
        return text

    def _told(self, command: Command, code: int, output: str) -> str:
        renamed = self._renamed(command)
        return f"{self.section.title}: $ {renamed.text}\n{output}\nexit code {code}; missing: {renamed.missing(output)}"

    async def _shell(self, text: str) -> tuple[int, str]:
        etcd = find_etcd().path
        env = {
            **os.environ,
            "PATH": f"{Path(etcd).parent}:{SCRIPTS}:{os.environ['PATH']}",
            "LEASEHOLD_ENDPOINTS": self.here.endpoint, "LEASEHOLD_TENANT": self.here.tenant,
            "ETCDCTL_ENDPOINTS": self.here.endpoint, "no_proxy": "127.0.0.1",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            "bash", "-o", "pipefail", "-c", self._here(text), cwd=self.here.folder, env=env,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode()
