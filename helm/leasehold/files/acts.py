"""The chart's test: a control plane sees etcd, and somebody acts for every shard. Waits for at most a minute."""

import json
import os
import sys
import time
import urllib.error
import urllib.request

base, end, problem = os.environ["CONTROL_PLANE"], time.monotonic() + 60, "not asked yet"
while time.monotonic() < end:
    try:
        with urllib.request.urlopen(f"{base}/readyz", timeout=5) as answer:
            answer.read()
        with urllib.request.urlopen(f"{base}/v1/status", timeout=5) as answer:
            shards = json.load(answer)["shards"]
        if shards["total"] and not shards["free"]:
            print(f"fine: {shards}")
            sys.exit(0)
        problem = f"nobody acts for some shards: {shards}"
    except urllib.error.HTTPError as error:
        problem = f"{error.url}: {error.code} {error.read().decode(errors='replace')}"
    except OSError as error:
        problem = f"{base}: {error}"
    time.sleep(1)
sys.exit(problem)
