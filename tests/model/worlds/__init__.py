"""The worlds of the model. What each one has at once, its module says; what no world has at once, is not covered:

- more than two resources, holders, or control planes; a cycle or a reference beside a lost fence or the brake;
- more second copies of what one sidecar sends than two; a refused DELETE of which a second copy is on its way;
- a registration that needs everything of a type and has waited long enough for what is being swept of it;
- notices to owners, the founding of a tenant, joining and leaving, which no delete rests on.
"""

from __future__ import annotations

from tests.model.world import World
from tests.model.worlds.brake import Braking, Claims
from tests.model.worlds.grace import Boots, Epochs
from tests.model.worlds.intents import Intents, Outlived, Swept
from tests.model.worlds.leaders import Leaders
from tests.model.worlds.notices import Notices
from tests.model.worlds.one import AnotherHolds, Careless, Crowd, Namesake, Repeated
from tests.model.worlds.operator import LostKeys, Operator, Pins
from tests.model.worlds.references import Cycle, CycleBreaks, CycleComesBack, Referring, ReferringToAll
from tests.model.worlds.sidecars import Late, LateHolds, Namesakes

WORLDS: dict[str, type[World]] = {
    "boots": Boots, "late-holds": LateHolds, "epochs": Epochs, "lost-keys": LostKeys, "outlived": Outlived,
    "late": Late, "crowd": Crowd, "cycle": Cycle, "referring-to-all": ReferringToAll, "operator": Operator,
    "cycle-breaks": CycleBreaks, "referring": Referring, "cycle-comes-back": CycleComesBack, "intents": Intents,
    "namesake": Namesake, "leaders": Leaders, "another-holds": AnotherHolds, "careless": Careless, "swept": Swept,
    "repeated": Repeated, "pins": Pins, "namesakes": Namesakes, "notices": Notices,
    "braking": Braking, "claims": Claims,
}  # fmt: skip
