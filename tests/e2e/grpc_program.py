"""An unmodified program that uses grpcio: makes the calls it is told on stdin, at whatever address it was given.

One JSON object per line in (``{"method", "request"}``, the request in hexadecimal), one per line out. It knows nothing
of Leasehold; its pid is what a sidecar watches.
"""

from __future__ import annotations

import json
import sys

import grpc


def main() -> None:
    channel = grpc.insecure_channel(sys.argv[1].removeprefix("http://"))
    for line in sys.stdin:
        call = json.loads(line)
        try:
            reply = channel.unary_unary(call["method"])(bytes.fromhex(call["request"]), timeout=20)
            result = {"status": "OK", "reply": reply.hex()}
        except grpc.RpcError as error:
            result = {"status": error.code().name}
        print(json.dumps(result), flush=True)


main()
