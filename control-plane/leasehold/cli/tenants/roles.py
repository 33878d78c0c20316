"""``leasehold etcd-roles``: the least roles of a tenant, as ``etcdctl`` commands or applied at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import click

from leasehold.cli.target import Target, parse_name, parse_tenant, pass_target
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.roles import Change
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import OwnerName, ServiceName
from leasehold.protocol.roles import Grant, Role, roles

USERS = """\
# A user for each part, then authentication (once per cluster; the first user has to be root):
#   etcdctl user add root && etcdctl user grant-role root root
#   etcdctl user add NAME && etcdctl user grant-role NAME ROLE
#   etcdctl auth enable
"""


@click.command(
    "etcd-roles",
    epilog="""\b
Examples:
  leasehold etcd-roles --tenant shop                       for people: etcdctl commands to look at and to run
  leasehold --user root --password-file pw etcd-roles --tenant shop --service web --service jobs --apply
""",
)
@click.option("--tenant", "tenant", metavar="NAME", help="Whose roles; default: that of `leasehold --tenant`.")
@click.option("--service", "services", multiple=True, metavar="NAME", help="A sidecar role for this service alone.")
@click.option(
    "--owner", "owners", multiple=True, metavar="NAME", help="Sidecars may only touch this owner's resources."
)
@click.option("--apply", "do_apply", is_flag=True, help="Make them so in etcd; needs a user with the root role.")
@pass_target
def etcd_roles(
    target: Target, tenant: str | None, services: Sequence[str], owners: Sequence[str], do_apply: bool
) -> None:
    """The least etcd roles for one tenant: sidecars, control planes, whoever writes rules, operators.

    Control planes that load a rule file or follow Kubernetes objects need the rules role beside their own; so does an
    operator who runs `leasehold apply`.
    """
    keys = Keyspace(target.tenant if tenant is None else parse_tenant(tenant))
    wanted = roles(
        keys,
        [ServiceName(parse_name(service, "--service")) for service in services],
        [OwnerName(parse_name(owner, "--owner")) for owner in owners],
    )
    if do_apply:
        for change in target.run(lambda client: _ensure(client, wanted, target.deadline)):
            click.echo(_told(change))
        return
    click.echo(USERS, nl=False)
    for role in wanted:
        click.echo("\n".join(_commands(role)))


async def _ensure(client: EtcdClient, wanted: Sequence[Role], deadline: float) -> list[Change]:
    return [await client.roles.ensure(role, deadline=deadline) for role in wanted]


def _commands(role: Role) -> Iterator[str]:
    yield f"\n# {role.purpose}"
    yield f"etcdctl role add {shlex.quote(role.name)}"
    for grant in role.grants:
        yield f"etcdctl role grant-permission {shlex.quote(role.name)} {_permission(grant)}"


def _permission(grant: Grant) -> str:
    words = (grant.access.name.lower(), grant.start.decode("ascii"), grant.end.decode("ascii"))
    return " ".join(shlex.quote(word) for word in words if word)


def _told(change: Change) -> str:
    if not (change.created or change.granted or change.revoked):
        return f"{change.name}: as it should be"
    done = "made" if change.created else "changed"
    return f"{change.name}: {done}, {len(change.granted)} granted, {len(change.revoked)} revoked"
