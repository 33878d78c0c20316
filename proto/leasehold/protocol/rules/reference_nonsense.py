"""What is wrong with the references of a rule, as place and problem."""

from __future__ import annotations

from collections.abc import Iterator

import jmespath
import jmespath.exceptions

from leasehold.protocol.names import NAME_EXPECTED, is_name
from leasehold.protocol.rules.interception import On, Rule

MAX_REFERENCES_OF_A_RULE = 8


def reference_nonsense(rule: Rule) -> Iterator[tuple[str, str]]:
    if not rule.references:
        return
    if rule.on is not On.CREATE:
        yield "references", f"only a creation tells what it needs: expected on: create, got {rule.on}"
    if rule.match.grpc is not None:
        yield "references", "gRPC messages are not read for references yet: expected an HTTP match"
    if len(rule.references) > MAX_REFERENCES_OF_A_RULE:
        yield "references", f"expected at most {MAX_REFERENCES_OF_A_RULE}, got {len(rule.references)}"
    for n, reference in enumerate(rule.references):
        if reference in rule.references[:n]:
            yield f"references[{n}]", "expected each reference once, found it again"
        for field in ("owner", "type"):
            if not is_name(getattr(reference, field)):
                yield f"references[{n}].{field}", f"expected {NAME_EXPECTED}, got {getattr(reference, field)!r}"
        try:
            jmespath.compile(reference.ids)
        except (jmespath.exceptions.JMESPathError, RecursionError) as error:
            yield f"references[{n}].ids", f"expected a JMESPath expression: {error}"
