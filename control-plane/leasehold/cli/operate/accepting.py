"""``leasehold brake accept-cluster``: pin the etcd that serves us now, because the one before was restored or replaced.

Only under the brake, and the brake stays on: whether what this etcd remembers is true is for people to find out first.
"""

from __future__ import annotations

import click
import msgspec

from leasehold.cli.operate.commands import now
from leasehold.cli.target import Failure, Target, operator_name, pass_target
from leasehold.operating.survey import take
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import Cause, TrippedRecord
from leasehold.protocol.store import MemberStatus
from leasehold.protocol.transactions_brake import accept_cluster


@click.command(
    "accept-cluster",
    epilog="Example: leasehold brake accept-cluster --reason 'restored from the snapshot of 02:00'",
)
@click.option("--reason", required=True, help="Stored, for whoever asks later.")
@pass_target
def accept(target: Target, reason: str) -> None:
    """Take the etcd that answers now for the right one. The brake has to be on, and stays on.

    Control planes refuse another cluster than the one pinned: what it does not remember it cannot protect. Let the
    sidecars attach again, look, and only then `leasehold brake arm`. Needs the right to write control/cluster, which
    the operator's role does not have.
    """
    click.echo(target.run(lambda client: _accept(target, client, reason)))


async def _accept(target: Target, client: EtcdClient, reason: str) -> str:
    """What was done. Raises ``Failure`` when nothing was; repeating is harmless."""
    members = await client.status(deadline=target.deadline)
    serving = {f"{member.cluster_id:x}" for member in members if isinstance(member, MemberStatus)}
    if len(serving) != 1:
        raise Failure(f"{target.where}: expected one cluster to answer, got {sorted(serving) or 'none'}")
    [cluster] = serving
    picture = await take(client, target.keys, (Family.CONTROL,), deadline=target.deadline)
    pinned = picture.cluster
    if pinned is None or pinned.record is None:
        raise Failure("control/cluster is missing or cannot be read: only a control plane founds a tenant")
    if pinned.record.cluster_id == cluster:
        return f"{cluster} is the pinned cluster already; nothing to do"
    accepted = msgspec.structs.replace(pinned.record, cluster_id=cluster)
    tripped = TrippedRecord(operator_name(), f"another cluster was accepted: {reason}", Cause.OPERATOR, now())
    txn = accept_cluster(target.keys, pinned.revision, accepted, tripped)
    if not (await client.commit(txn, deadline=target.deadline)).succeeded:
        raise Failure("the brake is armed, or control/cluster changed meanwhile: `leasehold brake trip` first")
    return f"accepted: {cluster} instead of {pinned.record.cluster_id}; the brake stays on until `leasehold brake arm`"
