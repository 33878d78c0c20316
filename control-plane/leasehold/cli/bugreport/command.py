"""``leasehold bug-report``: gather, tell what is inside, ask, write."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import click

from leasehold.cli.bugreport.gathering import Report, Wishes, gather
from leasehold.cli.target import Failure, Target, pass_target

README = """\
A report of `leasehold bug-report`. Secrets were looked for and taken out: by the names of fields, the values of
headers, the contents of secret files, and the look of tokens and keys. Please look yourself before you hand it on.
"""


@click.command(
    "bug-report",
    epilog="""\b
Examples:
  leasehold bug-report -o report.tar.gz
  leasehold bug-report --config sidecar.yaml --log sidecar.log --ask 127.0.0.1:15020
""",
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default="leasehold-bug-report.tar.gz",
              show_default=True, help="Where to write it.")  # fmt: skip
@click.option(
    "--config", "configs", multiple=True, type=click.Path(path_type=Path), help="A configuration or rule file."
)
@click.option("--log", "logs", multiple=True, type=click.Path(path_type=Path), help="A log; its last lines go along.")
@click.option("--lines", default=1000, show_default=True, type=click.IntRange(1, 100_000), help="Of each log.")
@click.option("--ask", "parts", multiple=True, metavar="HOST:PORT", help="A sidecar's admin or health port.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@pass_target
def bug_report(
    target: Target, output: Path, configs: Sequence[Path], logs: Sequence[Path], lines: int, parts: Sequence[str],
    yes: bool,
) -> None:  # fmt: skip
    """Collect versions, doctor, status, rules, counts, metrics and logs into one archive, with secrets taken out.

    What cannot be asked, etcd included, is named as missing. Nothing is sent anywhere.
    """
    report = gather(target, Wishes(configs, logs, parts, lines))
    contents = list(report.redacted())
    for line in _told(report, contents):
        click.echo(line)
    if not yes and sys.stdin.isatty():
        click.confirm(f"write {output}?", default=True, abort=True)
    try:
        _write(output, [("README", README.encode()), *contents, ("missing.txt", _missing(report))])
    except OSError as error:
        raise Failure(f"{output}: cannot be written: {error.strerror or error}") from error
    click.echo(f"written: {output} ({output.stat().st_size} bytes)")


def _told(report: Report, contents: Sequence[tuple[str, bytes]]) -> list[str]:
    inside = [f"  {name:<40} {len(content):>9} bytes" for name, content in contents]
    missing = [f"  {name:<40} missing: {why}" for name, why in report.told_missing().items()]
    return ["inside, with secrets taken out:", *inside, *missing]


def _missing(report: Report) -> bytes:
    lines = (f"{name}: {why}\n" for name, why in report.told_missing().items())
    return "".join(lines).encode("utf-8", "replace") or b"nothing\n"


def _write(output: Path, parts: Sequence[tuple[str, bytes]]) -> None:
    # For its owner's eyes: what was not recognised as a secret may still be one.
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, content in parts:
            entry = tarfile.TarInfo(f"leasehold-bug-report/{name}")
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
