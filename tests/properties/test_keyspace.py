"""Keys cannot be forged: building is injective, ranges catch exactly their own, parsing is the inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.keyspace import Family, Keyspace, shard_of, shard_of_class
from leasehold.protocol.names import CallId, ClassName, Holder, OwnerName, Resource, ResourceId, Tenant, TypeName

# Text as hostile traffic brings it: slashes, percent signs, dots, NUL, astral characters, look-alike prefixes.
component = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(["/", "%2F", "..", ".", "a/b", "a%2Fb", "holds", "a\0b", "a0", "a", "~", "ü", "%", "%25"]),
)
resources = st.builds(
    lambda owner, kind, id_: Resource(OwnerName(owner), TypeName(kind), ResourceId(id_)),
    component,
    component,
    component,
)
holders = st.builds(Holder, component)
keys = Keyspace(Tenant("default"))


def every_key(resource: Resource, holder: Holder, source: Resource) -> dict[str, bytes]:
    return {
        "beacon": keys.beacon(holder),
        "roster": keys.roster(holder),
        "record": keys.record(resource),
        "hold": keys.hold(resource, holder),
        "ref": keys.ref(resource, source),
        "intent": keys.intent(holder, CallId(resource.id)),
        "tombstone": keys.tombstone(resource),
        "epoch": keys.epoch(ClassName(resource.type), 7),
        "epoch_lease": keys.epoch_lease(ClassName(resource.type), 7),
        "sweep": keys.sweep(resource),
        "grave": keys.grave(resource),
        "pin": keys.pin(resource),
        "replica": keys.replica(holder),
    }


@given(resources, holders, resources, resources, holders, resources)
def test_different_facts_never_share_a_key(
    r1: Resource, h1: Holder, s1: Resource, r2: Resource, h2: Holder, s2: Resource
) -> None:
    first, second = every_key(r1, h1, s1), every_key(r2, h2, s2)
    assert len(set(first.values())) == len(first)
    about = {
        "beacon": lambda r, h, s: h, "roster": lambda r, h, s: h, "record": lambda r, h, s: r,
        "hold": lambda r, h, s: (r, h), "ref": lambda r, h, s: (r, s), "intent": lambda r, h, s: (h, r.id),
        "tombstone": lambda r, h, s: r, "epoch": lambda r, h, s: r.type, "epoch_lease": lambda r, h, s: r.type,
        "sweep": lambda r, h, s: r, "grave": lambda r, h, s: r, "pin": lambda r, h, s: r,
        "replica": lambda r, h, s: h,
    }  # fmt: skip
    for name, fact in about.items():
        assert (first[name] == second[name]) == (fact(r1, h1, s1) == fact(r2, h2, s2)), name


@given(resources, holders, resources, resources)
def test_a_range_holds_exactly_its_own_keys(r1: Resource, holder: Holder, source: Resource, r2: Resource) -> None:
    assert keys.hold(r1, holder) in keys.holds_of(r1)
    assert (keys.hold(r2, holder) in keys.holds_of(r1)) == (r1 == r2)
    assert keys.ref(r1, source) in keys.refs_to(r1)
    assert (keys.ref(r2, source) in keys.refs_to(r1)) == (r1 == r2)
    for name, key in every_key(r1, holder, source).items():
        assert (key in keys.holds_of(r1)) == (name == "hold")
        assert (key in keys.refs_to(r1)) == (name == "ref")
        assert sum(key in keys.family(family) for family in Family) == 1
        assert key in keys.everything


@given(resources, holders, resources)
def test_parsing_is_the_inverse_of_building(resource: Resource, holder: Holder, source: Resource) -> None:
    hold = keys.parse(keys.hold(resource, holder))
    assert hold is not None
    assert (hold.family, hold.resource, hold.holder) == (Family.HOLDS, resource, holder)
    ref = keys.parse(keys.ref(resource, source))
    assert ref is not None
    assert (ref.family, ref.resource, ref.source) == (Family.REFS, resource, source)
    beacon = keys.parse(keys.beacon(holder))
    assert beacon is not None
    assert (beacon.family, beacon.holder) == (Family.BEACONS, holder)


@given(component, component, resources)
def test_tenants_never_see_each_other(one: str, other: str, resource: Resource) -> None:
    mine, theirs = Keyspace(Tenant(one)), Keyspace(Tenant(other))
    assert (theirs.record(resource) in mine.everything) == (one == other)
    assert (mine.parse(theirs.record(resource)) is not None) == (one == other)


@given(st.binary(max_size=80))
def test_parsing_foreign_bytes_never_raises(junk: bytes) -> None:
    keys.parse(junk)
    parsed = keys.parse(b"/leasehold/1/default/" + junk)
    assert parsed is None or all(parsed.parts)


@pytest.mark.parametrize(
    "tail", ["pins/o/t/%41", "pins/o/t/%2f", "pins/o/t/a b", "pins/o/t/a%", "pins/o/t/", "pins/o/t", "nests/a"]
)
def test_a_key_that_would_not_be_built_so_is_not_ours(tail: str) -> None:
    assert keys.parse(b"/leasehold/1/default/pins/o/t/%2F") is not None
    assert keys.parse(f"/leasehold/1/default/{tail}".encode()) is None


@given(resources, st.integers(1, 4096))
def test_a_resource_has_one_shard_and_it_exists(resource: Resource, shards: int) -> None:
    again = Resource(*("".join(part) for part in resource))  # type: ignore[arg-type]
    assert shard_of(resource, shards) == shard_of(again, shards)
    assert 0 <= shard_of(resource, shards) < shards


def test_shards_are_what_they_were_in_every_release_before() -> None:
    """Written down once: replicas of two releases that disagreed would act on one resource under two fences."""
    known = {"store/blob/4711": 62, "store/blob/a/b c": 24, "s3/object/bücher": 59, "s3/object/%2F": 61}
    assert {name: shard_of(Resource.parse(name), 64) for name in known} == known
    assert [shard_of_class(ClassName(name), 64) for name in ("1s", "300s", "86400s")] == [11, 54, 22]


def test_resources_are_spread_evenly_over_the_shards() -> None:
    count, shards = 64_000, 64
    for pattern in ("{}", "{:08x}", "media/{}/master.mp4", "cr-{:05d}"):
        filled = [0] * shards
        for n in range(count):
            filled[shard_of(Resource.parse("store/blob/" + pattern.format(n)), shards)] += 1
        assert max(filled) < 1.25 * count / shards, pattern
        assert min(filled) > 0.75 * count / shards, pattern
