"""An unmodified program under load: creates, uses, shares, deletes, until it is told to stop or killed.

It speaks plain HTTP to two ports and logs, line by line, what it was told and what it lets go of. Now and then it asks
etcd itself what stands there, right after it was told something. It speaks gRPC to one owner, by grpcio; for all
else the standard library is enough.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import grpc

KEPT = 12
"""How many it holds at most of its own."""
AUDITED = 0.3
IN_RINGS = 4
"""How many of its albums may need each other."""
FRESH_SECONDS = 4.0
"""How old what somebody offers may be: nobody goes on using what the dead left behind, or nothing would be swept."""
CREATES = ["blobs"] * 5 + ["files"] * 6 + ["notes"] * 2 + ["rolls"] * 2 + ["teams"]
CREATES += ["deeds"] * 3 + ["crates"] * 2 + ["albums"] * 3
TIMED_KEPT = 6
"""Of what ends by itself: how much it still uses now and then."""
HOLDERS = {"blobs": "%40{name}~", "files": "%40{name}~", "notes": "/crowd%21", "teams": "/crowd"}
HOLDERS |= dict.fromkeys(("rolls", "deeds", "crates", "albums"), HOLDERS["blobs"])
"""How the key of a hold ends that keeps something of this owner: a process's, a timer's, a service's."""
ROLLS = "/rolls.v1.Rolls/"
TROUBLE = (grpc.RpcError, OSError, http.client.HTTPException, ValueError)


class Program:
    def __init__(self, told: dict[str, Any]) -> None:
        self.name, self.tenant = told["name"], told["tenant"]
        self.ports, self.etcd = told["ports"], told["etcd"]
        self.pause = told["pause"]
        self.board = Path(told["board"])
        self.log = Path(told["log"]).open("a", buffering=1)  # noqa: SIM115 - open for life
        self.random = random.Random(told["seed"])
        self.names = told["names"]
        self.ends = time.monotonic() + told["lasts"]
        self.mine: list[tuple[str, str, str]] = []
        self.rings: set[str] = set()
        """What it leaves to the collector: albums that need each other."""
        self.timed: list[tuple[str, str, str]] = []
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.ports['rolls']}", options=[("grpc.default_authority", "rolls.test")]
        )
        self.connections: dict[str, http.client.HTTPConnection] = {}
        self.ended = False

    def run(self) -> None:
        self.note("began", pid=os.getpid())
        doing = [self.create] * 6 + [self.share] * 3 + [self.use] * 3 + [self.delete]
        while not self.ended and time.monotonic() < self.ends:
            with contextlib.suppress(*TROUBLE):
                self.random.choice(doing)()
            time.sleep(self.random.uniform(0.2, 1.8) * self.pause)
        self.note("exit")

    # --- what it does ---------------------------------------------------------------------------------------------

    def create(self) -> None:
        if len(self.mine) >= KEPT:
            self.delete()
            return
        asked = time.monotonic()
        owner = self.random.choice(CREATES)
        if owner == "albums":
            self.compile()
            return
        if owner == "files":
            answer = self.call("files", "PUT", f"/v1/files/{quote(self.random.choice(self.names), safe='')}")
        else:
            answer = self.call(owner, "POST", f"/v1/{owner}")
        told = time.monotonic()
        if answer and answer["status"] == 201:
            made = (owner, answer["id"], answer["uid"])
            if owner == "notes":
                self.timed = [*self.timed, made][-TIMED_KEPT:]
            else:
                self.mine.append(made)
            self.told("created", owner, answer, asked, told)
            self.publish()

    def compile(self) -> None:
        """An album of blobs of ours; sometimes of another album, and sometimes that one is made to need the new one."""
        blobs = [one for one in self.mine if one[0] == "blobs"]
        albums = [one for one in self.mine if one[0] == "albums"]
        needs = self.random.sample(blobs, min(len(blobs), self.random.randrange(3)))
        other = self.random.choice(albums) if albums and self.random.random() < 0.5 else None
        made = self.put_album(f"{self.random.getrandbits(128):032x}", [*needs, *([other] if other else [])])
        if made and other and len(self.rings) < IN_RINGS and self.put_album(other[1], [made]):
            self.rings |= {made[1], other[1]}

    def put_album(self, identity: str, needs: list[tuple[str, str, str]]) -> tuple[str, str, str] | None:
        asked = time.monotonic()
        body = {owner: [one[1] for one in needs if one[0] == owner] for owner in ("blobs", "albums")}
        answer = self.call("albums", "PUT", f"/v1/albums/{identity}", body=json.dumps(body).encode())
        told = time.monotonic()
        if not answer or answer["status"] not in {200, 201}:
            return None
        made = ("albums", answer["id"], answer["uid"])
        if answer["status"] == 201:
            self.mine.append(made)
            self.told("created", "albums", answer, asked, told)
            self.publish()
        refers = [f"{owner}/{one}" for owner, one, _ in needs]
        self.note("refers", owner="albums", id=made[1], uid=made[2], refers=refers, asked=asked, told=told)
        return made

    def use(self) -> None:
        known = [*(one for one in self.mine if one[0] != "teams"), *self.timed]
        if known:
            self.get(*self.random.choice(known)[:2])

    def share(self) -> None:
        """Use what somebody else made."""
        fresh = time.time() - FRESH_SECONDS
        others = [path for path in self.board.glob("*.json") if path.stem != self.name and _written(path) > fresh]
        if others:
            offered = json.loads(self.random.choice(others).read_text())
            if offered:
                self.get(*self.random.choice(offered)[:2])

    def get(self, owner: str, identity: str) -> None:
        asked = time.monotonic()
        answer = self.call(owner, "GET", f"/v1/{owner}/{quote(identity, safe='')}")
        told = time.monotonic()
        if answer and answer["status"] == 200:
            self.told("used", owner, answer, asked, told)
        elif answer and answer["status"] == 404:
            self.note("missing", owner=owner, id=identity)

    def delete(self) -> None:
        known = [one for one in self.mine if one[1] not in self.rings]
        if not known:
            return
        owner, identity, uid = self.random.choice(known)
        self.mine.remove((owner, identity, uid))
        self.publish()
        self.note("lets-go", owner=owner, id=identity, uid=uid)
        self.call(owner, "DELETE", f"/v1/{owner}/{quote(identity, safe='')}", {"If-Match": f'"{uid}"'})

    # --- how ------------------------------------------------------------------------------------------------------

    def call(
        self, owner: str, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> dict[str, Any] | None:
        if owner == "rolls":
            return self.call_by_grpc({"POST": "Create", "GET": "Get", "DELETE": "Delete"}[method], path)
        connection = self.connections.get(owner)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.ports[owner], timeout=10)
            self.connections[owner] = connection
        try:
            sent = {"Host": f"{owner}.test", "X-Program": self.name, **(headers or {})}
            connection.request(method, path, body if method in {"POST", "PUT"} else None, sent)
            answer = connection.getresponse()
            said = answer.read()
        except TROUBLE as error:
            connection.close()
            del self.connections[owner]
            self.note("trouble", owner=owner, method=method, path=path, error=repr(error))
            return None
        found = json.loads(said) if said.startswith(b"{") else {}
        return {"status": answer.status, "id": found.get("id", ""), "uid": found.get("uid", "")}

    def call_by_grpc(self, method: str, path: str) -> dict[str, Any] | None:
        identity = "" if method == "Create" else path.rpartition("/")[2]
        request = b"\x0a" + bytes([len(identity)]) + identity.encode() if identity else b""
        asked = self.channel.unary_unary(ROLLS + method)
        try:
            answer = asked(request, timeout=10, metadata=(("x-program", self.name),))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return {"status": 404, "id": "", "uid": ""}
            self.note("trouble", owner="rolls", method=method, path=path, error=str(error.code()))
            return None
        size = answer[1]
        found, uid = answer[2 : 2 + size].decode(), answer[4 + size :].decode()
        return {"status": 201 if method == "Create" else 200, "id": found, "uid": uid}

    def told(self, how: str, owner: str, answer: dict[str, Any], asked: float, told: float) -> None:
        audit = ""
        if self.random.random() < AUDITED:
            with contextlib.suppress(*TROUBLE):
                audit = self.audit(owner, answer["id"])
        self.note("told", how=how, owner=owner, id=answer["id"], uid=answer["uid"], asked=asked, told=told, audit=audit)

    def audit(self, owner: str, identity: str) -> str:
        """What etcd holds of it, by one linearizable transaction."""
        below = f"/leasehold/1/{quote(self.tenant, safe='')}/"
        resource = f"{owner}/{owner[:-1]}/{quote(identity, safe='')}"
        holds = f"{below}holds/{resource}/"
        asked = [
            _get(f"{below}resources/{resource}"), _get(f"{below}sweeps/{resource}"), _get(holds, holds[:-1] + "0"),
        ]  # fmt: skip
        body = json.dumps({"success": asked}).encode()
        request = urllib.request.Request(f"{self.random.choice(self.etcd)}/v3/kv/txn", body)
        with urllib.request.urlopen(request, timeout=1.0) as answer:
            record, sweep, held = (one["response_range"].get("kvs", []) for one in json.load(answer)["responses"])
        if sweep:
            return "sweeping"
        if not record:
            return "absent"
        whose = HOLDERS[owner].format(name=self.name)
        own = [one for one in held if whose in base64.b64decode(one["key"]).decode()]
        holding = any(not json.loads(base64.b64decode(one["value"])).get("released") for one in own)
        return "held" if holding else "recorded"

    def publish(self) -> None:
        path = self.board / f"{self.name}.json"
        path.with_suffix(".new").write_text(json.dumps([one for one in self.mine if one[0] != "teams"]))
        path.with_suffix(".new").replace(path)

    def note(self, event: str, **more: object) -> None:
        self.log.write(json.dumps({"at": time.monotonic(), "event": event, **more}) + "\n")

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.ended = True


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _get(key: str, end: str = "") -> dict[str, Any]:
    asked = {"key": base64.b64encode(key.encode()).decode()}
    if end:
        asked["range_end"] = base64.b64encode(end.encode()).decode()
    return {"request_range": asked}


def main() -> None:
    program = Program(json.loads(sys.argv[1]))
    signal.signal(signal.SIGTERM, program.stop)
    program.run()


main()
