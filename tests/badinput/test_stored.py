"""What somebody else wrote into a tenant's keys: the commands that look name it and go on."""

from __future__ import annotations

import pytest

from leasehold.operating.survey import survey
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import LeaseId, Revision, Tenant
from leasehold.protocol.store import KeyValue

KEYS = Keyspace(Tenant("t"))
TAILS = {1: "a", 2: "a/000000000001", 3: "o/t/i", 4: "o/t/i/h", 6: "o/t/i/p/u/j"}
DEPTHS = {
    family: depth
    for family in Family
    for depth in TAILS
    if KEYS.parse(KEYS.family(family).start + TAILS[depth].encode())
}


def item(key: bytes, value: bytes) -> KeyValue:
    return KeyValue(key, value, Revision(1), Revision(1), 1, LeaseId(0))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    "value", [b"", b"\xff\xfe", b"null", b"7", b"[]", b'{"x": 1}', b"{" * 100, b'"' + b"a" * 70000]
)
def test_a_value_that_nobody_understands_ends_no_survey(family: Family, value: bytes) -> None:
    key = KEYS.family(family).start + TAILS[DEPTHS[family]].encode()
    picture = survey(KEYS, [item(key, value)], Revision(5))
    assert picture.revision == 5
    assert all(where == key.decode() and why for where, why in picture.unreadable)


@pytest.mark.parametrize("number", ["%C2%B2", "%D9%A1", "x", "-1", "9" * 5000, "1.5"])
@pytest.mark.parametrize("family", [b"epochs/2s/", b"shards/"])
def test_a_number_that_is_none_is_unreadable(family: bytes, number: str) -> None:
    key = KEYS.everything.start + family + number.encode()
    picture = survey(KEYS, [item(key, b"{}")], Revision(5))
    assert [why for _, why in picture.unreadable] == ["expected a number at its end"]
    assert not picture.shards
    assert not picture.epochs


@pytest.mark.parametrize(
    "tail",
    ["", "x", "holds/o/t/i", "holds/o/t/i/h/more", "resources/o/t/%69", "resources/o/t/a%2fb", "resources/o//i",
     "resources/o/t/\u00e9", "unknown/a", "../other/pins/o/t/i"],
)  # fmt: skip
def test_a_key_that_we_would_not_have_built_is_nobody_s(tail: str) -> None:
    key = KEYS.everything.start + tail.encode()
    assert KEYS.parse(key) is None
    assert survey(KEYS, [item(key, b"{}")], Revision(5)).unreadable == [(key.decode(), "not a key of this protocol")]
