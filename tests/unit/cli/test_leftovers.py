"""What ``get suspects`` and ``get orphans`` list, by what is in etcd."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from leasehold.cli.inspect.leftovers import LEFTOVERS
from leasehold.operating.states import State
from leasehold.protocol.names import CallId, OwnerName
from leasehold.protocol.records import Ending, HolderKind, HoldRecord, IntentRecord, ResourceRecord, encode
from leasehold.protocol.transactions_intents import LISTED
from tests.unit.cli.pictures import BLOB, KEYS, MAKER, OWNER, Picture, abandoned

INTENT = IntentRecord("create-blob", "POST", "/v1/blobs", "c1", since="then", sent_as="Idempotency-Key")


def listed(what: str, picture: Picture) -> list[Any]:
    return LEFTOVERS[what].values(picture.taken())


def intended(picture: Picture, **changes: object) -> Picture:
    return picture.put(KEYS.intent(MAKER, CallId("c1")), encode(msgspec.structs.replace(INTENT, **changes)))


def test_the_intent_of_the_living_is_no_suspect() -> None:
    assert listed("suspects", intended(Picture().rules().alive())) == []


@pytest.mark.parametrize(("written", "reason"), [("", "not-asked-yet"), ("no-lookup", "no-lookup")])
def test_the_intent_of_an_ended_holder_is_a_suspect_with_its_reason(written: str, reason: str) -> None:
    picture = intended(Picture().rules().roster(ended=Ending.CRASHED), suspect=written)
    [view] = listed("suspects", picture)
    assert (view.reason, view.owner, view.type, view.call) == (reason, "store", "blob", "c1")
    assert LEFTOVERS["suspects"].row(view)[:4] == (reason, "store/blob", "POST /v1/blobs", "-")


def test_a_suspect_of_a_service_that_lives_on_is_listed() -> None:
    [view] = listed("suspects", intended(Picture().rules().alive(kind=HolderKind.SERVICE), suspect="no-lookup"))
    assert view.status == "alive"


def test_an_intent_that_cannot_be_read_is_a_suspect() -> None:
    [view] = listed("suspects", Picture().roster().put(KEYS.intent(MAKER, CallId("c1")), b"junk"))
    assert view.reason == "unreadable"


@pytest.mark.parametrize(
    ("mode", "state"),
    [("observe", State.OBSERVE_ONLY), ("condemn", State.UNHELD), ("sweep", State.UNHELD), (None, State.UNHELD)],
)
def test_an_orphan_goes_as_far_as_its_inventory_says(mode: str | None, state: State) -> None:
    inventory = {"path": "/v1", "items": "items", "id": "id", "mode": mode}
    owner = {**OWNER, "types": {"blob": {"inventory": inventory}}} if mode else OWNER
    picture = Picture().rules().put(KEYS.owner(OwnerName("store")), msgspec.json.encode(owner))
    picture.put(KEYS.record(BLOB), encode(ResourceRecord("listed:1", "inventory/store/blob", "3600s", LISTED)))
    picture.put(KEYS.hold(BLOB, LISTED), encode(HoldRecord("", 0, released=True)))
    [view] = listed("orphans", picture)
    assert view.state is state
    assert view.mode == (mode or "unknown")
    assert LEFTOVERS["orphans"].row(view)[0] == "store/blob/a/b c"


def test_what_a_rule_saw_created_is_no_orphan() -> None:
    assert listed("orphans", abandoned()) == []
