"""Kubernetes' quantities: ``20m`` of CPU, ``64Mi`` of memory. Only whether a text is one; the API server counts."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"(\d{1,12}|\d{0,12}\.\d{1,6})(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d{1,2})?")


def is_quantity(text: str) -> bool:
    """Not negative, and with a suffix Kubernetes knows."""
    return _QUANTITY.fullmatch(text) is not None
