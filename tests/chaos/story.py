"""Histories made by hand, for the judges' own tests: a lawful one in steps, each of which a test may get wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tests.chaos.history import (
    COLLECTOR,
    STRANGER,
    Belief,
    Call,
    Ending,
    Event,
    Fault,
    History,
    Leftover,
    Life,
    Terms,
    Told,
)

TENANT, TTL, GRACE = "chaos", 3.0, 4.0
FENCE = 2
BLOB = ("blobs", "blob", "b1")
FILE = ("files", "file", "f1")
HOLDER = "crowd@p1~1.2.3"


class Story:
    """Time passes by ``wait``; every change in etcd takes a revision and is known to the tenth of a second."""

    def __init__(self) -> None:
        self.history = History(Terms(TENANT, TTL, GRACE, 3.0, 1, ("files",)))
        self.now, self.revision = 100.0, 0
        self.history.faults.append(Fault("crash-program", 100.0, 100.0, True, {}))
        self.put("shards", "0", {"replica": "a"}, at=FENCE)
        self.put("control", "armed", {"who": "a"})
        self.attach(HOLDER)

    # --- time and etcd --------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def put(self, family: str, *rest: Any, at: int = 0) -> int:
        """Components, then the value."""
        *parts, value = rest
        return self._write(family, parts, json.dumps(value), deleted=False, at=at)

    def delete(self, family: str, *parts: str, same: bool = False) -> int:
        """``same``: in the revision of the last change."""
        return self._write(family, parts, "", deleted=True, at=self.revision if same else 0)

    def _write(self, family: str, parts: Any, value: str, *, deleted: bool, at: int) -> int:
        self.revision = at or self.revision + 1
        key = "/".join(["/leasehold/1", TENANT, family, *(quote(part, safe="") for part in parts)])
        self.history.events.append(Event(self.revision, key, value, deleted, self.now - 0.05, self.now + 0.05))
        return self.revision

    # --- the holder's side ----------------------------------------------------------------------------------------

    def attach(self, holder: str) -> None:
        self.put("beacons", holder, "boot")
        self.put("roster", holder, {"service": "crowd", "instance": "p1"}, at=self.revision)

    def create(self, resource: tuple[str, str, str] = BLOB, uid: str = "u1", *, told: bool = True) -> None:
        owner, _, identity = resource
        self._call(owner, identity, "POST", "program:p1", 201, uid, "created")
        self.put("resources", *resource, {"incarnation": f"uid:{uid}", "rule": "create", "grace_class": "4s"})
        self.put("holds", *resource, HOLDER, {"boot": "boot", "sequence": 1}, at=self.revision)
        if told:
            self.history.told.append(
                Told("p1", owner, identity, uid, "created", self.now - 0.1, self.now + 0.1, audit="held")
            )

    def believe(self, until: float, uid: str = "u1", resource: tuple[str, str, str] = BLOB) -> None:
        self.history.beliefs.append(Belief("p1", resource[0], resource[2], uid, 100.1, until, "created"))

    def die(self) -> None:
        """The holder's end is seen: its beacon goes, its roster entry says so."""
        self.history.lives.append(Life("p1", 100.0, self.now, "crash"))
        self.put("roster", HOLDER, {"service": "crowd", "instance": "p1", "ended": "exited"})
        self.delete("beacons", HOLDER, same=True)
        self.wait(0.1)

    # --- the collector's side -------------------------------------------------------------------------------------

    def condemn(self, resource: tuple[str, str, str] = BLOB, uid: str = "u1") -> int:
        self.wait(0.1)
        return self.put("tombstones", *resource, {"incarnation": f"uid:{uid}"})

    def grace(self, seconds: float = GRACE + 0.2, number: int = 1) -> None:
        key = f"{number:012d}"
        self.wait(0.1)
        self.put("epochs", "4s", key, {"seconds": 4.0, "lease": 7})
        self.wait(seconds)
        self.put("epochs", "4s", key, {"seconds": 4.0, "lease": 7, "done": True})
        self.wait(0.1)

    def prepare(self, resource: tuple[str, str, str] = BLOB, uid: str = "u1", **more: Any) -> int:
        return self._sweep(resource, uid, "prepared", 0, **more)

    def send(self, attempt: int = 1, resource: tuple[str, str, str] = BLOB, uid: str = "u1", **more: Any) -> int:
        self.wait(0.1)
        return self._sweep(resource, uid, "sent", attempt, **more)

    def arrive(self, uid: str = "u1", resource: tuple[str, str, str] = BLOB, **more: Any) -> Call:
        """The delete reaches its owner, and removes this incarnation."""
        self.wait(0.1)
        call = self._call(resource[0], resource[2], "DELETE", COLLECTOR, 204, uid, "removed")
        self.history.calls[-1] = replace(call, **{"caller": "a", **more})
        return self.history.calls[-1]

    def finish(self, resource: tuple[str, str, str] = BLOB) -> None:
        self.wait(0.1)
        self.put("graves", *resource, {"outcome": "gone"})
        for family in ("resources", "tombstones", "sweeps"):
            self.delete(family, *resource, same=True)
        self.delete("holds", *resource, HOLDER, same=True)

    def end(self, *leftovers: Leftover, living: tuple[str, ...] = ()) -> History:
        """Healed, abandoned and settled."""
        now = self.now
        self.history.ending = Ending(now, now + 5, self.revision, living, now + 6, now + 20, leftovers)
        return self.history

    def stranger(self) -> Leftover:
        self._call("blobs", "s1", "PUT", STRANGER, 201, "us", "created")
        return Leftover("blobs", "s1", "us", STRANGER)

    def other_makes(self, owner: str, identity: str) -> None:
        """The second tenant creates and records something."""
        self._call(owner, identity, "PUT", "program:o0", 201, f"of-{identity}", "created")
        self.history.others.append(self.history.calls.pop())
        self.write(f"/leasehold/1/{self.history.terms.other}/resources/{owner}/{owner[:-1]}/{identity}")

    def write(self, key: str) -> None:
        """Any key, by whomever."""
        self.revision += 1
        self.history.events.append(Event(self.revision, key, "{}", False, self.now - 0.05, self.now + 0.05))

    def _sweep(self, resource: tuple[str, str, str], uid: str, state: str, attempt: int, **more: Any) -> int:
        value = {"state": state, "incarnation": f"uid:{uid}", "fence": FENCE, "epoch": "4s/1", "attempt": attempt}
        return self.put("sweeps", *resource, {**value, **more})

    def _call(self, owner: str, identity: str, method: str, who: str, status: int, uid: str, effect: str) -> Call:
        request = f"{owner}-{len(self.history.calls)}"
        call = Call(owner, identity, method, who, request, self.now, self.now, status, uid, effect)
        self.history.calls.append(call)
        return call


def lawful() -> Story:
    """Created, held, abandoned, condemned, one whole grace, prepared, sent, gone; and a stranger beside it."""
    story = Story()
    stranger = story.stranger()
    story.create()
    story.believe(until=105.0)
    story.wait(5.0)
    story.die()
    story.condemn()
    story.grace()
    story.prepare()
    story.send()
    story.arrive()
    story.finish()
    story.end(stranger)
    return story
