"""An unmodified program: makes the calls it is told on stdin, through whatever base URL it was given.

One JSON object per line in (``{"method", "path", "body"?, "headers"?}``), one per line out. It knows nothing of
Leasehold; its pid is what a sidecar watches.
"""

from __future__ import annotations

import http.client
import json
import sys
from urllib.parse import urlsplit


def main() -> None:
    base = urlsplit(sys.argv[1])
    assert base.hostname is not None
    connection = http.client.HTTPConnection(base.hostname, base.port, timeout=20)
    for line in sys.stdin:
        call = json.loads(line)
        body = json.dumps(call["body"]).encode() if "body" in call else None
        try:
            connection.request(call["method"], call["path"], body, call.get("headers", {}))
            answer = connection.getresponse()
            result = {"status": answer.status, "headers": {k.lower(): v for k, v in answer.getheaders()}}
            result["body"] = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            result = {"error": repr(error)}
        print(json.dumps(result), flush=True)


main()
