"""What an owner's answer to "is this in use?" means. Pure.

"Not in use" is only what the owner's document says it is, and nothing else: whatever is odd, missing or ambiguous is
"unknown", and keeps.
"""

from __future__ import annotations

import json

import jmespath
import jmespath.exceptions

from leasehold.control_plane.owners.outcome import Verdict, of_read
from leasehold.protocol.rules import VerifyCall


def of_verify(call: VerifyCall, status: int, body: bytes) -> Verdict:
    """``IN_USE``, ``NOT_IN_USE``, or what keeps us from knowing."""
    if status in call.in_use:
        return Verdict.IN_USE
    if status in call.not_in_use:
        return Verdict.NOT_IN_USE
    verdict = of_read(status)
    if verdict is None and call.json is not None:
        return _said(call.json, body)
    return verdict if verdict in {Verdict.MISCONFIGURED, Verdict.WAIT} else Verdict.UNKNOWN


def _said(expression: str, body: bytes) -> Verdict:
    try:
        value = jmespath.search(expression, json.loads(body))
    except (ValueError, RecursionError, jmespath.exceptions.JMESPathError):
        return Verdict.UNKNOWN
    if value is True:
        return Verdict.IN_USE
    return Verdict.NOT_IN_USE if value is False else Verdict.UNKNOWN
