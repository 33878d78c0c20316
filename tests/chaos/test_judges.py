"""Each law's judge condemns a history that breaks it, and none condemns one that breaks none."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

from tests.chaos.history import OTHER_COLLECTOR, Belief, Call, Fault, History, Leftover, Told
from tests.chaos.judgement import Result, result_of
from tests.chaos.laws import judge
from tests.chaos.story import BLOB, FENCE, FILE, GRACE, HOLDER, Story, lawful


def violated(history: History) -> set[str]:
    return {one.law for one in judge(history) if one.violations}


def abandoned_blob() -> Story:
    """Created at 100, its holder dead at 105, condemned."""
    story = Story()
    story.create()
    story.wait(5.0)
    story.die()
    story.condemn()
    return story


def test_a_lawful_history_is_not_condemned_and_every_law_is_judged() -> None:
    history = lawful().history
    history.ending = replace(history.ending, attached_revision=4, living=("p1",))
    judgements = judge(history)
    assert [one.violations for one in judgements if one.violations] == []
    assert [one.law for one in judgements if not one.facts] == ["R", "V", "N", "I", "S10", "L2", "L5"], (
        "which need more than that"
    )
    assert result_of(history, judgements) is Result.HOLDS


# --- shards -----------------------------------------------------------------------------------------------------


def sharded() -> tuple[Story, int, int]:
    """Two shards, each in its own hand; that of the blob, and the other."""
    story = abandoned_blob()
    story.put("control", "cluster", {"cluster_id": "c", "shards": 2})
    mine = crc32(b"blobs/blob/b1") % 2
    fences = {"0": FENCE, "1": story.put("shards", "1", {"replica": "b"})}
    story.grace()
    return story, fences[str(mine)], fences[str(1 - mine)]


def caller_of(story: Story) -> str:
    return "ab"[crc32(b"blobs/blob/b1") % 2]


def test_s3_goes_by_the_shard_that_the_resources_path_falls_into() -> None:
    story, fence, _ = sharded()
    story.prepare(fence=fence)
    story.send(fence=fence)
    story.arrive(caller=caller_of(story))
    story.finish()
    assert violated(story.end()) == set()


def test_s3_condemns_a_step_under_the_fence_of_another_shard() -> None:
    story, _, other = sharded()
    story.prepare(fence=other)
    assert violated(story.end()) == {"S3 shards"}


def test_s3_condemns_a_call_by_whoever_has_not_the_shard() -> None:
    story, fence, _ = sharded()
    story.prepare(fence=fence)
    story.send(fence=fence)
    story.arrive(caller="ab".replace(caller_of(story), ""))
    story.finish()
    assert violated(story.end()) == {"S3 calls"}


def test_s3_condemns_two_who_ask_at_once_unless_the_first_was_hurt() -> None:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    story.send(1)
    first = story.arrive(status=0, effect="")
    story.history.calls[-1] = replace(first, answered=first.arrived + 1)
    story.delete("shards", "0")
    fence = story.put("shards", "0", {"replica": "b"})
    story.send(2, fence=fence)
    story.arrive(caller="b")
    history = story.end()
    assert violated(history) == {"S3 calls"}
    history.faults.append(Fault("kill-plane", first.arrived - 1, first.arrived, True, {"plane": "a"}))
    assert violated(history) == set()
    assert any("1 pairs met" in remark for one in judge(history) for remark in one.remarks)


# --- S1 ---------------------------------------------------------------------------------------------------------


def test_s1_condemns_an_epoch_that_was_surely_shorter_than_the_grace() -> None:
    story = abandoned_blob()
    story.grace(GRACE - 0.5)
    story.prepare()
    assert violated(story.end()) == {"S1 grace"}


def test_s1_condemns_a_sweep_prepared_while_its_holder_lives() -> None:
    story = Story()
    story.create()
    story.condemn()
    story.grace()
    story.prepare()
    assert {"S1 grace", "S4"} <= violated(story.end())


def test_s1_condemns_a_sweep_although_a_holder_came_back_for_a_moment() -> None:
    story = abandoned_blob()
    story.attach(HOLDER)
    story.die()
    story.grace()
    story.prepare()
    assert {"S1 grace", "S4"} <= violated(story.end())


def test_s1_condemns_an_epoch_that_opened_before_the_tombstone() -> None:
    story = Story()
    story.create()
    story.die()
    story.grace()
    story.condemn()
    story.prepare()
    assert {"S1 grace", "S4"} <= violated(story.end())


def test_s1_condemns_a_hold_granted_on_what_is_being_swept() -> None:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    story.attach("crowd@p2~4.5.6")
    story.put("holds", *BLOB, "crowd@p2~4.5.6", {"boot": "b", "sequence": 1})
    assert violated(story.end()) == {"S1 grace"}


def held_at_the_delete(until: float) -> Story:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    story.send()
    story.arrive()
    story.believe(until=until)
    story.finish()
    story.end()
    return story


def test_s1_condemns_a_delete_of_what_a_program_still_believes_to_hold() -> None:
    assert violated(held_at_the_delete(until=500.0).history) == {"S1"}


def test_s1_condemns_a_delete_less_than_a_grace_after_the_last_hold() -> None:
    assert violated(held_at_the_delete(until=106.0).history) == {"S1"}
    assert violated(held_at_the_delete(until=105.0).history) == set()


def test_s1_condemns_a_delete_of_what_a_timer_still_keeps() -> None:
    story = abandoned_blob()
    story.put("holds", *BLOB, "crowd!w1", {"sequence": 1})  # a timer's; no beacon of it was ever there
    story.condemn()
    story.grace()
    story.prepare()
    story.send()
    story.arrive()
    history = story.end()
    history.beliefs.append(Belief("", *BLOB[::2], "u1", 105.0, 500.0, "created"))
    assert "S1" in violated(history)


def test_s1_excuses_a_use_that_came_after_the_prepare_even_by_an_earlier_holder() -> None:
    history = held_at_the_delete(until=105.0).history
    [used] = history.beliefs
    history.beliefs.append(replace(used, since=history.calls[-1].arrived - 0.05, until=500.0, how="used"))
    assert violated(history) == set()


def test_a_holder_that_was_cut_off_for_a_grace_is_a_late_return_and_no_violation() -> None:
    history = held_at_the_delete(until=500.0).history
    history.faults.append(Fault("kill-sidecar-for-long", 101.0, 120.0, True, {}, ("p1",)))
    assert violated(history) == set()
    assert any("1 late returns" in remark for one in judge(history) for remark in one.remarks)
    history.faults[-1] = replace(history.faults[-1], began=107.0, ended=109.0)
    assert violated(history) == {"S1"}, "cut off for less than a grace"


# --- S2 to S6 ---------------------------------------------------------------------------------------------------


def test_s2_condemns_a_delete_that_removed_a_namesake() -> None:
    story = lawful()
    story.create(uid="u2")
    story.arrive(uid="u2", copy_of=story.history.calls[-2].request)
    assert "S2" in violated(story.end(Leftover("blobs", "s1", "us", "stranger")))


def swept(*fences: int, numbers: tuple[int, ...]) -> History:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    for fence, number in zip(fences, numbers, strict=True):
        story.send(number, fence=fence)
    return story.end()


def test_s3_condemns_a_send_under_a_fence_that_is_not_in_force() -> None:
    assert violated(swept(1, numbers=(1,))) == {"S3", "S3 shards"}


def test_s3_condemns_two_fences_that_interleave() -> None:
    assert violated(swept(2, 99, 2, numbers=(1, 2, 3))) == {"S3", "S3 shards"}


def test_s3_condemns_sends_that_are_not_numbered_in_order() -> None:
    assert violated(swept(2, 2, numbers=(1, 3))) == {"S3"}


def test_s3_accepts_a_new_leader_with_a_new_fence() -> None:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    story.send(1)
    story.delete("shards", "0")
    fence = story.put("shards", "0", {"replica": "b"})
    story.send(2, fence=fence)
    assert violated(story.end()) == set()


def test_s4_condemns_a_step_without_any_hold() -> None:
    story = Story()
    story.create()
    story.delete("holds", *BLOB, HOLDER)
    story.condemn()
    assert violated(story.end()) == {"S4"}


def test_s4_condemns_a_prepare_without_the_dead_holders_roster_entry() -> None:
    story = abandoned_blob()
    story.grace()
    story.delete("roster", HOLDER)
    story.prepare()
    assert "S4" in violated(story.end())


def test_s4_condemns_a_step_on_what_is_pinned_or_referred_to() -> None:
    story = Story()
    story.create()
    story.create(FILE, "u9")
    story.die()
    story.put("pins", *BLOB, {"who": "me"})
    story.condemn()
    story.put("refs", *FILE, *BLOB, {})
    story.condemn(FILE, "u9")
    [s4] = [one for one in judge(story.end()) if one.law == "S4"]
    assert [violation.partition(": ")[2][:24] for violation in s4.violations] == [
        "condemned though pinned",
        "condemned though [('blob",
    ]


def test_s5_condemns_whatever_is_begun_while_the_brake_is_tripped() -> None:
    story = abandoned_blob()
    story.grace()
    story.delete("control", "armed")
    story.prepare()
    assert {"S5", "S4"} == violated(story.end())


def test_s6_condemns_a_stranger_that_was_deleted_or_recorded() -> None:
    story = Story()
    story.stranger()
    story.put("resources", "blobs", "blob", "s1", {"incarnation": "uid:us"})
    story.arrive("us", ("blobs", "blob", "s1"))
    [s6] = [one for one in judge(story.end()) if one.law == "S6"]
    assert len(s6.violations) == 3


# --- S8 and S9 --------------------------------------------------------------------------------------------------


def test_s8_condemns_a_program_that_was_told_before_the_record_was_durable() -> None:
    history = lawful().history
    history.told.append(Told("p1", "blobs", "b2", "u7", "created", 101.0, 101.1, audit="absent"))
    assert "S8" in violated(history)


def test_s8_excuses_an_answer_that_came_at_the_deadline() -> None:
    history = lawful().history
    history.told[0] = replace(history.told[0], asked=100.0, told=103.0, audit="absent")
    assert violated(history) == set()


def test_s9_condemns_a_delete_that_arrived_before_its_send_was_written() -> None:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    story.arrive()
    story.send()
    story.finish()
    assert violated(story.end()) == {"S9"}


def test_s9_goes_by_the_revision_where_the_owner_learned_it() -> None:
    story = abandoned_blob()
    story.grace()
    story.prepare()
    sent = story.send()
    story.arrive(revision=sent - 1)
    story.finish()
    assert violated(story.end()) == {"S9"}


def test_s9_condemns_a_second_delete_without_a_second_send() -> None:
    story = lawful()
    call = story.history.calls[-1]
    story.history.calls.append(replace(call, request="again", arrived=call.arrived + 0.01, effect="", uid=""))
    assert violated(story.history) == {"S9"}


# --- L ----------------------------------------------------------------------------------------------------------


def test_l1_condemns_what_is_left_when_everybody_has_ended() -> None:
    story = Story()
    story.create()
    story.die()
    assert violated(story.end(Leftover("blobs", "b1", "u1", "program:p1"))) == {"L1"}


def test_l1_excuses_what_its_owner_said_is_gone() -> None:
    story = Story()
    story.create()
    story.die()
    story.arrive(effect="", status=404, lied=True)
    history = story.end(Leftover("blobs", "b1", "u1", "program:p1"))
    assert "L1" not in violated(history)


def test_l3_condemns_a_creation_that_was_told_and_never_registered() -> None:
    story = Story()
    story.create()
    story.history.events = [event for event in story.history.events if "/resources/" not in event.key]
    assert "L3" in violated(story.end())


def test_l3_condemns_a_lost_creation_of_a_rule_with_intents_even_if_nobody_was_told() -> None:
    history = Story().end()
    history.calls.append(Call("files", "f1", "PUT", "program:p1", "x", 101.0, 101.0, 0, "u1", "created"))
    assert violated(history) == {"L3"}


def test_l3_accepts_an_intent_that_is_left_also_when_it_was_noted_later_that_nobody_knows() -> None:
    story = Story()
    story.put("intents", HOLDER, "call", {"rule": "create", "resource": FILE})
    story.wait(0.2)
    history = story.end()
    history.calls.append(Call("files", "f1", "PUT", "program:p1", "x", story.now, story.now, 0, "u1", "created"))
    assert violated(history) == set()
    story.wait(5.0)
    story.put("intents", HOLDER, "call", {"rule": "create", "resource": FILE, "suspect": "no-lookup"})
    assert violated(history) == set()


def test_l4_condemns_a_live_holder_without_a_beacon_after_healing() -> None:
    story = Story()
    assert violated(story.end(living=("p1",))) == set()
    story.delete("beacons", HOLDER)
    assert violated(story.end(living=("p1",))) == {"L4"}


def test_l6_condemns_a_record_that_was_dropped_while_its_resource_is_there() -> None:
    story = Story()
    story.create()
    story.wait(1.0)
    story.delete("resources", *BLOB)
    assert violated(story.end()) == {"L6"}


def test_a_part_that_ends_by_itself_is_condemned() -> None:
    history = lawful().history
    history.falls.append("p1-sidecar: AttributeError")
    assert violated(history) == {"up"}


# --- S10, L2 and L5 ---------------------------------------------------------------------------------------------


def beside_another_tenant() -> Story:
    story = lawful()
    story.other_makes("files", "o1")
    return story


def test_s10_condemns_keys_about_what_a_tenant_never_made_and_keys_of_no_tenant() -> None:
    history = beside_another_tenant().history
    assert violated(history) == set()
    for key in (
        "other/holds/blobs/blob/b1/crowd",
        "chaos/control/%61rmed",
        "chaos/resources/files/file/o1",
        "third/beacons/x",
    ):
        story = beside_another_tenant()
        story.write(f"/leasehold/1/{key}")
        assert violated(story.history) == {"S10"}, key


def test_s10_condemns_a_delete_with_the_credentials_of_another_tenant() -> None:
    story = beside_another_tenant()
    story.other_makes("files", "o2")
    [*_, made] = story.history.others
    story.history.others.append(replace(made, id="f1", method="DELETE", who=OTHER_COLLECTOR, effect="removed"))
    assert violated(story.history) == {"S10"}


def lost_news(found: bool) -> History:
    story = abandoned_blob()
    key = next(event.key for event in story.history.events if "/tombstones/" in event.key)
    lost = {"lost": [key], "plane": "a", "found_by_a_scan": found}
    story.history.faults.append(Fault("lose-watch-events", story.now - 1, story.now + 30, found, lost))
    story.wait(20)
    if found:
        story.grace()
        story.prepare()
    story.wait(200)
    return story.end()


def test_l2_condemns_what_was_never_looked_at_again_when_its_news_were_lost() -> None:
    assert violated(lost_news(found=True)) == set()
    assert violated(lost_news(found=False)) == {"L2"}


def beside_a_hurt_owner(waits: float) -> History:
    story = abandoned_blob()
    story.grace()
    story.history.faults.append(Fault("owner-slow", story.now - 5, story.now + 60, True, {"owner": "files"}))
    for n in range(3):
        resource = ("blobs", "blob", f"w{n}")
        story.create(resource)
        story.put("sweeps", *resource, {"state": "prepared", "fence": FENCE, "epoch": "4s/1", "attempt": 0})
        story.wait(waits)
        story.send(resource=resource)
    return story.end()


def test_l5_condemns_sweeps_that_wait_for_another_owner() -> None:
    assert "L5" not in violated(beside_a_hurt_owner(0.1))
    assert "L5" in violated(beside_a_hurt_owner(5.0))
