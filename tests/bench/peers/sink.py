"""The owner of large uploads: reads a body to its end, counts it, and answers with the count.

``python -m tests.bench.peers.sink HOST PORT``. One thread for each connection, for a body with a Content-Length, and
nothing between the socket and the count: it must not be what is measured.
"""

from __future__ import annotations

import re
import socket
import sys
import threading


def serve(host: str, port: int) -> None:
    with socket.create_server((host, port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_take, args=(connection,), daemon=True).start()


def _take(connection: socket.socket) -> None:
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(65536)
            if not more:
                return
            head += more
        head, _, begun = head.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        expected, got, room = int(length[1]) if length else 0, len(begun), bytearray(1 << 20)
        while got < expected:
            count = connection.recv_into(room)
            if not count:
                return
            got += count
        body = b"%d\n" % got
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
