"""Logs: events with fields on stderr; JSON for machines, text on a terminal.

- Every line says whose it is, ``tenantId``: also those of threads, which inherit no context.
- What concerns one resource says ``correlationId``, the same from its registration to its end; calls say ``latencyMs``.
  These three have the spelling that other people's logs have; in the code they are ``tenant``, ``correlation_id`` and
  ``latency_ms``.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import structlog

_LEVELS = {"warn": "warning", "exception": "error"}
_SPELT = {"tenant": "tenantId", "correlation_id": "correlationId", "latency_ms": "latencyMs"}
_always: dict[str, Any] = {}


def say_always(**fields: str) -> None:
    """What every line of this process is to say from now on."""
    _always.update(fields)


def configure_logs(level: str) -> None:
    """Set up structlog for this process, once, before anything logs."""
    render: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(_json)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _dressed, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _json(event: Any, *, default: Callable[[Any], Any], **_: object) -> str:
    """By msgspec: a collector at work logs thousands of events a second."""
    return msgspec.json.encode(event, enc_hook=default).decode()


def _dressed(_: object, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """With what every line says, in our spelling, and when it was said."""
    dressed = {**_always, **event}
    for name, spelt in _SPELT.items():
        if name in dressed:
            dressed[spelt] = dressed.pop(name)
    dressed["level"] = _LEVELS.get(level, level)
    dressed["timestamp"] = _utc(time.time_ns() // 1000)
    return dressed


def _utc(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_utc_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=4)  # thousands of lines fall into one second
def _utc_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
