"""Which defects an etcd version has that matter to us. Pure; each with the issue that tells the story.

The fixes are those of etcd's own changelogs of the 3.4, 3.5 and 3.6 lines. A version that is newer than every line
known here has none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int, int]

OLDEST_SUPPORTED: Version = (3, 4, 0)


@dataclass(frozen=True, slots=True)
class Defect:
    """``fixed`` maps a release line to the first version without it; ``since`` is the first version with it.

    ``deadly`` ones can lose or invent data, so no verdict about "nobody holds it" may rest on them.
    ``single_member_only`` ones cannot happen in a cluster of several. ``roles_only`` ones concern those who rely on
    etcd's roles to keep tenants apart.
    """

    issue: str
    what: str
    since: Version
    fixed: tuple[Version, ...]
    deadly: bool = False
    single_member_only: bool = False
    roles_only: bool = False


DEFECTS = (
    Defect(
        "etcd#13766",
        "data may become inconsistent between members after a crash",
        (3, 5, 0),
        ((3, 5, 3),),
        deadly=True,
    ),
    Defect(
        "etcd#14370",
        "a single member may lose acknowledged writes in a crash",
        (3, 0, 0),
        ((3, 4, 21), (3, 5, 5)),
        single_member_only=True,
    ),
    Defect(
        "etcd#15247",
        "a stale leader may revoke live leases: every holder can look dead at once",
        (3, 0, 0),
        ((3, 4, 31), (3, 5, 13)),
    ),
    Defect(
        "etcd#17529",
        "watch events may be lost after a compaction",
        (3, 0, 0),
        ((3, 4, 31), (3, 5, 13)),
    ),
    Defect(
        "etcd#17780",
        "the revision may decrease after a crash during a compaction",
        (3, 0, 0),
        ((3, 4, 32), (3, 5, 14)),
    ),
    Defect(
        "etcd#20653",
        "data may be corrupted when a snapshot is applied during a defragmentation",
        (3, 0, 0),
        ((3, 4, 38), (3, 5, 23), (3, 6, 5)),
    ),
    Defect(
        "etcd#21417",
        "reads may be stale after the process was paused",
        (3, 0, 0),
        ((3, 4, 42), (3, 5, 28), (3, 6, 9)),
    ),
    Defect(
        "CVE-2026-33343",
        "roles do not bind: whoever may log in reads and writes everything by a nested transaction",
        (3, 0, 0),
        ((3, 4, 42), (3, 5, 28), (3, 6, 9)),
        roles_only=True,
    ),
    Defect(
        "CVE-2026-33413",
        "roles do not bind: several calls are answered without a look at who asks",
        (3, 0, 0),
        ((3, 4, 42), (3, 5, 28), (3, 6, 9)),
        roles_only=True,
    ),
    Defect(
        "CVE-2026-44283",
        "roles do not bind: a put within a transaction may attach a key to another tenant's lease",
        (3, 0, 0),
        ((3, 4, 44), (3, 5, 30), (3, 6, 11)),
        roles_only=True,
    ),
    Defect(
        "CVE-2023-32082",
        "another tenant may learn the names of the keys of a lease",
        (3, 0, 0),
        ((3, 4, 26), (3, 5, 9)),
        roles_only=True,
    ),
)


def parse_version(text: str) -> Version | None:
    """``3.5.13`` or ``v3.6.0-rc.1``; ``None`` for what is no version."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def defects_of(version: Version, members: int, *, by_roles: bool = False) -> list[Defect]:
    """The defects of one version in a cluster of so many members. ``by_roles``: users and their roles matter there."""
    return [
        defect
        for defect in DEFECTS
        if version >= defect.since
        and not _fixed(version, defect)
        and (members == 1 or not defect.single_member_only)
        and (by_roles or not defect.roles_only)
    ]


def fixed_in(version: Version, defect: Defect) -> Version:
    """Where to go: the first version without it, on the same line if there is one, else on the next."""
    return next((fix for fix in defect.fixed if fix > version), defect.fixed[-1])


def written(version: Version) -> str:
    return ".".join(map(str, version))


def _fixed(version: Version, defect: Defect) -> bool:
    # A line that is newer than all of a defect's fixes was branched off after them.
    line = version[:2]
    same = next((fix for fix in defect.fixed if fix[:2] == line), None)
    return version >= same if same is not None else line > defect.fixed[-1][:2]
