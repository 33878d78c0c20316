"""What stands under an id, beside what a call is known to have created there."""

from __future__ import annotations

import pytest

from leasehold.control_plane.core.intents import Intent, Over
from leasehold.control_plane.core.namesakes import Known, compared, needed
from leasehold.protocol.names import CallId, Holder, LeaseId, Revision
from leasehold.protocol.records import IntentRecord, ResourceRecord, encode
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import MAX_REFERENCES

BEFORE, INTENDED, SINCE = Revision(5), Revision(7), Revision(9)


def case(suspect: str = "") -> Over:
    record = IntentRecord("rule", "PUT", "/x", "c", suspect=suspect)
    return Over(Holder("a@1~1"), CallId("c"), Intent(INTENDED, record), Revision(3), False, False)


def item(incarnation: str, revision: Revision, *references: tuple[str, str, str]) -> KeyValue:
    value = encode(ResourceRecord(incarnation, "rule", "1s", "a", references=references))
    return KeyValue(b"k", value, revision, revision, 1, LeaseId(0))


@pytest.mark.parametrize(
    ("record", "found", "suspect", "expected"),
    [
        (None, "uid:2", "", Known.NOTHING),
        (item("uid:2", BEFORE), "uid:2", "", Known.RECORDED),
        (item("uid:2", SINCE), "uid:2", "", Known.RECORDED),
        (item("uid:1", BEFORE), "uid:2", "", Known.EARLIER),
        (item("uid:1", BEFORE), "call:c", "", Known.EARLIER),
        (item("uid:1", SINCE), "uid:2", "", Known.DOUBTFUL),
        (item("uid:1", SINCE), "call:c", "", Known.RECORDED),
        (item("uid:1", BEFORE), "uid:2", "unclear", Known.DOUBTFUL),
        (item("uid:1", BEFORE), "call:c", "unclear", Known.DOUBTFUL),
        (KeyValue(b"k", b"?", BEFORE, BEFORE, 1, LeaseId(0)), "uid:2", "", Known.DOUBTFUL),
    ],
)
def test_a_record_is_of_the_call_only_if_its_incarnation_or_its_age_says_so(
    record: KeyValue | None, found: str, suspect: str, expected: Known
) -> None:
    assert compared(record, case(suspect), found) is expected


def test_recording_over_frees_nothing_that_the_earlier_one_referred_to() -> None:
    known = item("uid:1", BEFORE, ("o", "t", "a"), ("o", "t", "b"))
    assert needed(known, [("o", "u", "*")]) == (("o", "t", "a"), ("o", "t", "b"), ("o", "u", "*"))
    assert needed(None, [("o", "u", "*")]) == (("o", "u", "*"),)
    many = tuple(("o", "t", str(n)) for n in range(MAX_REFERENCES))
    assert needed(item("uid:1", BEFORE, *many), [("o", "u", "*")]) == (("o", "t", "*"), ("o", "u", "*"))
