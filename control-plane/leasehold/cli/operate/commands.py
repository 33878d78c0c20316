"""``pin``, ``unpin``, ``restore``, ``release`` and ``brake``: an operator's hand on single resources and on the whole.

Each is one transaction of the protocol. None of them can override a sweep: once the delete is prepared, the collector
alone may abort it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NoReturn

import click

from leasehold import v1
from leasehold.cli.inspect.standing import rows
from leasehold.cli.inspect.status import look
from leasehold.cli.remote.client import ask, name_of
from leasehold.cli.remote.listings import plain
from leasehold.cli.render import output_option, show
from leasehold.cli.target import RESOURCE, Failure, Target, operator_name, pass_target
from leasehold.operating import deeds
from leasehold.operating.deeds import NotDone
from leasehold.operating.survey import Survey, take_one
from leasehold.protocol import transactions
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.names import Holder, Resource
from leasehold.protocol.records import ArmedRecord, Cause, PinRecord, TrippedRecord
from leasehold.protocol.store import Txn, TxnResult

WHY_OPTION = click.option("--why", help="For the audit; needed beside --server.")
RESOURCE_ARGUMENT = click.argument("resource", type=RESOURCE)


def now() -> str:
    """For people; never compared (S7)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@click.command(epilog="Example: leasehold pin blob-store/blob/4711 --why 'evidence for ticket 99'")
@RESOURCE_ARGUMENT
@click.option("--why", required=True, help="For whoever finds the pin in a year.")
@pass_target
def pin(target: Target, resource: Resource, why: str) -> None:
    """Keep RESOURCE, whatever becomes of its holders."""
    if target.server is not None:
        ask(target, lambda api: api.pin(v1.PinRequest(name=name_of(resource), why=why)))
    else:
        record = PinRecord(operator_name(), why, now())
        _on_resource(target, resource, lambda _: transactions.pin(target.keys, resource, record))
    click.echo(f"{resource}: pinned")


@click.command(epilog="Example: leasehold unpin blob-store/blob/4711")
@RESOURCE_ARGUMENT
@WHY_OPTION
@pass_target
def unpin(target: Target, resource: Resource, why: str | None) -> None:
    """Take the pin off RESOURCE. If nobody holds it, its grace starts anew."""

    if target.server is not None:
        asked = v1.UnpinRequest(name=name_of(resource), why=_expected(why))
        ask(target, lambda api: api.unpin(asked))
    else:
        _on_resource(target, resource, lambda picture: deeds.unpin(target.keys, picture, resource))
    click.echo(f"{resource}: no longer pinned; if nobody holds it, its grace starts anew")


@click.command(epilog="Example: leasehold restore blob-store/blob/4711")
@RESOURCE_ARGUMENT
@WHY_OPTION
@pass_target
def restore(target: Target, resource: Resource, why: str | None) -> None:
    """Take the tombstone off RESOURCE: its grace starts anew. (To keep it for good, pin it.)"""

    if target.server is not None:
        asked = v1.RestoreRequest(name=name_of(resource), why=_expected(why))
        ask(target, lambda api: api.restore(asked))
    else:
        _on_resource(target, resource, lambda picture: deeds.restore(target.keys, picture, resource))
    click.echo(f"{resource}: restored; if nobody holds it by the collector's next look, its grace starts anew")


@click.command(epilog="Example: leasehold release blob-store/blob/4711 --holder 'media@host-1~8812'")
@RESOURCE_ARGUMENT
@click.option("--holder", required=True, help="Whose hold; see `leasehold why`.")
@click.option("--force", is_flag=True, help="Even though the holder is alive.")
@WHY_OPTION
@pass_target
def release(target: Target, resource: Resource, holder: str, force: bool, why: str | None) -> None:
    """Let go of RESOURCE in the name of one holder, as if it had done so itself.

    When no other hold is left, the resource is condemned, and deleted after its grace. A living holder may still be
    using it and is not told: hence --force. Its sidecar, if that lives too, takes the hold back at its next round.
    """

    def txn(picture: Survey) -> Txn:
        return deeds.release(target.keys, picture, resource, Holder(holder), operator_name(), force=force)

    if target.server is not None:
        asked = v1.ReleaseRequest(name=name_of(resource), holder=holder, force=force, why=_expected(why))
        ask(target, lambda api: api.release(asked))
    else:
        _on_resource(target, resource, txn, refused=f"{resource}: the hold changed meanwhile; look again")
    click.echo(f"{resource}: released for {holder}; if nobody else holds it, its grace starts now")


@click.command("sweep-now", epilog="Example: leasehold sweep-now blob-store/blob/4711 --why 'the disk is full'")
@RESOURCE_ARGUMENT
@click.option("--why", required=True, help="Stored, for whoever asks later.")
@pass_target
def sweep_now(target: Target, resource: Resource, why: str) -> None:
    """Do not wait out the grace of RESOURCE, which must be condemned.

    Everything is proved again as ever before it is deleted, and any use still saves it. But a holder that is only cut
    off for a moment has no more time to come back.
    """
    if target.server is not None:
        ask(target, lambda api: api.sweep_now(v1.SweepNowRequest(name=name_of(resource), why=why)))
    else:
        granted = target.run(lambda client: client.grant(deeds.HASTE_SECONDS, deadline=target.deadline))

        def txn(picture: Survey) -> Txn:
            return deeds.hasten(target.keys, picture, resource, operator_name(), why, now(), granted.lease)

        _on_resource(target, resource, txn)
    click.echo(f"{resource}: its grace is as short as can be; `leasehold why {resource}` says how far it is")


@click.group(epilog="Example: leasehold brake trip --reason 'half the cluster is unreachable'")
def brake() -> None:
    """The emergency brake of the whole tenant: while it is tripped nothing is condemned or prepared."""


@brake.command(epilog="Example: leasehold brake trip --reason 'half the cluster is unreachable'")
@click.option("--reason", required=True, help="Stored, for whoever asks later.")
@pass_target
def trip(target: Target, reason: str) -> None:
    """Stop collecting: no condemn, no prepare, no first send, until somebody arms again. Sends under way go on.

    One that tripped by itself, and that returning beacons would arm again, is yours from here on: only you arm it.
    """
    tripped = TrippedRecord(operator_name(), reason, Cause.OPERATOR, now())
    if target.server is not None:
        ask(target, lambda api: api.trip_brake(v1.TripBrakeRequest(why=reason)))
    else:
        target.run(lambda client: client.commit(transactions.trip(target.keys, tripped), deadline=target.deadline))
    click.echo(
        f"tripped: tenant {target.tenant} deletes nothing more ({reason}); `leasehold brake arm --reason TEXT` lifts it"
    )


@brake.command(epilog="Example: leasehold brake arm --reason 'network is back, holders are attached'")
@click.option("--reason", required=True, help="Stored, for whoever asks later.")
@pass_target
def arm(target: Target, reason: str) -> None:
    """Allow collecting (again). Whatever was decided before is decided anew, and what vanished before counts no more.

    Graces go on while the brake is tripped: what has run out meanwhile is swept at once. Look at `leasehold get
    tombstones` before, and pin or restore what shall stay.
    """
    record = ArmedRecord(operator_name(), reason, now())
    if target.server is not None:
        ask(target, lambda api: api.arm_brake(v1.ArmBrakeRequest(why=reason)))
    else:
        target.run(lambda client: client.commit(transactions.arm(target.keys, record), deadline=target.deadline))
    click.echo(f"armed: tenant {target.tenant} may collect; what ran out of grace meanwhile is swept now")


@brake.command("status", epilog="Exit codes: 0 armed, 1 braked.")
@output_option
@pass_target
def brake_status(target: Target, output: str) -> None:
    """Is it on, since when, by whom and why; and what would trip it."""
    if target.server is not None:
        _show_remote_brake(target, output)
        return
    told = look(target)
    show(output, {"brake": told["brake"], "window": told["window"]}, ("what", "state", "more"), list(rows(told))[:2])
    if not told["brake"]["armed"]:
        sys.exit(1)


def _show_remote_brake(target: Target, output: str) -> None:
    told = ask(target, lambda api: api.brake_status(v1.BrakeStatusRequest()))
    by = f"by {told.who} since {told.since}: {told.why}" if told.who else "nobody said why"
    vanished = f"{told.vanished_resources} of {told.live_resources} live resources, by {told.vanished_holders} holders"
    lines = [
        ("brake", "armed" if told.armed else f"braked ({told.cause or 'unknown'})", by),
        ("window", f"{told.vanished_resources} vanished", f"{vanished}; {told.lost_resources} lost"),
    ]
    show(output, plain(told), ("what", "state", "more"), lines)
    if not told.armed:
        sys.exit(1)


def _expected(why: str | None) -> str:
    if why is None:
        raise click.UsageError("expected --why beside --server: every write is audited")
    return why


def _on_resource(
    target: Target, resource: Resource, build: Callable[[Survey], Txn], refused: str | None = None
) -> None:
    """Look, build, commit. Raises ``Failure`` when there is no such resource or the transaction is refused."""

    async def work(client: EtcdClient) -> TxnResult:
        picture = await take_one(client, target.keys, resource, deadline=target.deadline)
        if resource not in picture.resources:
            raise Failure(f"{resource}: not found in tenant {target.tenant}; expected one of `leasehold get resources`")
        try:
            txn = build(picture)
        except NotDone as error:
            raise Failure(str(error)) from error
        return await client.commit(txn, deadline=target.deadline)

    run: Callable[[Callable[[EtcdClient], Awaitable[TxnResult]]], TxnResult] = target.run
    if not run(work).succeeded:
        _refuse(refused or f"{resource}: too late, its sweep is under way; `leasehold why {resource}` says how far")


def _refuse(message: str) -> NoReturn:
    raise Failure(message)


COMMANDS: Sequence[click.Command] = (pin, unpin, restore, release, sweep_now, brake)
