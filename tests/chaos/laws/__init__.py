"""The judges: each reads a whole history and says whether one law held. Pure; none knows the product."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.history import History
from tests.chaos.judgement import Judgement
from tests.chaos.laws import (
    asking,
    authority,
    evidence,
    holding,
    inventories,
    liveness,
    missed,
    notices,
    references,
    sharding,
    strangers,
    targets,
    tenants,
)

JUDGES: tuple[Callable[[History], Judgement], ...] = (
    liveness.nobody_falls,
    holding.whole_grace,
    holding.nothing_held_is_deleted,
    targets.only_the_named_incarnation,
    authority.one_fence_at_a_time,
    sharding.each_in_its_shard,
    sharding.one_caller_at_a_time,
    authority.present_facts,
    authority.the_brake,
    strangers.untouched,
    references.what_is_needed_stays,
    asking.the_owners_word,
    notices.owners_are_told,
    inventories.orphans,
    tenants.tenants_apart,
    evidence.told_is_durable,
    evidence.written_before_it_is_sent,
    liveness.abandoned_is_gone,
    missed.lost_news_are_found,
    liveness.creations_are_known,
    liveness.holders_come_back,
    missed.the_well_are_not_held_up,
    liveness.nothing_vanishes,
)


def judge(history: History) -> list[Judgement]:
    """Every law."""
    return [one(history) for one in JUDGES]
