"""Makes crates and deletes them again itself, as a tidy program does; and draws tickets that it never returns.

clerk.py URL CRATES TICKETS
"""

import json
import sys
import urllib.request


def call(method: str, url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own URL
        content: bytes = answer.read()
    return content


def create(url: str, kind: str) -> str:
    name: str = json.loads(call("POST", f"{url}/v1/{kind}", b'{"content": "form"}'))["id"]
    print(json.dumps({"created": name, "type": kind[:-1]}), flush=True)
    return name


def main() -> None:
    url, crates, tickets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for name in [create(url, "crates") for _ in range(crates)]:
        call("DELETE", f"{url}/v1/crates/{name}")
        print(json.dumps({"deleted": name, "type": "crate"}), flush=True)
    for _ in range(tickets):
        create(url, "tickets")
    print(json.dumps({"event": "done"}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
