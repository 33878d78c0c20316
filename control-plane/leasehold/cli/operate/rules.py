"""``rules check`` and ``apply``: rule files, checked as a whole, into etcd.

What is stored under ``owners/`` and ``rules/`` is one JSON document each, as a person would have written it. Before
anything is written the *merged* set is checked, because sidecars and control planes read it as one: a file that makes
sense by itself may still spoil what is there. Everything goes into one transaction, guarded by what was read; somebody
else's change in between makes it fail, and nothing is half applied.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from leasehold.cli.inspect.survey import Survey, take
from leasehold.cli.operate.descriptors import against_descriptor_sets
from leasehold.cli.target import Failure, Target, pass_target
from leasehold.protocol.configuration import EX_CONFIG, BadConfiguration, Seconds, convert
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import OwnerName, Revision, RuleName
from leasehold.protocol.rules import On, Owner, Rule, RuleSet, load_rules, rules_from_documents, warnings
from leasehold.protocol.store import MAX_OPERATIONS, Put, Txn, unchanged
from leasehold.shell.daemon import read_configuration


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one owner or rule: ``created``, ``changed`` or ``unchanged``."""

    what: str
    name: str
    verdict: str
    key: bytes
    value: bytes
    seen: Revision


def document(model: Owner | Rule) -> dict[str, Any]:
    """An owner or rule as the document a person would write: durations in words, defaults left out."""
    plain: dict[str, Any] = msgspec.to_builtins(model, enc_hook=_write_duration)
    return plain


def _write_duration(value: object) -> str:
    if not isinstance(value, Seconds):
        raise NotImplementedError(type(value))
    milliseconds = round(value * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def plan(keys: Keyspace, stored: Survey, wanted: RuleSet) -> list[Step]:
    """What has to be written to get from ``stored`` to ``wanted``. Raises ``BadConfiguration`` if the two clash."""
    owners = {name: found.record for name, found in stored.owner_documents.items()}
    rules = {name: found.record for name, found in stored.rule_documents.items()}
    owners |= {owner.name: document(owner) for owner in wanted.owners}
    rules |= {rule.name: document(rule) for rule in wanted.rules}
    rules_from_documents(owners.values(), rules.values(), "etcd with this file applied")
    steps = [
        _step("owner", keys.owner(OwnerName(owner.name)), owner, stored.owner_documents.get(owner.name))
        for owner in wanted.owners
    ]
    steps += [
        _step("rule", keys.rule(RuleName(rule.name)), rule, stored.rule_documents.get(rule.name))
        for rule in wanted.rules
    ]
    return steps


def _step(what: str, key: bytes, model: Owner | Rule, found: Any) -> Step:
    value = msgspec.json.encode(document(model))
    if found is None:
        return Step(what, model.name, "created", key, value, Revision(0))
    verdict = "unchanged" if _same(model, found.record) else "changed"
    return Step(what, model.name, verdict, key, value, found.revision)


def _same(model: Owner | Rule, stored: object) -> bool:
    """Compared by meaning: ``60s`` stored by somebody else and our ``1m`` are no change."""
    try:
        return convert(type(model), stored, "etcd") == model
    except BadConfiguration:
        return False


def transactions(steps: Sequence[Step]) -> list[Txn]:
    """One transaction; more only beyond etcd's limit of operations, owners first."""
    writing = [step for step in steps if step.verdict != "unchanged"]
    return [
        Txn(
            [unchanged(step.key, step.seen) for step in part],
            [Put(step.key, step.value) for step in part],
        )
        for part in (writing[n : n + MAX_OPERATIONS] for n in range(0, len(writing), MAX_OPERATIONS))
    ]


async def apply_rules(
    client: EtcdClient, keys: Keyspace, wanted: RuleSet, *, deadline: float, dry_run: bool
) -> list[Step]:
    """Write what differs. Raises ``Failure`` when somebody else wrote meanwhile, ``BadConfiguration`` on a clash."""
    stored = await take(client, keys, (Family.OWNERS, Family.RULES), deadline=deadline)
    steps = plan(keys, stored, wanted)
    for txn in () if dry_run else transactions(steps):
        result = await client.commit(txn, deadline=deadline)
        if not result.succeeded:
            raise Failure("owners or rules were changed by somebody else meanwhile; nothing was written: apply again")
    return steps


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


def worth_a_warning(found: RuleSet) -> list[str]:
    """What is allowed but probably not meant: what the model knows, and a file that protects nothing."""
    nothing = [] if any(rule.on is On.CREATE for rule in found.rules) else ["no rule sees anything created"]
    return [*warnings(found), *nothing]


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
@pass_target
def apply(target: Target, file: str, dry_run: bool) -> None:
    """Write the owners and rules of a file to etcd, where sidecars and control planes watch them.

    What the file does not mention stays. `${VAR}` in the file is expanded here, and stored expanded.
    """
    wanted = read_rules(file)
    for warning in (*refuse_misfits(wanted, file), *warnings(wanted)):
        click.echo(f"warning: {warning}", err=True)

    async def work(client: EtcdClient) -> list[Step]:
        return await apply_rules(client, target.keys, wanted, deadline=target.deadline, dry_run=dry_run)

    try:
        steps = target.run(work)
    except BadConfiguration as error:
        refuse(error)
    for step in steps:
        click.echo(f"{step.what} {step.name}: {step.verdict}{' (dry run)' if dry_run else ''}")


COMMANDS: Sequence[click.Command] = (rules_group, apply)
