"""Rules against the owners' descriptor sets, as far as the files can be read on this machine.

Where they cannot, services, methods and fields stay unchecked, and that is said: the file may well be there where the
collector and the sidecars run.
"""

from __future__ import annotations

from pathlib import Path

from leasehold.protocol.configuration import Mistake
from leasehold.protocol.grpc_calls import schema_nonsense
from leasehold.protocol.protobuf import BadSchema, Schema
from leasehold.protocol.rules import RuleSet


def against_descriptor_sets(rules: RuleSet, source: str) -> tuple[list[Mistake], list[str]]:
    """What is wrong, and what could not be checked."""
    schemas: dict[str, Schema] = {}
    mistakes: list[Mistake] = []
    unchecked: list[str] = []
    for n, owner in enumerate(rules.owners):
        if owner.descriptor_set is None:
            continue
        try:
            schemas[owner.name] = Schema(Path(owner.descriptor_set).read_bytes())
        except OSError as error:
            unchecked.append(
                f"owner {owner.name}: descriptor_set {owner.descriptor_set} cannot be read here ({error.strerror}): "
                "services, methods and fields were not checked"
            )
        except BadSchema as error:
            mistakes.append(Mistake(source, f"owners[{n}].descriptor_set", str(error)))
    mistakes += (Mistake(source, path, problem) for path, problem in schema_nonsense(rules, schemas))
    return mistakes, unchecked
