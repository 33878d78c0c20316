"""How the story is told: a live table on a terminal, plain lines elsewhere. Both say the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from leasehold.cli.render import styled
from leasehold.protocol.names import Resource

if TYPE_CHECKING:
    from leasehold.cli.demo.audience import Change


class Show(Protocol):
    """What the story needs of a stage to be seen on."""

    def act(self, title: str) -> None:
        """A new part of the story begins."""
        ...

    def say(self, text: str) -> None:
        """What is happening, and why."""
        ...

    def changed(self, changes: Sequence[Change]) -> None:
        """Resources changed their states."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainShow:
    """Lines with the seconds since the start, for logs, pipes and CI."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._began = time.monotonic()

    def act(self, title: str) -> None:
        self._write(f"\n== {title}")

    def say(self, text: str) -> None:
        self._write(f"{self._clock()}  {text}")

    def changed(self, changes: Sequence[Change]) -> None:
        for (kind, step), names in grouped(changes).items():
            self._write(f"{self._clock()}    {kind} {', '.join(names)}: {step}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:6.1f}s"


class LiveShow:
    """A table that changes in place, the story scrolling by above it. Drawn only when something changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._rows: dict[Resource, Change] = {}
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")

    def act(self, title: str) -> None:
        self._console.print()
        self._console.print(Text(title, style="bold cyan"))

    def say(self, text: str) -> None:
        self._console.print(Text(f"{time.monotonic() - self._began:6.1f}s  {text}"))

    def changed(self, changes: Sequence[Change]) -> None:
        if changes:
            self._rows |= {change.resource: change for change in changes}
            self._live.update(self._table(), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("RESOURCE", "STATE", "HELD BY"):
            table.add_column(column, no_wrap=True)
        for resource, change in sorted(self._rows.items()):
            table.add_row(
                Text(f"{resource.owner}/{short(resource)}"), styled(change.after), Text(", ".join(change.holders))
            )
        return table


def short(resource: Resource) -> str:
    """Enough of a name to tell it from its like."""
    name = resource.id.rsplit("/", 1)[-1]
    return f"{resource.type} {name[:8]}"


def grouped(changes: Sequence[Change]) -> dict[tuple[str, str], list[str]]:
    """What happens to things of one kind, each with the names it happens to: they belong on one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        group = groups.setdefault((change.resource.type, step(change)), [])
        group.append(short(change.resource).split(" ", 1)[1])
    return groups


def step(change: Change) -> str:
    """What happened, in words; holders without the tail that tells runs of a process apart."""
    holders = " and ".join(holder.split("~", 1)[0] for holder in change.holders)
    by = f" by {holders}" if holders else ""
    if change.before == change.after:
        return f"still {change.after}{by}"
    return f"{change.before} -> {change.after}{by}" if change.before else f"{change.after}{by}"
