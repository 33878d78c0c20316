"""Rule files into etcd: what is written, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.operating.rule_plan import document, plan, transactions
from leasehold.operating.survey import Survey, survey
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.names import Revision
from leasehold.protocol.rules import RuleSet, rules_from_documents
from leasehold.protocol.store import MAX_OPERATIONS
from tests.unit.cli.pictures import KEYS, OWNER, RULE, Picture

WANTED = rules_from_documents([OWNER], [RULE], "test")
NOTHING = survey(KEYS, (), Revision(1))


def verdicts(stored: Survey, wanted: RuleSet) -> list[str]:
    return [step.verdict for step in plan(KEYS, stored, wanted)]


def test_what_is_written_reads_back_as_the_same_rules() -> None:
    stored = survey(KEYS, (), Revision(1))
    picture = Picture()
    for step in plan(KEYS, stored, WANTED):
        picture.put(step.key, step.value)
    assert picture.taken().rules() == WANTED


def test_durations_are_written_as_a_person_would() -> None:
    rule = msgspec.structs.replace(WANTED.rules[0], grace=WANTED.rules[0].grace)
    assert document(rule)["grace"] == "5s"


def test_the_first_time_everything_is_created_and_the_second_time_unchanged() -> None:
    assert verdicts(NOTHING, WANTED) == ["created", "created"]
    assert verdicts(Picture().rules().taken(), WANTED) == ["unchanged", "unchanged"]


def test_the_same_meaning_in_other_words_is_no_change() -> None:
    assert verdicts(Picture().rules(grace="5000ms").taken(), WANTED) == ["unchanged", "unchanged"]


def test_a_difference_or_an_unreadable_document_is_a_change() -> None:
    assert verdicts(Picture().rules(grace="6s").taken(), WANTED) == ["unchanged", "changed"]


def test_every_write_is_guarded_by_what_was_read() -> None:
    stored = Picture().rules(grace="6s").taken()
    [txn] = transactions(plan(KEYS, stored, WANTED))
    assert [compare.operand for compare in txn.compares] == [stored.rule_documents["create-blob"].revision]
    [new] = transactions(plan(KEYS, NOTHING, WANTED))
    assert [compare.operand for compare in new.compares] == [0, 0]


def test_a_file_that_would_spoil_the_stored_rules_is_refused() -> None:
    owner = {name: value for name, value in OWNER.items() if name != "delete"}
    wanted = rules_from_documents([owner], [], "test")
    with pytest.raises(BadConfiguration, match="sweep needs a delete"):
        plan(KEYS, Picture().rules().taken(), wanted)


def test_many_rules_stay_within_etcds_limit() -> None:
    rules = [RULE | {"name": f"rule-{n}"} for n in range(300)]
    wanted = rules_from_documents([OWNER], rules, "test")
    parts = transactions(plan(KEYS, NOTHING, wanted))
    assert sum(len(part.success) for part in parts) == 301
    assert all(len(part.success) <= MAX_OPERATIONS for part in parts)
