"""The life of a serving process: read the configuration or exit 78, say ready, serve, stop on SIGTERM.

Stdout carries one line, ``{"event": "ready", ...addresses}``, for whoever scripts us; logs go to stderr.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

import click
import structlog
import uvloop

from leasehold.protocol.configuration import EX_CONFIG, BadConfiguration, Mistake
from leasehold.shell.logs import configure_logs, say_always

STOP_WITHIN_SECONDS = 4.5
"""A stopping process is cut off after this long: SIGTERM promises an end within 5 s."""


class Configured(Protocol):
    """Whatever a part is configured with, it works for one tenant."""

    @property
    def tenant(self) -> str: ...


_C = TypeVar("_C", bound=Configured)
INLINE = "env:"
"""``env:NAME`` in the place of a file: the text is in that environment variable, as injected containers have it."""
log = structlog.get_logger()


class Lifetime:
    """Between "ready" and "stop": handed to what serves."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    def ready(self, **addresses: object) -> None:
        """Tell the world that we serve, and where. Once, on stdout."""
        print(json.dumps({"event": "ready", **addresses}), flush=True)  # noqa: T201

    async def until_stop(self) -> None:
        """Return when somebody asks us to stop."""
        await self.stopping.wait()


def read_configuration(path: Path) -> str:
    """The text of a file, or of a variable (``env:NAME``). Raises ``BadConfiguration`` when it cannot be read."""
    if str(path).startswith(INLINE):
        return _read_variable(str(path))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "expected UTF-8 text"
        raise BadConfiguration([Mistake(str(path), "", f"cannot be read: {problem}")]) from error


def _read_variable(source: str) -> str:
    try:
        return os.environ[source.removeprefix(INLINE)]
    except KeyError as error:
        raise BadConfiguration([Mistake(source, "", "cannot be read: that variable is not set")]) from error


def daemon(
    name: str, about: str, load: Callable[[Path], _C], serve: Callable[[_C, Lifetime], Awaitable[None]]
) -> click.Command:
    """A command ``NAME --config FILE``. ``serve`` returns after ``until_stop()``; what it raises ends us with 1."""

    @click.command(name, help=about, context_settings={"help_option_names": ["-h", "--help"]})
    @click.option(
        "--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file, or env:NAME."
    )
    @click.option("--check", is_flag=True, help="Only check the configuration: exit 0, or 78 with every mistake.")
    @click.option(
        "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"])
    )
    @click.version_option(version("leasehold"), prog_name=name)
    def command(path: Path, check: bool, log_level: str) -> None:
        configure_logs(log_level)
        try:
            configuration = load(path)
        except BadConfiguration as error:
            report_bad_configuration(error)
        if check:
            click.echo(f"{path}: fine")
            return
        sys.exit(uvloop.run(_live(name, configuration, serve)))

    return command


def report_bad_configuration(error: BadConfiguration) -> None:
    """Print every mistake, and exit 78 (EX_CONFIG)."""
    count = len(error.mistakes)
    click.echo(f"{count} mistake{'s' if count > 1 else ''} in the configuration:", err=True)
    for mistake in error.mistakes:
        click.echo(f"  {mistake}", err=True)
    sys.exit(EX_CONFIG)


async def _live(name: str, configuration: _C, serve: Callable[[_C, Lifetime], Awaitable[None]]) -> int:
    say_always(tenant=configuration.tenant)
    lifetime = Lifetime()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifetime.stopping.set)
    serving = asyncio.ensure_future(serve(configuration, lifetime))
    stopping = asyncio.ensure_future(lifetime.stopping.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            log.info("stopping", process=name)
            await asyncio.wait({serving}, timeout=STOP_WITHIN_SECONDS)
        if not serving.done():
            log.error("stop_timed_out", process=name, seconds=STOP_WITHIN_SECONDS)
            # Whatever hangs would hang again in an orderly cancellation.
            os._exit(1)
        serving.result()
    except OSError as error:
        # A port in use, a file that cannot be made: the operator's to mend, no traceback needed.
        log.error("cannot_serve", process=name, error=str(error))
        return 1
    finally:
        stopping.cancel()
    return 0
