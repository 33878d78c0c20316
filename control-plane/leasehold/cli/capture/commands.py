"""``leasehold capture install | remove | status``: transparent capture of the owners that rules name."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from leasehold.cli.capture.addresses import (
    Owners,
    Protected,
    protected_etcd,
    refuse_ourselves,
    refuse_protected,
    resolve,
)
from leasehold.cli.capture.nft import Nft
from leasehold.cli.capture.probe import verify
from leasehold.cli.capture.ruleset import REMOVAL, Endpoint, Exempt, Plan, read_back, replacement
from leasehold.cli.capture.telling import as_status, print_dry_run, print_installed, print_status, rows_of, warn
from leasehold.cli.operate.rules import read_rules, refuse
from leasehold.cli.render import output_option, show
from leasehold.cli.rules_in_etcd import rules_in_etcd
from leasehold.cli.target import Failure, Target, pass_target
from leasehold.protocol.configuration import BadConfiguration, Seconds, load
from leasehold.protocol.rules import RuleSet
from leasehold.shell.daemon import read_configuration

DEFAULT_PORT = 15001
_PORT = click.IntRange(1, 65535)
_ID = click.IntRange(0, 2**32 - 2)


@click.group(
    name="capture",
    epilog="""\b
Examples:
  leasehold capture install --rules rules.yaml --uid 1337 --dry-run
  leasehold capture status
  leasehold capture remove
""",
)
def capture() -> None:
    """Transparent capture: redirect connections to the owners, and only those, to the sidecar beside the app."""


def rules_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--rules FILE`` and ``--from-etcd``."""
    command = click.option("--from-etcd", is_flag=True, help="The owners are those in etcd.")(command)
    return click.option(
        "--rules",
        "file",
        type=click.Path(dir_okay=False, allow_dash=True),
        help="The rule file with the owners; env:NAME is that variable.",
    )(command)


@capture.command(
    epilog="""\b
Examples:
  leasehold capture install --rules rules.yaml --uid 1337 --gid 1337
  leasehold capture install --config sidecar.yaml --from-etcd --uid 1337 --watch 30s
  leasehold capture install --rules rules.yaml --uid 1337 --dry-run      (prints the table, needs no permission)
"""
)
@rules_options
@click.option("--listen-port", type=_PORT, help=f"Where the sidecar listens.  [default: {DEFAULT_PORT}]")
@click.option("--uid", type=_ID, help="The sidecar's user: its connections are left alone.")
@click.option("--gid", type=_ID, help="The sidecar's group, likewise. Not one that the app is in.")
@click.option("--mark", type=click.IntRange(1, 2**32 - 1), help="The sidecar's `mark`, likewise.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The sidecar's configuration: port, mark and etcd endpoints are taken from there.",
)
@click.option(
    "--control-plane",
    "control_planes",
    multiple=True,
    envvar="LEASEHOLD_CONTROL_PLANE",
    show_envvar=True,
    metavar="HOST:PORT",
    help="Never to be redirected, like etcd. Repeatable.",
)
@click.option("--watch", metavar="INTERVAL", help="Stay, and look again this often, e.g. 30s: names and rules change.")
@click.option("--no-verify", is_flag=True, help="Do not probe: the sidecar starts later.")
@click.option(
    "--fail-open", is_flag=True, help="What goes wrong is told, and costs no more than being seen: the exit code is 0."
)
@click.option("--dry-run", is_flag=True, help="Only print the table.")
@output_option
@pass_target
def install(
    target: Target,
    file: str | None,
    from_etcd: bool,
    listen_port: int | None,
    uid: int | None,
    gid: int | None,
    mark: int | None,
    config: Path | None,
    control_planes: tuple[str, ...],
    watch: str | None,
    no_verify: bool,
    fail_open: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Redirect connections to the owners' addresses to the sidecar, with a table of our own in nftables.

    Replaces an older table of ours in one transaction. Refuses to redirect etcd and the control plane, and takes itself
    back when a probe shows that it does not work.
    """
    interval = _interval(watch)
    sidecar = SidecarConfig() if config is None else SidecarConfig.read(config)
    exempt = Exempt(uid, gid, sidecar.mark if mark is None else mark)
    if exempt.nobody:
        raise click.UsageError(
            "expected --uid, --gid or --mark: the sidecar's own connections must not come back to it"
        )
    port = listen_port or sidecar.listen_port or DEFAULT_PORT
    etcds = dict.fromkeys((*target.endpoints, *sidecar.etcd_endpoints))
    protected = [*map(protected_etcd, etcds), *(Protected("the control plane", one) for one in control_planes)]
    installer = Installer(port, exempt, protected, lambda: _rules(target, file, from_etcd), lenient=fail_open)
    with _open_failures() if fail_open else contextlib.nullcontext():
        _install(installer, exempt, port, interval, no_verify=no_verify, dry_run=dry_run, output=output)


@contextlib.contextmanager
def _open_failures() -> Iterator[None]:
    """For the way into a pod: that a program is not observed must never be why it does not run."""
    try:
        yield
    except (Failure, SystemExit) as error:
        why = error.message if isinstance(error, Failure) else "the rules cannot be used"
        click.echo(f"leasehold: warning: {why}; going on: what this program creates is not captured", err=True)


def _install(
    installer: Installer,
    exempt: Exempt,
    port: int,
    interval: float | None,
    *,
    no_verify: bool,
    dry_run: bool,
    output: str,
) -> None:
    plan = installer.plan()
    text = replacement(plan)
    if dry_run:
        print_dry_run(output, plan, text)
        return
    nft = Nft()
    before = nft.listing()
    nft.load(text)
    probed: Sequence[Endpoint] = ()
    if not no_verify:
        try:
            probed = verify(nft, sorted(plan.owners, key=str), exempt, port)
        except Failure as failure:
            nft.load(REMOVAL if before is None else REMOVAL + before)
            raise Failure(f"{failure.message}; everything is again as it was") from failure
    print_installed(output, plan, probed)
    if interval is not None:
        installer.watch(nft, plan, interval)


@capture.command()
@output_option
def remove(output: str) -> None:
    """Take our table away. New connections go to the owners directly; connections that exist go on as they are."""
    nft = Nft()
    was = nft.table() is not None
    if was:
        nft.load(REMOVAL)
    if output == "table":
        click.echo("removed" if was else "there was nothing to remove")
    else:
        show(output, {"removed": was}, (), ())


@capture.command()
@rules_options
@output_option
@pass_target
def status(target: Target, file: str | None, from_etcd: bool, output: str) -> None:
    """What is redirected, and how often it was; with rules also what they name and the table lacks, or the reverse."""
    document = Nft().table()
    found = None if document is None else read_back(document)
    wanted: Mapping[Endpoint, Sequence[str]] | None = None
    if file is not None or from_etcd:
        wanted, warnings = Owners().look(_rules(target, file, from_etcd).owners, 0.0)
        warn(warnings)
    rows = rows_of({} if found is None else found.owners, wanted)
    if output == "table":
        print_status(found)
        if rows:
            show(output, None, ("address", "owners", "state"), rows)
        return
    show(output, as_status(found, rows), (), ())


# --- installing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """What a sidecar's configuration says about capture."""

    listen_port: int | None = None
    mark: int | None = None
    etcd_endpoints: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> SidecarConfig:
        """The sidecar checks its configuration itself; here only what is needed is read. Exits 78."""
        try:
            document = load(dict[str, Any], read_configuration(path), str(path), os.environ)
        except BadConfiguration as error:
            refuse(error)
        ways = [way for way in document.get("capture") or () if isinstance(way, dict)]
        way = next((way for way in ways if way.get("mode") == "transparent"), None)
        if way is None:
            raise Failure(f"{path} has no way in with `mode: transparent`")
        port = str(way.get("listen", "")).rpartition(":")[2]
        etcd = document.get("etcd")
        endpoints = etcd.get("endpoints") if isinstance(etcd, dict) else None
        mark = way.get("mark")
        return cls(
            int(port) if port.isascii() and port.isdigit() and int(port) else None,
            mark if isinstance(mark, int) else None,
            tuple(str(one) for one in endpoints or ()),
        )


class Installer:
    """Plans, and keeps the table up to date."""

    def __init__(
        self,
        port: int,
        exempt: Exempt,
        protected: Sequence[Protected],
        rules: Callable[[], RuleSet],
        *,
        lenient: bool = False,
    ) -> None:
        self._port = port
        self._exempt = exempt
        self._protected = protected
        self._rules = rules
        self._owners = Owners(lenient=lenient)

    def plan(self) -> Plan:
        """What the table should hold now. Raises ``Failure``."""
        owners, warnings = self._owners.look(self._rules().owners, time.monotonic())
        warn(warnings)
        refuse_protected(owners, self._protected, resolve)
        refuse_ourselves(owners, self._port)
        return Plan(self._port, self._exempt, owners)

    def watch(self, nft: Nft, plan: Plan, interval: float) -> None:
        """Until SIGTERM or SIGINT. What cannot be looked up now stays as it is."""
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        while not stopped.wait(interval):
            try:
                fresh = self.plan()
                if fresh.owners != plan.owners or nft.table() is None:
                    nft.load(replacement(fresh))
                    plan = fresh
                    click.echo(f"refreshed: {len(plan.owners)} addresses")
            except Failure as failure:
                click.echo(f"leasehold: warning: {failure.message}; the table stays as it is", err=True)
            except SystemExit:  # bad rules, already told
                click.echo("leasehold: warning: the table stays as it is", err=True)


def _interval(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = Seconds.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--watch") from error
    if seconds < 1:
        raise click.BadParameter("expected at least 1s", param_hint="--watch")
    return seconds


def _rules(target: Target, file: str | None, from_etcd: bool) -> RuleSet:
    if (file is not None) == from_etcd:
        raise click.UsageError("expected exactly one of --rules FILE and --from-etcd")
    if file is not None:
        return read_rules(file)

    return rules_in_etcd(target)


COMMANDS: Sequence[click.Command] = (capture,)
