"""What an object of ours says, whether it makes sense by itself, and how that is reported in it. Pure.

An object is a document of the rule file with its ``name`` in ``metadata.name``. What is wrong with it is told in the
words of ``leasehold rules check``, with places that start at the object: ``spec.match.path``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from leasehold.protocol.configuration import BadConfiguration, convert
from leasehold.protocol.rules import Owner, Rule
from leasehold.protocol.rules.owner_nonsense import owner_nonsense
from leasehold.protocol.rules.rule_nonsense import rule_nonsense

GROUP: Final = "leasehold.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
MOST_MESSAGE: Final = 4096
"""Characters of a condition's message: somebody has to read it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of our kinds: as objects call it, as URLs do, and the model behind it."""

    name: str
    plural: str
    model: type[Owner] | type[Rule]


OWNER: Final = Kind("Owner", "owners", Owner)
RULE: Final = Kind("InterceptionRule", "interceptionrules", Rule)
KINDS: Final = (OWNER, RULE)


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object, and which document in etcd."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.name}"


@dataclass(frozen=True, slots=True)
class Condition:
    """What the controller says of an object: whether it is in force as it stands, and if not, why."""

    accepted: bool
    reason: str
    message: str
    generation: int


@dataclass(frozen=True, slots=True)
class Declared:
    """One object as it was read. ``model`` is ``None`` where ``problems`` are of form."""

    ref: Ref
    uid: str
    generation: int
    model: Owner | Rule | None
    problems: tuple[str, ...]
    told: Condition | None
    """What stands in its status."""
    told_since: str = ""


def declared(kind: Kind, thing: Mapping[str, Any]) -> Declared:
    """An object of the API server's. Never raises: what cannot be understood is a problem of that object."""
    metadata = _mapping(thing.get("metadata"))
    name = str(metadata.get("name", ""))
    model, problems = _understood(kind, name, thing.get("spec"))
    told, since = _told(thing)
    generation = metadata.get("generation")
    return Declared(
        Ref(kind, name), str(metadata.get("uid", "")), generation if isinstance(generation, int) else 0, model,
        tuple(problems), told, since,
    )  # fmt: skip


def _understood(kind: Kind, name: str, spec: object) -> tuple[Owner | Rule | None, list[str]]:
    if not isinstance(spec, dict):
        return None, ["spec: missing; expected a mapping"]
    if "name" in spec:
        return None, ["spec.name: not a field here; the name is metadata.name"]
    try:
        model: Owner | Rule = convert(kind.model, {"name": name, **spec}, "")
    except BadConfiguration as error:
        return None, [_at(mistake.path, mistake.problem) for mistake in error.mistakes]
    # Whether a rule's owner is there and fits is another question: objects come in any order.
    found = owner_nonsense(model) if isinstance(model, Owner) else rule_problems(model, None)
    return model, [_at(path, problem) for path, problem in found]


def rule_problems(rule: Rule, owner: Owner | None) -> Iterable[tuple[str, str]]:
    """What is wrong with a rule beside its owner; without one, with the rule by itself."""
    for path, problem in rule_nonsense(rule, owner):
        if owner is not None or path != "owner":
            yield path, problem


def _at(path: str, problem: str) -> str:
    return f"{place(path)}: {problem}"


def place(path: str) -> str:
    """Where in an object something of its document stands."""
    return "metadata.name" if path == "name" else f"spec.{path}".rstrip(".")


def written(problems: Iterable[str]) -> str:
    """Several problems as one message."""
    text = "; ".join(problems)
    return text if len(text) <= MOST_MESSAGE else text[: MOST_MESSAGE - 3] + "..."


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# --- the status ---------------------------------------------------------------------------------------------------


def _told(thing: Mapping[str, Any]) -> tuple[Condition | None, str]:
    conditions = _mapping(thing.get("status")).get("conditions")
    for one in conditions if isinstance(conditions, list) else ():
        if _mapping(one).get("type") == "Accepted":
            generation = one.get("observedGeneration")
            return Condition(
                one.get("status") == "True", str(one.get("reason", "")), str(one.get("message", "")),
                generation if isinstance(generation, int) else 0,
            ), str(one.get("lastTransitionTime", ""))  # fmt: skip
    return None, ""


def status_patch(thing: Declared, now: Condition, at: str) -> dict[str, Any]:
    """A merge patch of the status. ``at``: the wall clock, for people to read; kept while the verdict is the same."""
    same = thing.told is not None and thing.told.accepted == now.accepted and thing.told_since
    condition = {
        "type": "Accepted",
        "status": "True" if now.accepted else "False",
        "reason": now.reason,
        "message": now.message,
        "observedGeneration": now.generation,
        "lastTransitionTime": thing.told_since if same else at,
    }
    # The uid: of an object that was deleted and made anew meanwhile, nothing is said.
    return {
        "metadata": {"uid": thing.uid},
        "status": {"observedGeneration": now.generation, "conditions": [condition]},
    }
