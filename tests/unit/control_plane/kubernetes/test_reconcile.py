"""What is written for which objects: the whole makes sense, the last good version stays, nothing else is touched."""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.control_plane.kubernetes.kinds import OWNER, RULE, Condition, Declared, Ref
from leasehold.control_plane.kubernetes.reconcile import Model, Plan, reconcile
from tests.unit.control_plane.kubernetes.objects import owner, rule

BLOBS, CREATE = Ref(OWNER, "blobs"), Ref(RULE, "create-blob")
NOBODY: frozenset[Ref] = frozenset()


def model(thing: Declared) -> Model:
    assert thing.model is not None
    return thing.model


def stored(*things: Declared) -> dict[Ref, Model | None]:
    return {thing.ref: model(thing) for thing in things}


def written(plan: Plan) -> dict[Ref, Model | None]:
    return {change.ref: change.model for change in plan.changes}


def verdict(plan: Plan, ref: Ref) -> Condition:
    return plan.verdicts[ref]


def test_new_objects_are_written_owners_first_and_accepted() -> None:
    plan = reconcile({}, [rule(), owner()], NOBODY)
    assert [change.ref for change in plan.changes] == [BLOBS, CREATE]
    assert all(verdict.accepted for verdict in plan.verdicts.values())
    assert plan.managed == {BLOBS, CREATE}


def test_what_says_the_same_is_not_written_again() -> None:
    plan = reconcile(stored(owner(), rule()), [owner(), rule(grace="300s")], NOBODY)
    assert plan.changes == ()
    assert plan.managed == {BLOBS, CREATE}
    assert verdict(plan, CREATE).accepted


def test_an_object_with_a_mistake_leaves_the_version_before_in_force() -> None:
    plan = reconcile(stored(owner(), rule()), [owner(), rule(grace="0s")], frozenset({BLOBS, CREATE}))
    assert plan.changes == ()
    said = verdict(plan, CREATE)
    assert (said.accepted, said.reason) == (False, "Invalid")
    assert said.message == "spec.grace: expected at least 1s, got 0s; the version before it stays in force"
    assert CREATE in plan.managed


def test_one_bad_object_does_not_hold_the_others_up() -> None:
    plan = reconcile({}, [owner(), rule(), rule("bad", match__path="nowhere")], NOBODY)
    assert written(plan).keys() == {BLOBS, CREATE}
    assert "nothing of it is in force" in verdict(plan, Ref(RULE, "bad")).message


def test_a_rule_without_its_owner_waits_for_it() -> None:
    early = reconcile({}, [rule()], NOBODY)
    assert early.changes == ()
    assert verdict(early, CREATE).reason == "OwnerMissing"
    assert verdict(early, CREATE).message.startswith(
        "spec.owner: expected the name of an Owner object that is accepted"
    )
    assert written(reconcile({}, [rule(), owner()], NOBODY)).keys() == {BLOBS, CREATE}


def test_a_rule_whose_owner_is_refused_waits_for_it() -> None:
    plan = reconcile({}, [rule(), owner(endpoint="ftp://x")], NOBODY)
    assert plan.changes == ()
    assert verdict(plan, CREATE).reason == "OwnerMissing"


def test_an_owner_beside_which_a_rule_would_not_fit_any_more_is_refused() -> None:
    plan = reconcile(stored(owner(), rule()), [owner(delete=None, read=None), rule()], frozenset({BLOBS, CREATE}))
    assert plan.changes == ()
    assert not verdict(plan, BLOBS).accepted
    assert "InterceptionRule create-blob: spec.mode: sweep needs a delete" in verdict(plan, BLOBS).message
    assert verdict(plan, CREATE).accepted


def test_owner_and_rule_may_change_together_into_what_neither_fits_alone() -> None:
    plan = reconcile(stored(owner(), rule()), [owner(delete=None, read=None), rule(mode="observe")], NOBODY)
    assert written(plan).keys() == {BLOBS, CREATE}
    assert all(said.accepted for said in plan.verdicts.values())


def test_a_rule_that_only_misfits_a_refused_owner_is_judged_beside_the_one_in_force() -> None:
    """``other`` forbids the owner's change, beside which the new ``create-blob`` would not have fitted."""
    other = rule("other")
    plan = reconcile(
        stored(owner(), rule(), other), [owner(delete=None, read=None), rule(grace="1h"), other], NOBODY
    )  # fmt: skip
    assert written(plan).keys() == {CREATE}
    assert not verdict(plan, BLOBS).accepted
    assert verdict(plan, CREATE).accepted


def test_the_rule_of_a_deleted_object_goes_and_what_was_applied_otherwise_stays() -> None:
    by_hand = rule("by-hand")
    plan = reconcile(stored(owner(), rule(), by_hand), [owner()], frozenset({BLOBS, CREATE}))
    assert written(plan) == {CREATE: None}
    assert plan.managed == {BLOBS}


def test_nothing_is_removed_that_is_not_known_to_come_from_an_object() -> None:
    plan = reconcile(stored(owner(), rule()), [], NOBODY)
    assert plan.changes == ()
    assert plan.managed == NOBODY


def test_an_owner_stays_while_a_rule_names_it() -> None:
    plan = reconcile(stored(owner(), rule()), [], frozenset({BLOBS}))
    assert plan.changes == ()
    assert plan.stuck == {BLOBS: "InterceptionRule create-blob: it still names this owner"}
    assert plan.managed == {BLOBS}


def test_creating_rules_go_first_and_owners_last() -> None:
    use = rule("a-use", on="use", mode=None)
    plan = reconcile(stored(use, owner(), rule()), [], frozenset({BLOBS, CREATE, use.ref}))
    assert [change.ref for change in plan.changes] == [CREATE, use.ref, BLOBS]
    assert plan.managed == NOBODY


def test_an_object_takes_over_what_was_applied_by_hand_once_it_is_accepted() -> None:
    assert reconcile(stored(owner(), rule()), [owner(), rule(grace="1h")], NOBODY).managed == {BLOBS, CREATE}
    assert reconcile(stored(owner(), rule()), [owner(), rule(grace="0s")], NOBODY).managed == {BLOBS}


def test_what_cannot_be_read_is_written_anew() -> None:
    there: Mapping[Ref, Model | None] = {BLOBS: None, **stored(rule())}
    plan = reconcile(there, [owner(), rule()], NOBODY)
    assert written(plan).keys() == {BLOBS}


def test_what_did_not_fit_before_is_left_alone() -> None:
    """Somebody removed the owner behind our back: its rule is not ours to remove, but it is said to be no good."""
    plan = reconcile(stored(rule()), [rule()], frozenset({CREATE}))
    assert plan.changes == ()
    assert verdict(plan, CREATE).reason == "OwnerMissing"
    assert CREATE in plan.managed


def test_a_rule_that_will_delete_nothing_is_accepted_with_a_warning() -> None:
    plan = reconcile({}, [owner(delete__precondition="none"), rule()], NOBODY)
    said = verdict(plan, CREATE)
    assert (said.accepted, said.reason) == (True, "NothingIsDeleted")
    assert "mode sweep has no effect" in said.message


def test_a_verdict_names_the_generation_it_is_about() -> None:
    assert verdict(reconcile({}, [owner()], NOBODY), BLOBS).generation == 1
