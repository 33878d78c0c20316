"""What the doctor makes of the facts."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.cli.doctor import findings
from leasehold.cli.doctor.findings import Finding, Level
from leasehold.protocol.errors import Unavailable
from leasehold.protocol.etcd.cluster import Member, Unreachable
from leasehold.protocol.etcd.known_bad import defects_of, fixed_in, parse_version
from leasehold.protocol.names import OwnerName, Revision
from leasehold.protocol.store import MemberStatus
from tests.unit.cli.pictures import KEYS, OWNER, Picture, abandoned


def issues(version: str, members: int = 3) -> set[str]:
    parsed = parse_version(version)
    assert parsed is not None
    return {defect.issue for defect in defects_of(parsed, members)}


@pytest.mark.parametrize(
    ("version", "issue", "affected"),
    [
        ("3.4.31", "etcd#13766", False),
        ("3.5.0", "etcd#13766", True),
        ("3.5.2", "etcd#13766", True),
        ("3.5.3", "etcd#13766", False),
        ("3.6.0", "etcd#13766", False),
        ("3.4.30", "etcd#15247", True),
        ("3.4.31", "etcd#15247", False),
        ("3.5.12", "etcd#15247", True),
        ("3.5.13", "etcd#15247", False),
        ("3.6.0", "etcd#15247", False),
        ("3.4.31", "etcd#17780", True),
        ("3.5.13", "etcd#17780", True),
        ("3.5.14", "etcd#17780", False),
        ("3.6.4", "etcd#20653", True),
        ("3.6.5", "etcd#20653", False),
        ("3.7.0", "etcd#21417", False),
    ],
)
def test_each_defect_is_known_in_exactly_the_versions_that_have_it(version: str, issue: str, affected: bool) -> None:
    assert (issue in issues(version)) is affected


def test_some_defects_only_matter_to_a_single_member() -> None:
    assert "etcd#14370" in issues("3.5.4", members=1)
    assert "etcd#14370" not in issues("3.5.4", members=3)
    assert "etcd#14370" not in issues("3.5.5", members=1)


def test_the_advice_stays_on_the_release_line_where_it_can() -> None:
    [lease] = [defect for defect in defects_of((3, 4, 3), 3) if defect.issue == "etcd#15247"]
    assert fixed_in((3, 4, 3), lease) == (3, 4, 31)
    assert fixed_in((3, 5, 1), lease) == (3, 5, 13)


@pytest.mark.parametrize("text", ["", "unknown", "3.5"])
def test_what_is_no_version_is_not_guessed(text: str) -> None:
    assert parse_version(text) is None


def member(**changes: object) -> MemberStatus:
    values: dict[str, object] = {
        "endpoint": "http://a:2379", "version": "3.6.9",
        "cluster_id": 1, "member_id": 2, "leader_id": 2, "raft_term": 3,
        "revision": Revision(9), "db_size_bytes": 4096,
    }  # fmt: skip
    return MemberStatus(**(values | changes))  # type: ignore[arg-type]


THREE = [Member(n, f"m{n}", (), False) for n in range(3)]


def levels(found: list[Finding]) -> dict[str, Level]:
    return {finding.code: finding.level for finding in found}


def test_a_healthy_cluster_is_fine() -> None:
    found = [*findings.about_versions([member()], 3), *findings.about_cluster([member()], THREE)]
    assert {finding.level for finding in found} == {Level.OK}


def test_data_corruption_fails_and_a_tolerable_defect_warns() -> None:
    found = levels(list(findings.about_versions([member(version="3.5.1")], 3)))
    assert found["known-bad-etcd-13766"] is Level.FAIL
    assert found["known-bad-etcd-15247"] is Level.WARN


def test_alarms_and_a_missing_leader_fail() -> None:
    found = levels(list(findings.about_cluster([member(alarms=("NOSPACE",), leader_id=0)], THREE)))
    assert found["etcd-alarm-nospace"] is Level.FAIL
    assert found["etcd-leader"] is Level.FAIL


def test_endpoints_of_two_clusters_fail() -> None:
    found = levels(list(findings.about_cluster([member(), member(cluster_id=7)], THREE)))
    assert found["etcd-cluster-id"] is Level.FAIL


def test_a_single_member_and_an_even_number_warn() -> None:
    assert levels(list(findings.about_cluster([member()], THREE[:1])))["etcd-single-member"] is Level.WARN
    assert levels(list(findings.about_cluster([member()], THREE[:2])))["etcd-members"] is Level.WARN


def test_an_endpoint_that_does_not_answer_fails_by_name() -> None:
    [found] = findings.about_endpoints([Unreachable("http://b:2379", Unavailable("refused"))])
    assert found.level is Level.FAIL
    assert "http://b:2379" in found.what


def test_a_lost_armed_key_fails_but_a_tenant_never_founded_only_warns() -> None:
    assert levels(list(findings.about_tenant(Picture().taken(), "t")))["armed"] is Level.WARN
    founded = Picture().put(b"/leasehold/1/default/control/cluster", b'{"cluster_id": "1"}')
    assert levels(list(findings.about_tenant(founded.taken(), "t")))["armed"] is Level.FAIL


def test_a_tenant_in_order_has_only_ok_findings() -> None:
    taken = abandoned().taken()
    found = [*findings.about_tenant(taken, "t"), *findings.about_rules(taken)]
    assert {finding.level for finding in found} == {Level.OK}


def test_rules_that_make_no_sense_fail_and_unsafe_owners_warn() -> None:
    assert levels(list(findings.about_rules(Picture().rules(owner="nobody").taken())))["rules"] is Level.FAIL


def test_a_secret_in_an_owners_document_is_pointed_out_without_its_value() -> None:
    document = OWNER | {"headers": {"authorization": "Bearer hunter2", "X-Trace": "1"}}
    picture = Picture().rules().put(KEYS.owner(OwnerName("store")), msgspec.json.encode(document))
    found = [one for one in findings.about_rules(picture.taken()) if one.code == "secret-in-document"]
    assert [finding.level for finding in found] == [Level.WARN]
    assert "authorization" in found[0].what
    assert "hunter2" not in str(found)


def test_an_unsynchronised_clock_only_warns_for_no_decision_reads_it() -> None:
    assert [finding.level for finding in findings.about_clock(False)] == [Level.WARN]
    assert [finding.level for finding in findings.about_clock(None)] == [Level.OK]
