"""What judges say of owners that can be asked, are told, list what they have, and have things that need each other."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

from tests.chaos.crates import INTERVAL_SECONDS
from tests.chaos.history import COLLECTOR, STRAY, Call, History, Referral, Usage
from tests.chaos.laws import judge
from tests.chaos.story import FENCE, HOLDER, Story

DEED = ("deeds", "deed", "d1")
CRATE = ("crates", "crate", "c1")
BLOB, ALBUM, OTHER = ("blobs", "blob", "b1"), ("albums", "album", "a1"), ("albums", "album", "a2")


def violated(history: History) -> set[str]:
    return {one.law for one in judge(history) if one.violations}


def facts(history: History, law: str) -> int:
    return sum(one.facts for one in judge(history) if one.law == law)


def ask(story: Story, resource: tuple[str, str, str], method: str, effect: str = "", status: int = 204) -> Call:
    """The collector calls, and is answered."""
    (owner, _, identity), number = resource, f"c{len(story.history.calls)}"
    call = Call(
        owner, identity, method, COLLECTOR, number, story.now, story.now, status, "u1", effect, caller="a"
    )  # fmt: skip
    story.history.calls.append(call)
    return call


# --- V: what owners say is in use ---------------------------------------------------------------------------------


def deed(*, used_until: float = 0.0, asked: int = 2) -> Story:
    """Created, abandoned, asked about so often, swept."""
    story = Story()
    story.create(DEED)
    story.history.usages.append(Usage("deeds", "d1", "u1", used_until))
    story.wait(1.0)
    story.die()
    story.condemn(DEED)
    story.grace()
    for n in range(asked):
        if n == 1:
            story.prepare(DEED)
        ask(story, DEED, "VERIFY", "not-in-use", 200)
    if asked < 2:
        story.prepare(DEED)
    story.send(resource=DEED)
    story.arrive(resource=DEED)
    story.finish(DEED)
    story.end()
    return story


def test_v_is_judged_of_what_was_asked_about_and_condemned_by_nobody() -> None:
    history = deed().history
    assert violated(history) == set()
    assert facts(history, "V") == 2


def test_v_condemns_the_delete_of_what_is_in_use_whatever_was_answered() -> None:
    assert violated(deed(used_until=1000.0).history) == {"V"}


def test_v_condemns_a_delete_that_was_asked_about_only_once_or_before_its_tombstone() -> None:
    assert violated(deed(asked=1).history) == {"V"}
    story = deed(asked=1)
    ask(story, DEED, "VERIFY", "not-in-use", 200)
    early = replace(story.history.calls.pop(), arrived=100.0, answered=100.0)
    story.history.calls.insert(1, early)
    assert violated(story.history) == {"V"}


def test_v_takes_nonsense_for_no_answer() -> None:
    story = deed()
    story.history.calls = [
        replace(call, effect="nonsense") if call.method == "VERIFY" else call for call in story.history.calls
    ]
    assert violated(story.history) == {"V"}


# --- N: notices -----------------------------------------------------------------------------------------------------


def noticed() -> Story:
    """Condemned, noticed, told; and a holder comes back."""
    story = Story()
    story.create(DEED)
    story.die()
    story.condemn(DEED)
    story.put("notices", *DEED, {"incarnation": "uid:u1", "attempt": 1})
    ask(story, DEED, "CONDEMN")
    story.wait(10.0)
    story.delete("tombstones", *DEED)
    story.wait(0.2)
    return story


def ended_late(story: Story) -> History:
    story.wait(200.0)
    return story.end()


def test_n_holds_where_a_restore_followed() -> None:
    story = noticed()
    ask(story, DEED, "RESTORE")
    story.delete("notices", *DEED)
    history = ended_late(story)
    assert violated(history) == set()
    assert facts(history, "N") >= 3


def test_n_condemns_a_restore_that_was_never_heard() -> None:
    story = noticed()
    ask(story, DEED, "RESTORE", status=500)
    assert violated(ended_late(story)) == {"N"}


def test_n_condemns_a_call_without_a_notice() -> None:
    story = Story()
    story.create(DEED)
    story.die()
    story.condemn(DEED)
    ask(story, DEED, "CONDEMN")
    assert violated(story.end()) == {"N"}


def test_n_condemns_a_condemn_long_after_the_end_and_a_restore_in_the_middle() -> None:
    story = noticed()
    ask(story, DEED, "RESTORE")
    story.wait(30.0)
    ask(story, DEED, "CONDEMN")
    assert violated(ended_late(story)) == {"N"}
    story = Story()
    story.create(DEED)
    story.die()
    story.condemn(DEED)
    story.put("notices", *DEED, {"incarnation": "uid:u1", "attempt": 1})
    story.wait(20.0)
    ask(story, DEED, "RESTORE")
    assert violated(story.end()) == {"N"}


def test_n_condemns_two_told_at_once() -> None:
    story = noticed()
    first = ask(story, DEED, "RESTORE")
    story.history.calls[-1] = replace(first, answered=first.arrived + 1)
    story.wait(0.5)
    ask(story, DEED, "RESTORE")
    assert violated(ended_late(story)) == {"N"}


# --- I: inventories -------------------------------------------------------------------------------------------------


def listed(times: int, *, made_by: str = STRAY, apart: float = INTERVAL_SECONDS) -> Story:
    """Made past every sidecar, listed so often, recorded as an orphan."""
    story = Story()
    story._call("crates", "c1", "PUT", made_by, 201, "u1", "created")
    for _ in range(times):
        story.wait(apart)
        ask(story, ("crates", "crate", ""), "LIST", "listed", 200)
    story.wait(0.2)
    orphan = {"incarnation": "uid:u1", "rule": "inventory/crates/crate", "grace_class": "4s"}
    story.put("resources", *CRATE, orphan)
    story.put("holds", *CRATE, HOLDER, {"boot": "", "sequence": 0, "released": True}, at=story.revision)
    return story


def test_i_holds_of_what_two_listings_showed() -> None:
    history = listed(2).end()
    assert violated(history) == set()
    assert facts(history, "I") >= 3


def test_i_condemns_an_orphan_after_one_listing_or_two_at_once() -> None:
    assert violated(listed(1).end()) == {"I"}
    assert violated(listed(2, apart=1.0).end()) == {"I"}


def test_i_condemns_an_orphan_that_nothing_proves_ours() -> None:
    assert "I" in violated(listed(2, made_by="stranger").end())


def test_i_condemns_an_orphan_that_had_a_record() -> None:
    story = listed(2)
    story.delete("resources", *CRATE)
    story.wait(1.0)
    story.put("resources", *CRATE, {"incarnation": "uid:u1", "rule": "inventory/crates/crate", "grace_class": "4s"})
    assert {"I"} <= violated(story.end())


def test_i_condemns_a_stray_that_is_never_found() -> None:
    story = Story()
    story._call("crates", "c1", "PUT", STRAY, 201, "u1", "created")
    story.wait(200.0)
    assert violated(story.end()) == {"I"}


# --- R: what something needs --------------------------------------------------------------------------------------


def refer(story: Story, source: tuple[str, str, str], target: tuple[str, str, str], uid: str) -> None:
    story.put("refs", *target, *source, {})
    refers = (f"{target[0]}/{target[2]}",)
    story.history.referrals.append(Referral("p1", source[0], source[2], uid, refers, story.now, story.now + 0.1))


def needed(*, ring: bool) -> Story:
    """A blob that an album needs, both abandoned. ``ring``: two albums that need each other instead."""
    story = Story()
    first, second = (OTHER, ALBUM) if ring else (BLOB, ALBUM)
    story.create(first)
    story.create(second, uid="u2")
    refer(story, second, first, "u2")
    if ring:
        refer(story, first, second, "u1")
    story.wait(1.0)
    story.die()
    return story


def swept(story: Story, resource: tuple[str, str, str]) -> History:
    story.condemn(resource)
    story.grace()
    story.prepare(resource)
    story.send(resource=resource)
    story.arrive(resource=resource)
    story.finish(resource)
    return story.end()


def test_r_and_s4_condemn_the_delete_of_what_is_needed() -> None:
    assert violated(swept(needed(ring=False), BLOB)) == {"R", "S4"}


def test_r_and_s4_allow_a_ring_that_nobody_holds() -> None:
    history = swept(needed(ring=True), OTHER)
    assert violated(history) == set()
    assert facts(history, "R") == 1


def test_s4_condemns_a_ring_of_which_somebody_holds_a_member() -> None:
    story = needed(ring=True)
    story.attach("crowd@p2~4.5.6")
    story.put("holds", *ALBUM, "crowd@p2~4.5.6", {"boot": "b", "sequence": 1})
    assert "S4" in violated(swept(story, OTHER))


def test_s3_goes_by_the_first_members_shard_when_a_ring_is_prepared_and_by_each_ones_own_when_it_is_sent() -> None:
    for right in (True, False):
        story = needed(ring=True)
        paths = [crc32("/".join(one).encode()) for one in (OTHER, ALBUM)]
        shards = next(number for number in range(2, 99) if paths[0] % number != paths[1] % number)
        story.put("control", "cluster", {"cluster_id": "c", "shards": shards})
        fences = {0: FENCE} | {n: story.put("shards", str(n), {"replica": "b"}) for n in range(1, shards)}
        first, second = (path % shards for path in paths)
        story.condemn(ALBUM)
        story.grace()
        story.prepare(ALBUM, fence=fences[first if right else second], cycle=[list(OTHER), list(ALBUM)])
        story.send(resource=ALBUM, fence=fences[second], cycle=[list(OTHER), list(ALBUM)])
        assert violated(story.end()) == (set() if right else {"S3 shards"})
