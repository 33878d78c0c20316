"""``leasehold run``: any program, unchanged, under a sidecar of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from leasehold.cli.operate.rules import refuse
from leasehold.cli.processes import Child, DidNotStart, send_signal
from leasehold.cli.run.pair import Program, at_gate, beside, let_go, until_reported
from leasehold.cli.target import Failure
from leasehold.protocol.configuration import EX_CONFIG, BadConfiguration
from leasehold.shell.daemon import read_configuration

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  leasehold run --config sidecar.yaml -- python worker.py --queue images
  leasehold run --config sidecar.yaml ./batch-job         (a cron job: what it leaves behind is collected)
""",
)
@click.option(
    "--config",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="The sidecar's configuration; `host` is filled in.",
)
@click.option("--sidecar-log", type=click.Path(path_type=Path), help="Where the sidecar's log goes. Default: stderr.")
@click.option(
    "--log-level",
    default="warning",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Of the sidecar.",
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(path: Path, sidecar_log: Path | None, log_level: str, program: tuple[str, ...]) -> None:
    """Run PROGRAM under a sidecar that holds what it creates, for as long as it lives.

    Its plain HTTP goes through the sidecar (HTTP_PROXY is set, NO_PROXY cleared). The exit code is the program's; 128
    and the signal's number if a signal ended it; 126 or 127 if it could not be executed or found.
    """
    try:
        text = read_configuration(path)
        status = asyncio.run(_run(text, path, program, sidecar_log, log_level))
    except BadConfiguration as error:
        refuse(error)
    except DidNotStart as error:
        if error.status == EX_CONFIG:
            # The sidecar has told every mistake already, but of a file that is gone by now.
            click.echo(f"leasehold: that was a copy of {path}, with host, capture and folders filled in", err=True)
            sys.exit(EX_CONFIG)
        raise Failure(f"{error} (the program was not started)") from error
    sys.exit(status)


async def _run(text: str, source: Path, arguments: Sequence[str], log: Path | None, log_level: str) -> int:
    with tempfile.TemporaryDirectory(prefix="leasehold-run-") as folder:
        program = await at_gate(arguments)
        try:
            with _forwarding(program):
                sidecar = await beside(
                    program,
                    text,
                    source,
                    Path(folder),
                    log=log,
                    name="sidecar",
                    log_level=log_level,
                    death=signal.SIGTERM,
                )
                try:
                    let_go(program, sidecar, os.environ)
                    return await _attended(program, sidecar)
                finally:
                    await sidecar.stop()
        finally:
            await program.abandon()


async def _attended(program: Program, sidecar: Child) -> int:
    """Until the program has ended and the sidecar has said so. The program goes on if the sidecar dies."""
    ending = asyncio.ensure_future(program.process.wait())
    watching = asyncio.ensure_future(sidecar.wait())
    try:
        await asyncio.wait({ending, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            click.echo(
                f"leasehold: warning: the sidecar ended with exit code {sidecar.process.returncode}; the program goes "
                "on, but its calls through the proxy fail, and what it holds is collected once its lease has run out",
                err=True,
            )
        status = await ending
    finally:
        for task in (ending, watching):
            task.cancel()
    if sidecar.running and not await until_reported(sidecar):
        click.echo("leasehold: warning: the end of the program was not reported in time; its lease will tell", err=True)
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _forwarding(program: Program) -> Iterator[None]:
    """Pass signals on. What a terminal sends, it sends to the whole foreground group: the program has it already."""
    loop = asyncio.get_running_loop()

    def forward(number: signal.Signals) -> None:
        if not (number in FROM_TERMINAL and _in_foreground()):
            send_signal(program.process, number)

    for number in FORWARDED:
        loop.add_signal_handler(number, forward, number)
    try:
        yield
    finally:
        for number in FORWARDED:
            loop.remove_signal_handler(number)


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
