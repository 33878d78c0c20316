"""Does it work? A connection to an owner, as any app would open it, must be redirected and must be accepted.

Only the kernel's counter tells a redirected connection from a direct one: to whoever connects, both look the same.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable

from leasehold.cli.capture.nft import Nft
from leasehold.cli.capture.ruleset import Endpoint, Exempt, read_back
from leasehold.cli.target import Failure

CONNECT_SECONDS = 3.0


def verify(nft: Nft, endpoints: Iterable[Endpoint], exempt: Exempt, listen_port: int) -> list[Endpoint]:
    """Probe one endpoint of each family; those probed. Raises ``Failure`` with what is wrong."""
    if os.geteuid() == exempt.uid or os.getegid() == exempt.gid:
        raise Failure(
            f"a probe by uid {os.geteuid()} and gid {os.getegid()} proves nothing, they are exempt: the sidecar wants "
            "a user and a group of its own (or use --no-verify)"
        )
    chosen: dict[int, Endpoint] = {}
    for endpoint in endpoints:
        chosen.setdefault(endpoint.ip.version, endpoint)
    for version, endpoint in sorted(chosen.items()):
        before = _redirected(nft, version)
        trouble = _connect(endpoint)
        if _redirected(nft, version) == before:
            raise Failure(f"a probe of {endpoint} was not redirected ({trouble or 'it was connected directly'})")
        if trouble is not None:
            where = "127.0.0.1" if version == 4 else "[::1]"
            raise Failure(
                f"a probe of {endpoint} was redirected, but nobody accepted it ({trouble}): expected a sidecar with "
                f"`mode: transparent` at {where}:{listen_port} (or use --no-verify when it starts later)"
            )
    return [endpoint for _, endpoint in sorted(chosen.items())]


def _redirected(nft: Nft, version: int) -> int:
    document = nft.table()
    return 0 if document is None else read_back(document).redirected.get(version, 0)


def _connect(endpoint: Endpoint) -> str | None:
    """``None`` if it was accepted, else why not."""
    try:
        with contextlib.closing(socket.create_connection((str(endpoint.ip), endpoint.port), timeout=CONNECT_SECONDS)):
            return None
    except ConnectionResetError:
        # Only who had accepted can reset; where nobody listens it is a refusal. A sidecar whose owner is away ends the
        # connection at once, perhaps before we have looked.
        return None
    except OSError as error:
        return error.strerror or str(error)
