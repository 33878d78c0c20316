"""What changes in etcd mean for resources, and how that reads as CloudEvents."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from leasehold.control_plane.events.cloudevents import CloudEvent, gap, told
from leasehold.control_plane.events.transitions import Transition, What, transitions
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import LeaseId, OwnerName, Resource, ResourceId, Revision, Tenant, TypeName
from leasehold.protocol.records import (
    GraveRecord,
    ResourceRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    encode,
)
from leasehold.protocol.store import Change, Event, KeyValue
from leasehold.protocol.transactions_intents import LISTED

KEYS = Keyspace(Tenant("acme"))
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BLOB = Resource(OwnerName("store"), TypeName("blob"), ResourceId("a/b c"))
RECORD = ResourceRecord("call:1", "make", "8s", "svc@a~1", trace=TRACE, since="2026-01-01T00:00:00Z")


def put(key: bytes, record: msgspec.Struct | bytes, revision: int = 7) -> Event:
    value = record if isinstance(record, bytes) else encode(record)
    return Event(Change.PUT, KeyValue(key, value, Revision(revision), Revision(revision), 1, LeaseId(0)))


def gone(key: bytes, revision: int = 7) -> Event:
    return Event(Change.DELETE, KeyValue(key, b"", Revision(0), Revision(revision), 0, LeaseId(0)))


def meant(*events: Event) -> Sequence[str]:
    return [one.what.value for one in transitions(KEYS, events)]


def sweep(state: SweepState) -> SweepRecord:
    return SweepRecord(state, "call:1", 3, 5, 6, "8s/1", outcome="budget: 503")


def test_a_record_that_appears_is_a_registration_and_a_listed_one_an_orphan() -> None:
    assert meant(put(KEYS.record(BLOB), RECORD)) == ["registered"]
    listed = msgspec.structs.replace(RECORD, creator=LISTED)
    assert meant(put(KEYS.record(BLOB), listed)) == ["orphan-found"]


def test_a_tombstone_condemns_and_its_end_revives() -> None:
    assert meant(put(KEYS.tombstone(BLOB), TombstoneRecord("call:1", "1 dead", 5))) == ["condemned"]
    assert meant(gone(KEYS.tombstone(BLOB))) == ["revived"]
    assert meant(gone(KEYS.tombstone(BLOB)), put(KEYS.record(BLOB), RECORD)) == ["revived", "registered"]


def test_a_tombstone_that_goes_with_its_record_is_no_revival() -> None:
    buried = GraveRecord("call:1", "gone: 204", "2026-01-01T00:00:00Z")
    together = [gone(key) for key in (KEYS.record(BLOB), KEYS.tombstone(BLOB), KEYS.sweep(BLOB))]
    assert meant(*together, put(KEYS.grave(BLOB), buried)) == ["swept"]
    assert meant(*together[:2]) == ["forgotten"]


def test_of_the_sweeps_states_only_quarantine_is_told() -> None:
    assert (
        meant(put(KEYS.sweep(BLOB), sweep(SweepState.PREPARED)), put(KEYS.sweep(BLOB), sweep(SweepState.SENT), 8)) == []
    )
    assert meant(put(KEYS.sweep(BLOB), sweep(SweepState.QUARANTINED))) == ["quarantined"]


def test_what_one_transaction_did_to_several_resources_is_told_of_each() -> None:
    other = BLOB._replace(id=ResourceId("other"))
    found = transitions(KEYS, [gone(KEYS.tombstone(BLOB)), gone(KEYS.tombstone(other)), gone(KEYS.record(other))])
    assert {(one.resource, one.what) for one in found} == {(BLOB, What.REVIVED), (other, What.FORGOTTEN)}


def test_holds_self_tests_old_graves_and_what_cannot_be_read_say_nothing() -> None:
    canary = Resource(OwnerName("!canary"), TypeName("!canary"), ResourceId("x-1"))
    assert meant(put(KEYS.hold(BLOB, "svc@a~1"), b"{}")) == []  # type: ignore[arg-type]
    assert meant(put(KEYS.record(canary), RECORD)) == []
    assert meant(gone(KEYS.grave(BLOB))) == []
    assert meant(put(KEYS.record(BLOB), b"not json"), put(KEYS.tombstone(BLOB), b"[]", 8)) == []


def event(what: What = What.CONDEMNED, **more: object) -> CloudEvent:
    transition = Transition(what, BLOB, Revision(7), "call:1", "2026-01-01T00:00:00Z", "1 dead")
    return told(Tenant("acme"), msgspec.structs.replace(transition, **more), RECORD)


def test_an_event_has_all_that_cloudevents_require_and_the_apps_trace() -> None:
    read = json.loads(event().body)
    data = {"owner": "store", "type": "blob", "id": "a/b c", "incarnation": "call:1", "revision": 7,
            "detail": "1 dead", "rule": "make", "creator": "svc@a~1"}  # fmt: skip
    assert read == {
        "specversion": "1.0", "id": "store/blob/a/b c:call:1:condemned:7", "source": "/leasehold/acme",
        "type": "leasehold.condemned", "subject": "store/blob/a/b c", "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json", "data": data, "correlationid": TRACE[3:35], "traceparent": TRACE,
        "partitionkey": "store/blob/a/b c",
    }  # fmt: skip


def test_told_twice_it_has_one_id_and_another_time_another() -> None:
    assert event().body == event().body
    ids = {event().id, event(revision=Revision(8)).id, event(what=What.REVIVED).id, event(incarnation="uid:2").id}
    assert len(ids) == 4


def test_the_id_does_not_depend_on_what_compaction_may_take() -> None:
    silent = Transition(What.REVIVED, BLOB, Revision(7))
    known, unknown = told(Tenant("acme"), silent, RECORD), told(Tenant("acme"), silent, None)
    assert known.id == unknown.id
    assert (known.data["incarnation"], unknown.data["incarnation"]) == ("call:1", "")


def test_a_gap_says_from_where_to_where() -> None:
    read = json.loads(gap(Tenant("acme"), Revision(3), Revision(9), "compacted").body)
    assert read["type"] == "leasehold.gap"
    assert read["data"] == {"after": 3, "until": 9, "why": "compacted"}
    assert "subject" not in read
