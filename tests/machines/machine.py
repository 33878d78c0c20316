"""The protocol's actors as rules that Hypothesis plays in any order; ``World`` has every step judged.

``machine(store, ...)`` makes a class for one store. A world under way is closed with its example; the store stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import shard_of
from leasehold.protocol.names import Resource
from leasehold.protocol.records import ArmedRecord, ClusterRecord, HolderKind, PinRecord
from tests.machines.holders import Process
from tests.machines.oracle import law
from tests.machines.planes import Plane
from tests.machines.stores import OneStore
from tests.machines.world import RESOURCES, SHARDS, STRANGER, Mutation, Owner, World

a_process = st.integers(0, 2)
a_plane = st.integers(0, 1)
a_resource = st.sampled_from(RESOURCES)
a_shard = st.integers(0, SHARDS - 1)
ACTING = (
    "look", "go_on", "condemn", "revive", "prepare", "send", "conclude", "note", "quarantine", "close", "adopt",
)  # fmt: skip
HOLDING = (
    "attach", "lose_lease", "come_back", "retire", "intend", "retract", "create", "register", "create and register",
    "acquire", "attach and acquire", "come back for a moment", "release", "arrive_late", "forget",
)  # fmt: skip
EVENTS = (
    "pin", "trip", "usurped", "attach and acquire", "attach and acquire", "come back for a moment",
    "come back for a moment", "forget", "create and register",
)  # fmt: skip
SETTLING = ("look", "look", "resolve", "recorded", "dismiss", "suspect")
references = st.lists(a_resource, max_size=1).map(tuple)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Moments(RuleBasedStateMachine):
    """Two processes and a service; two control planes; an operator; an owner. ``machine`` fills in the rest.

    Always at the moments that matter: who acts has looked, and something happens before it writes.
    """

    store: OneStore
    run: Run
    mutate: Mutation
    conditional: bool
    took_effect: Counter[str]
    """Over all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.founded = False
        cls = type(self)
        self.world = World(cls.store, cls.mutate, Owner(cls.conditional))
        self.processes = [
            Process(self.world, "s@a~1"), Process(self.world, "s@b~1"), Process(self.world, "s", HolderKind.SERVICE),
        ]  # fmt: skip
        self.planes = [Plane(self.world, "one"), Plane(self.world, "two")]

    def do(self, doing: Coroutine[Any, Any, Any]) -> None:
        type(self).run(doing)

    @initialize(made=st.lists(st.tuples(a_resource, a_process, st.sets(a_process), references), min_size=1, max_size=2))
    def found(self, made: list[tuple[Resource, int, set[int], tuple[Resource, ...]]]) -> None:
        """Founded and armed; everybody is there; things were made, and are used by some; one control plane acts."""
        self.world.owner.create(STRANGER)
        self.founded = True
        cluster = ClusterRecord("c", shards=SHARDS)
        self.do(self.world.commit("found", tx.found_tenant(self.world.keys, cluster, ArmedRecord("one", "founded"))))
        for process in self.processes:
            self.do(process.attach())
        for shard in range(SHARDS):
            self.do(self.planes[0].claim(shard))
        for resource, maker, users, needs in made:
            self.do(self._holding(self.processes[maker], "create and register", resource, needs, how=False))
            for user in users:
                self.do(self.processes[user].acquire(resource))

    @rule(
        resource=a_resource, step=st.sampled_from(["condemn", "prepare", "send"]), process=a_process,
        how=st.booleans(), event=st.sampled_from(EVENTS),
    )  # fmt: skip
    def meanwhile(self, resource: Resource, step: str, process: int, how: bool, event: str) -> None:
        """Who acts has looked and is about to take a step; something happens; the step is tried all the same."""
        one = self._about_to(step, resource)
        if one is None:
            return
        if event == "usurped":
            self.do(one.lose_lease())
            self.do(self.planes[one is self.planes[0]].claim(shard_of(resource, SHARDS)))
        elif event in {"pin", "trip"}:
            self.an_operator(resource, event)
        else:
            who = self.processes[process]
            if event == "come back for a moment":  # it matters of who held it
                held = [p for p in self.processes if p.holder in self.world.picture.holds(tuple(resource))]
                who = held[process % len(held)] if held else who
            self.do(self._holding(who, event, resource, (), how))
        self.do(one.act(resource))

    def _about_to(self, step: str, resource: Resource) -> Plane | None:
        """Bring an abandoned resource to where this step is due: who is to take it, if it comes to that."""
        if tuple(resource) not in self.world.picture.of("resources"):
            self.do(self.processes[0].attach())
            self.do(self._holding(self.processes[0], "create and register", resource, (), how=False))
        self.everybody_ends()
        for what in ("arm", "unpin"):
            self.an_operator(resource, what)
        for number in range(8):
            one = self._acting(resource)
            if number:
                self.do(one.go_on(resource))
            else:
                one.glance(resource)
            self.do(one.measure())
            one = self._acting(resource)
            one.glance(resource)
            if one.due(resource) == step:
                return one
            self.do(self.world.pass_time(1.0))
            self.an_epoch_lease_ends()
        return None

    def _recorded(self, number: int) -> Resource:
        there = [one for one in RESOURCES if tuple(one) in self.world.picture.of("resources")] or RESOURCES
        return there[number % len(there)]

    def _acting(self, resource: Resource) -> Plane:
        shard = self.world.picture.at("shards", str(shard_of(resource, SHARDS)))
        return self.planes[shard is not None and shard.value["replica"] == "two"]

    @rule(number=st.integers(0, 3), again=st.booleans())
    def a_delete_arrives(self, number: int, again: bool) -> None:
        """Late, out of order, or once and again."""
        on_the_way = self.world.owner.on_the_way
        if on_the_way:
            self.world.deliver(number % len(on_the_way), again=again)

    @rule()
    def everybody_ends(self) -> None:
        """Or seems to."""
        for process in self.processes:
            self.do(process.lose_lease())

    @rule(resource=a_resource, what=st.sampled_from(["pin", "unpin", "unpin", "restore", "arm", "arm", "trip"]))
    def an_operator(self, resource: Resource, what: str) -> None:
        keys = self.world.keys
        txns = {
            "pin": tx.pin(keys, resource, PinRecord("me", "keep")),
            "unpin": tx.unpin(keys, resource),
            "restore": tx.restore(keys, resource),
            "arm": tx.arm(keys, ArmedRecord("me", "again")),
            "trip": tx.trip(keys),
        }
        self.do(self.world.commit(what, txns[what]))

    @rule()
    def an_epoch_lease_ends(self) -> None:
        """In time, early or late."""
        measured = sorted(self.world.picture.of("epoch-leases"))
        if measured:
            keys, (name, number) = self.world.keys, measured[0]
            item = self.world.item(keys.epoch_lease(name, int(number)))  # type: ignore[arg-type]
            assert item is not None
            self.do(self.world.end_lease(item.lease))

    async def _holding(
        self, one: Process, action: str, resource: Resource, needs: tuple[Resource, ...], how: bool
    ) -> None:
        if action == "create":
            one.create(resource)
        elif action == "register":
            await one.register(resource, needs, unseen=how)
        elif action == "create and register":
            one.create(resource)
            await one.register(resource, needs, unseen=False)
        elif action == "come back for a moment":
            await one.attach()
            await one.lose_lease()
        elif action == "attach and acquire":
            await one.attach()
            await one.acquire(resource)
        elif action == "release":
            await one.release(resource, late=how)
        elif action == "intend":
            await one.intend(resource if how else None)
        elif action in {"acquire", "forget"}:
            await getattr(one, action)(resource)
        else:
            await getattr(one, action)()

    # --- always -----------------------------------------------------------------------------------------------------

    @invariant()
    def strangers_are_left_alone(self) -> None:
        law("S6 what no rule saw created is left alone", not self.founded or STRANGER in self.world.owner.things)

    def teardown(self) -> None:
        type(self).took_effect.update(self.world.took_effect)
        self.do(self.world.end())


class Machine(Moments):
    """And everything else that anybody may do, at any time."""

    # --- holders ----------------------------------------------------------------------------------------------------

    @rule(process=a_process, resource=a_resource, needs=references, how=st.booleans(), action=st.sampled_from(HOLDING))
    def a_holder(self, process: int, resource: Resource, needs: tuple[Resource, ...], how: bool, action: str) -> None:
        self.do(self._holding(self.processes[process], action, resource, needs, how))

    # --- control planes ---------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, 1), steps=st.integers(1, 8), everybody_ends=st.booleans())
    def collect(self, number: int, steps: int, everybody_ends: bool) -> None:
        """Who acts is left alone for a while: it goes on with one resource, and time passes."""
        resource = self._recorded(number)
        if everybody_ends:
            self.everybody_ends()
        for _ in range(steps):
            one = self._acting(resource)
            self.do(one.go_on(resource))
            self.do(one.measure())
            self.do(self.world.pass_time(0.5))
            self.an_epoch_lease_ends()

    @rule(plane=a_plane, resource=a_resource, action=st.sampled_from(ACTING))
    def a_control_plane(self, plane: int, resource: Resource, action: str) -> None:
        """Acts on what it saw, whenever that was; ``look`` sees anew."""
        self.do(getattr(self.planes[plane], action)(resource))

    @rule(plane=a_plane, shard=a_shard, action=st.sampled_from(["claim", "lose_lease", "give_up"]))
    def a_tenure(self, plane: int, shard: int, action: str) -> None:
        one = self.planes[plane]
        self.do(one.lose_lease() if action == "lose_lease" else getattr(one, action)(shard))

    @rule(plane=a_plane, process=a_process)
    def strike(self, plane: int, process: int) -> None:
        self.do(self.planes[plane].strike(self.processes[process].holder))

    @rule(plane=a_plane, resource=a_resource, number=st.integers(0, 3), how=st.sampled_from(SETTLING))
    def an_intent(self, plane: int, resource: Resource, number: int, how: str) -> None:
        """Looked at, or settled by what was seen when it was looked at."""
        one = self.planes[plane]
        if how == "look":
            one.look_at_intents(number)
        else:
            self.do(one.settle_intent(how, resource))

    # --- time, the operator, and the owner --------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(self.world.pass_time(seconds))

    @rule(resource=a_resource)
    def a_user_changes_it(self, resource: Resource) -> None:
        self.world.owner.change(resource)


def unchanged(_: str, txn: Any) -> Any:
    """No mutation."""
    return txn


def machine(
    store: OneStore, run: Run, mutate: Mutation = unchanged, *, base: type[Moments] = Machine, conditional: bool = True
) -> type[Moments]:
    """The same machine, for this store."""
    return type("Machine", (base,), {
        "store": store, "run": staticmethod(run), "mutate": staticmethod(mutate), "conditional": conditional,
        "took_effect": Counter(),
    })  # fmt: skip
