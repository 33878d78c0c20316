"""Addresses that we listen on: how one is written, and who can reach it."""

from __future__ import annotations

from ipaddress import ip_address


def is_address(text: str) -> bool:
    """Whether it is written as ``host:port``. Whether the host exists: who knows."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and int(port) < 65536


def is_loopback(host: str) -> bool:
    """Whether nobody outside of this machine (or pod) reaches it. A name other than ``localhost``: who knows."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
