"""What is wrong with the calls by which an owner is asked or told something besides deleting."""

from __future__ import annotations

from collections.abc import Iterator

import jmespath
import jmespath.exceptions

from leasehold.protocol.rules.owners import Calls, VerifyCall
from leasehold.protocol.rules.source_nonsense import template_nonsense

_MAY_MEAN_FREE = frozenset({*range(200, 300), 404, 410})
"""What an owner says by itself. A refusal, a redirect or an error is never "not in use"."""


def verify_nonsense(where: str, call: VerifyCall) -> Iterator[tuple[str, str]]:
    """As place and problem."""
    yield from template_nonsense(f"{where}.path", call.path, "id")
    if call.json is not None:
        try:
            jmespath.compile(call.json)
        except (jmespath.exceptions.JMESPathError, RecursionError) as error:
            yield f"{where}.json", f"expected a JMESPath expression: {error}"
    elif not call.in_use or not call.not_in_use:
        yield where, "expected json, or both in_use and not_in_use: one answer alone could never keep, or never end"
    for n, status in enumerate(call.in_use):
        if not 200 <= status <= 499:
            yield f"{where}.in_use[{n}]", f"expected a response code from 200 to 499, got {status}"
    for n, status in enumerate(call.not_in_use):
        if status in call.in_use:
            yield f"{where}.not_in_use[{n}]", f"expected no code that means in_use, got {status}"
        elif status not in _MAY_MEAN_FREE:
            yield f"{where}.not_in_use[{n}]", f"expected 200 to 299, 404 or 410, got {status}"


def notices_nonsense(where: str, calls: Calls) -> Iterator[tuple[str, str]]:
    """``condemn`` and ``restore``, as place and problem."""
    for name, call in (("condemn", calls.condemn), ("restore", calls.restore)):
        if call is not None:
            yield from template_nonsense(f"{where}{name}.path", call.path, "id")
    if (calls.condemn is None) != (calls.restore is None):
        there, missing = ("condemn", "restore") if calls.restore is None else ("restore", "condemn")
        yield f"{where}{there}", f"expected a {missing} beside it: what is condemned may be needed again"
