"""How results are printed: a table for people, JSON or YAML for scripts. Scripts get every field, always."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = tuple[str, ...]
FORMATS = ("table", "json", "yaml")

output_option = click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
)

_STYLES = {
    "held": "green", "alive": "green", "ok": "green", "armed": "green", "passed": "green",
    "unheld": "yellow", "condemned": "yellow", "in-grace": "yellow",
    "warn": "yellow", "vanished": "yellow", "prepared": "red", "sent": "red",
    "quarantined": "bold red", "fail": "bold red", "failed": "bold red", "braked": "bold red",
    "unaccounted": "magenta", "observe-only": "dim", "ended": "dim", "released": "dim", "swept": "dim",
}  # fmt: skip


def styled(word: str) -> Text:
    """A word of the glossary in its colour; anything else as it is. Ids are never read as markup."""
    return Text(word, style=_STYLES.get(word.split(" ", 1)[0], ""))


def structured(value: object) -> Any:
    """Structs, tuples and enums into what JSON and YAML know."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=str)


def show(output: str, values: object, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print ``values`` in a machine's format, or ``rows`` as a table."""
    if output == "json":
        click.echo(json.dumps(structured(values), indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(yaml.safe_dump(structured(values), sort_keys=False, allow_unicode=True), nl=False)
    else:
        _table(columns, rows)


def _table(columns: Sequence[str], rows: Sequence[Row]) -> None:
    # Piped, a table must not be cut at 80 columns: ids are what people grep for.
    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def warn_unreadable(unreadable: Sequence[tuple[str, str]]) -> None:
    """Say on stderr which keys could not be read: they are kept, and block what depends on them."""
    for key, problem in unreadable:
        click.echo(f"leasehold: warning: {key}: {problem}", err=True)
