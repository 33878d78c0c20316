"""Logs: events with fields on stderr; JSON for machines, text on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import structlog


def configure_logs(level: str) -> None:
    """Set up structlog for this process, once, before anything logs."""
    render: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(_json)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _json(event: Any, *, default: Callable[[Any], Any], **_: object) -> str:
    """By msgspec: a collector at work logs thousands of events a second."""
    return msgspec.json.encode(event, enc_hook=default).decode()
