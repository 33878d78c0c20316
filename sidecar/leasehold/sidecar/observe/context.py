"""What a matched request says of where it belongs: its trace context, or else its request id. Pure.

Of nothing else in a request head is a word kept: what proves who somebody is stays between the app and the owner.
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.protocol.correlation import REQUEST_IDS, is_traceparent, usable_id

_MAX_TRACEPARENT = 256


def context_of(said: Callable[[bytes], bytes | None]) -> str:
    """``said``: the first header of that (lower-case) name. Empty: it says nothing that can be used."""
    trace = said(b"traceparent")
    if trace:
        text = trace[:_MAX_TRACEPARENT].decode("latin-1")
        if is_traceparent(text):
            return text
    for name in REQUEST_IDS:
        value = said(name)
        if value and (known := usable_id(value.decode("latin-1"))):
            return known
    return ""
