"""A fast owner, as a process of its own: ``python -m tests.bench.collector.owner``.

Says its port on its first line. ``DELETE`` is answered with 204, and with 404 the second time; ``GET /count`` tells how
many were deleted and how many came too often. As little else of HTTP/1.1 as can be: heads without bodies, one after
another, on kept connections.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import cast

import uvloop

GONE = b"HTTP/1.1 204 No Content\r\n\r\n"
ABSENT = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
END = b"\r\n\r\n"


class Ledger:
    """What was deleted. Digests, so that it stays small."""

    def __init__(self) -> None:
        self.deleted: set[int] = set()
        self.repeated = 0

    def delete(self, path: bytes) -> bytes:
        digest = int.from_bytes(hashlib.blake2b(path, digest_size=7).digest(), "big")
        if digest in self.deleted:
            self.repeated += 1
            return ABSENT
        self.deleted.add(digest)
        return GONE

    def count(self) -> bytes:
        body = json.dumps({"deleted": len(self.deleted), "repeated": self.repeated}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(END)
        answers = [self._answer(*head.split(b" ", 2)[:2]) for head in heads]
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, method: bytes, path: bytes) -> bytes:
        if method == b"DELETE":
            return self._ledger.delete(path)
        return self._ledger.count() if path == b"/count" else ABSENT


async def serve() -> None:
    ledger = Ledger()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
