"""Makes things at an HTTP service with plain urllib, says their ids, and ends when its stdin does.

packer.py URL KIND COUNT
"""

import json
import sys
import urllib.request


def create(url: str, kind: str, content: str) -> str:
    body = json.dumps({"content": content}).encode()
    request = urllib.request.Request(f"{url}/v1/{kind}", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own URL
        name: str = json.load(answer)["id"]
    return name


def main() -> None:
    url, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    for n in range(count):
        print(json.dumps({"created": create(url, kind, f"item {n}"), "type": kind[:-1]}), flush=True)
    print(json.dumps({"event": "done"}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
