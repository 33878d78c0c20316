"""``rules check`` and ``apply``: rule files, checked as a whole, into etcd (``operating.rule_plan`` tells how)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from leasehold import v1
from leasehold.cli.operate.descriptors import against_descriptor_sets
from leasehold.cli.remote.client import ask
from leasehold.cli.target import Failure, Target, pass_target
from leasehold.operating.deeds import NotDone
from leasehold.operating.rule_plan import Step, apply_rules, document, worth_a_warning
from leasehold.protocol.configuration import EX_CONFIG, BadConfiguration
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.rules import RuleSet, load_rules, warnings
from leasehold.shell.daemon import read_configuration


def read_rules(path: str) -> RuleSet:
    """A rule file, or standard input for ``-``. Exits 78 with every mistake."""
    try:
        if path == "-":
            return load_rules(sys.stdin.read(), "<stdin>", os.environ)
        return load_rules(read_configuration(Path(path)), path, os.environ)
    except BadConfiguration as error:
        refuse(error)


def refuse_misfits(found: RuleSet, source: str) -> list[str]:
    """Exits 78 where the owners' descriptor sets do not have what the rules name; returns what could not be checked."""
    mistakes, unchecked = against_descriptor_sets(found, source)
    if mistakes:
        refuse(BadConfiguration(mistakes))
    return unchecked


def refuse(error: BadConfiguration) -> NoReturn:
    """Every mistake on stderr, exit code 78."""
    count = len(error.mistakes)
    click.echo(f"leasehold: {count} mistake{'s' if count != 1 else ''}:", err=True)
    for mistake in error.mistakes:
        click.echo(f"  {mistake}", err=True)
    sys.exit(EX_CONFIG)


@click.group(name="rules", epilog="Example: leasehold rules check rules.yaml")
def rules_group() -> None:
    """Owners and interception rules: check a file, try it on a call. (`get rules` lists them, `apply` writes them.)"""


@rules_group.command(
    epilog="""\b
Examples:
  leasehold rules check rules.yaml
  cat rules.yaml | leasehold rules check -
"""
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
def check(file: str) -> None:
    """Check FILE without touching anything: every mistake with its path, and warnings. Exits 78 on mistakes."""
    found = read_rules(file)
    for warning in (*refuse_misfits(found, file), *worth_a_warning(found)):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{file}: fine ({_count(found.owners, 'owner')}, {_count(found.rules, 'rule')})")


def _count(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


@click.command(
    epilog="""\b
Examples:
  leasehold apply -f rules.yaml --dry-run
  envsubst < rules.tpl | leasehold apply -f -
"""
)
@click.option(
    "-f",
    "--file",
    required=True,
    type=click.Path(dir_okay=False, allow_dash=True),
    help="The rule file; - is standard input.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--why", help="For the audit; needed beside --server.")
@pass_target
def apply(target: Target, file: str, dry_run: bool, why: str | None) -> None:
    """Write the owners and rules of a file to etcd, where sidecars and control planes watch them.

    What the file does not mention stays. `${VAR}` in the file is expanded here, and stored expanded.
    """
    wanted = read_rules(file)
    for warning in (*refuse_misfits(wanted, file), *warnings(wanted)):
        click.echo(f"warning: {warning}", err=True)

    if target.server is not None:
        for told in _apply_remotely(target, wanted, why, dry_run=dry_run):
            click.echo(f"{told.what} {told.name}: {told.verdict}{' (dry run)' if dry_run else ''}")
        return

    async def work(client: EtcdClient) -> list[Step]:
        try:
            return await apply_rules(client, target.keys, wanted, deadline=target.deadline, dry_run=dry_run)
        except NotDone as error:
            raise Failure(str(error)) from error

    try:
        steps = target.run(work)
    except BadConfiguration as error:
        refuse(error)
    for step in steps:
        click.echo(f"{step.what} {step.name}: {step.verdict}{' (dry run)' if dry_run else ''}")


def _apply_remotely(target: Target, wanted: RuleSet, why: str | None, *, dry_run: bool) -> Sequence[v1.RuleStep]:
    # As it was understood here, variables filled in: the server fills in none.
    documents = {"owners": [document(one) for one in wanted.owners], "rules": [document(one) for one in wanted.rules]}
    text = json.dumps(documents)
    if dry_run:
        return ask(target, lambda api: api.check_rules(v1.CheckRulesRequest(document=text))).steps
    if why is None:
        raise click.UsageError("expected --why beside --server: every write is audited")
    return ask(target, lambda api: api.apply_rules(v1.ApplyRulesRequest(document=text, why=why))).steps


COMMANDS: Sequence[click.Command] = (rules_group, apply)
