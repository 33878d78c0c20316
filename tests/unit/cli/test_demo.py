"""The demo's judgement, and how it is told."""

from __future__ import annotations

from leasehold.cli.demo.audience import FORGOTTEN, SWEPT, compare
from leasehold.cli.demo.owners import RULES_FILE, resource
from leasehold.cli.demo.show import PlainShow
from leasehold.cli.demo.verdict import Ledger, judge
from leasehold.operating.states import resource_views
from leasehold.protocol.names import Resource
from leasehold.protocol.records import GraveRecord, encode
from leasehold.protocol.rules import Mode, load_rules, permitted_mode, warnings
from tests.unit.cli.pictures import BLOB, KEYS, MAKER, OTHER, USER, Picture, abandoned

SWEPT_ONE, KEPT, TIDIED, FOREIGN = (resource("crate", name) for name in ("swept", "kept", "tidied", "foreign"))


def ledger() -> Ledger:
    created = {SWEPT_ONE: "packer", KEPT: "uploader", TIDIED: "clerk"}
    return Ledger(created, deleted_by_program={TIDIED}, keep={KEPT}, bystanders={FOREIGN})


def test_all_is_well_when_exactly_what_is_in_use_is_left() -> None:
    found = judge(ledger(), {KEPT, FOREIGN}, {KEPT: "held"}, 12.34)
    assert found.ok
    assert (found.created, found.swept, found.deleted_by_program, found.kept) == (3, 1, 1, 1)
    assert (found.bystanders, found.seconds) == (1, 12.3)


def test_what_is_still_there_has_leaked() -> None:
    found = judge(ledger(), {KEPT, FOREIGN, SWEPT_ONE}, {KEPT: "held"}, 1)
    assert (found.ok, found.leaked, found.swept) == (False, 1, 0)
    assert "depot/crate/swept" in found.problems[0]


def test_what_is_in_use_or_none_of_ours_must_not_be_gone() -> None:
    assert judge(ledger(), {FOREIGN}, {KEPT: "held"}, 1).wrongly_deleted == 1
    assert judge(ledger(), {KEPT}, {KEPT: "held"}, 1).wrongly_deleted == 1


def test_records_have_to_agree_with_the_owners() -> None:
    assert judge(ledger(), {KEPT, FOREIGN}, {KEPT: "held", TIDIED: "held"}, 1).stale_records == 1
    assert judge(ledger(), {KEPT, FOREIGN}, {KEPT: "in-grace"}, 1).unprotected == 1


def test_a_programs_complaint_spoils_the_verdict() -> None:
    told = ledger()
    told.complaints.append("reader lost its object")
    assert not judge(told, {KEPT, FOREIGN}, {KEPT: "held"}, 1).ok


def test_the_demos_rules_make_sense_and_sweep() -> None:
    values = {"DEMO_S3": "127.0.0.1:1", "DEMO_DEPOT": "127.0.0.1:2", "DEMO_S3_AUTHORIZATION": "x"}
    rules = load_rules(RULES_FILE.read_text(), str(RULES_FILE), values)
    assert warnings(rules) == []
    creating = [rule for rule in rules.rules if rule.on == "create"]
    owners = {owner.name: owner for owner in rules.owners}
    assert {permitted_mode(rule, owners[rule.owner]) for rule in creating} == {Mode.SWEEP}


def test_a_record_that_is_gone_was_swept_if_there_is_a_grave() -> None:
    picture = abandoned().resource(OTHER)
    seen = {
        change.resource: change.after for change in compare({}, {}, resource_views(picture.taken()), picture.taken())
    }
    later = Picture().put(KEYS.grave(BLOB), encode(GraveRecord("uid-1", "204"))).taken()
    changes: dict[Resource, str] = {change.resource: change.after for change in compare(seen, {}, [], later)}
    assert changes == {BLOB: SWEPT, OTHER: FORGOTTEN}
    assert compare(changes, {}, [], later) == []


def test_plain_lines_group_what_happens_together() -> None:
    lines: list[str] = []
    picture = abandoned().taken()
    PlainShow(lines.append).changed(compare({BLOB: "held"}, {}, resource_views(picture), picture))
    assert [line.split("s", 1)[1].strip() for line in lines] == ["blob b c: held -> unheld"]


def test_a_survivor_is_told_when_one_of_its_two_holders_dies() -> None:
    lines: list[str] = []
    picture = abandoned().hold(USER).alive(USER).taken()
    before = {BLOB: (str(MAKER), str(USER))}
    PlainShow(lines.append).changed(compare({BLOB: "held"}, before, resource_views(picture), picture))
    assert lines[0].endswith("blob b c: still held by user@two")
