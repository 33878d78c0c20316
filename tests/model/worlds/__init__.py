"""The worlds of the model, the smallest first."""

from __future__ import annotations

from tests.model.world import World
from tests.model.worlds.intents import Intents, Outlived, Swept
from tests.model.worlds.leaders import Leaders
from tests.model.worlds.one import AnotherHolds, Careless, Crowd, Namesake, Repeated
from tests.model.worlds.operator import LostKeys, Operator
from tests.model.worlds.references import Cycle, CycleBreaks, CycleComesBack, Referring, ReferringToAll
from tests.model.worlds.sidecars import Late, LateHolds

WORLDS: dict[str, type[World]] = {
    "late-holds": LateHolds, "lost-keys": LostKeys, "outlived": Outlived, "late": Late, "crowd": Crowd, "cycle": Cycle, "referring-to-all": ReferringToAll,
    "operator": Operator, "cycle-breaks": CycleBreaks, "referring": Referring, "cycle-comes-back": CycleComesBack,
    "intents": Intents, "namesake": Namesake, "leaders": Leaders, "another-holds": AnotherHolds, "careless": Careless,
    "swept": Swept, "repeated": Repeated,
}  # fmt: skip
