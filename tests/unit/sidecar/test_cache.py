"""The lease cache asks etcd for what is needed, and for nothing else."""

from __future__ import annotations

from leasehold.protocol.names import Boot, CallId, Holder
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import On, Rule
from leasehold.sidecar.holds.cache import AlreadyHeld, Cache, Joined
from leasehold.sidecar.holds.entries import (
    Acquire,
    Done,
    Forget,
    Intend,
    Life,
    Lost,
    Operation,
    Register,
    Release,
    Retract,
    State,
)
from leasehold.sidecar.observe.events import Creation, Observation
from tests.integration.sidecar_world import blob, by_timer, creation, deletion, rule, use

H, OTHER = Holder("s@1~1"), Holder("s")
T1, T2, T3 = Holder("s!1"), Holder("s!2"), Holder("s!3")


class Scene:
    """A cache whose journal is a list, and a clock that stands still."""

    def __init__(self) -> None:
        self.state = State()
        self.cache = Cache(self.state)
        self.now = 0.0

    def ask(self, observation: Observation, holder: Holder | None = H) -> Operation | AlreadyHeld | Joined:
        return self.cache.decide(observation, holder, "now", self.now)

    def begin(self, observation: Observation, holder: Holder | None = H) -> Operation:
        operation = self.ask(observation, holder)
        assert not isinstance(operation, AlreadyHeld | Joined)
        self.state.apply(operation)
        self.cache.on_pending(operation)
        return operation

    def end(self, operation: Operation, *, ok: bool = True) -> None:
        self.state.apply(Done((operation.n,)) if ok else Done(dropped=(operation.n,)))
        self.cache.on_done(operation, self.now)

    def held(self, observation: Observation, holder: Holder = H) -> None:
        self.end(self.begin(observation, holder))

    def release_idle(self) -> list[Release]:
        return self.cache.idle(self.now, 100)


def idle(seconds: float) -> Rule:
    return rule(on=On.USE, idle_release=seconds)


def test_a_creation_is_registered_even_if_its_id_is_held_already() -> None:
    scene = Scene()
    scene.held(creation("a"))
    assert isinstance(scene.ask(creation("a")), Register)


def test_a_use_of_what_this_holder_holds_asks_for_nothing() -> None:
    scene = Scene()
    scene.held(creation("a"))
    assert scene.ask(use("a")) == AlreadyHeld()
    assert isinstance(scene.ask(use("a"), OTHER), Acquire)


def test_a_use_joins_what_is_on_its_way() -> None:
    scene = Scene()
    operation = scene.begin(creation("a"))
    assert scene.ask(use("a")) == Joined(operation.n)
    assert isinstance(scene.ask(use("a"), OTHER), Acquire)


def test_a_use_after_a_deletion_on_its_way_asks_anew() -> None:
    scene = Scene()
    scene.held(creation("a"))
    scene.begin(deletion("a"), None)
    assert isinstance(scene.ask(use("a")), Acquire)


def test_a_deletion_names_the_incarnation_if_there_is_only_one() -> None:
    scene = Scene()
    scene.held(creation("a", incarnation="uid:1"))
    assert scene.ask(deletion("a"), None) == Forget(2, blob("a"), "uid:1")
    scene.held(creation("a", incarnation="uid:2"), OTHER)
    assert scene.ask(deletion("a"), None) == Forget(3, blob("a"))


def test_a_forgotten_resource_is_held_by_nobody() -> None:
    scene = Scene()
    scene.held(creation("a"))
    scene.held(use("a"), OTHER)
    scene.end(scene.begin(deletion("a"), None))
    assert scene.state.held == {}
    assert scene.state.held_count == 0


def test_a_dropped_acquire_is_no_hold() -> None:
    scene = Scene()
    scene.end(scene.begin(use("a")), ok=False)
    assert isinstance(scene.ask(use("a")), Acquire)


def test_a_use_moves_a_timers_hold_only_from_an_earlier_window() -> None:
    scene = Scene()
    scene.held(creation("a", by_timer(30)), T1)
    timed = use("a", by_timer(30, On.USE))
    assert scene.ask(timed, T1) == AlreadyHeld()
    moved = scene.begin(timed, T2)
    assert isinstance(moved, Acquire)
    assert moved.replacing == T1
    scene.end(moved)
    assert [held.holder for held in scene.state.holdings()] == [T2]
    assert scene.ask(timed, T2) == AlreadyHeld()


def test_a_use_by_a_process_leaves_the_timer_as_it_is() -> None:
    scene = Scene()
    scene.held(creation("a", by_timer(30)), T1)
    asked = scene.ask(use("a"))
    assert isinstance(asked, Acquire)
    assert asked.replacing is None


def test_a_use_never_shortens_what_an_earlier_timer_promised() -> None:
    scene = Scene()
    scene.state.apply(Life(T1, HolderKind.TIMER, Boot("1"), 86400, "now"))
    scene.state.apply(Life(T2, HolderKind.TIMER, Boot("2"), 660, "now"))
    scene.held(creation("a", by_timer(86400)), T1)
    brief = scene.begin(use("a", by_timer(600, On.USE)), T2)
    assert isinstance(brief, Acquire)
    assert brief.replacing is None
    scene.end(brief)
    assert {held.holder for held in scene.state.holdings()} == {T1, T2}
    scene.state.apply(Life(T3, HolderKind.TIMER, Boot("3"), 660, "now"))
    moved = scene.begin(use("a", by_timer(600, On.USE)), T3)
    assert isinstance(moved, Acquire)
    assert moved.replacing == T2, "only what ends sooner is replaced"


def test_a_brief_use_behind_anothers_operation_does_not_make_a_lasting_hold_brief() -> None:
    scene = Scene()
    lasting = scene.begin(creation("a"))
    others = scene.begin(use("a"), OTHER)
    brief = scene.begin(use("a", idle(10)))
    for operation in (lasting, others, brief):
        scene.end(operation)
    scene.now = 1000.0
    assert scene.release_idle() == []


def test_a_hold_is_not_idle_while_a_call_that_may_create_it_anew_is_under_way() -> None:
    scene = Scene()
    scene.held(use("a", idle(10)))
    scene.state.apply(intent := Intend(2, CallId("c"), H, "r", "PUT", "/a", "later", blob("a")))
    scene.end(intent)
    scene.now = 1000.0
    assert scene.release_idle() == []
    retract = Retract(3, CallId("c"), H, 2, "r", "later", blob("a"))
    scene.state.apply(retract)
    scene.end(retract)
    [release] = scene.release_idle()
    assert (release.hold, release.rule, release.since) == (2, "r", "later"), "as the intent wrote it"


def test_a_hold_is_released_once_nobody_used_it_for_so_long() -> None:
    scene = Scene()
    scene.held(use("a", idle(10)))
    scene.now = 9.0
    assert scene.release_idle() == []
    scene.ask(use("a", idle(10)))
    scene.now = 18.0
    assert scene.release_idle() == []
    scene.now = 19.0
    [release] = scene.release_idle()
    assert (release.hold, release.holder, release.resource) == (1, H, blob("a"))
    assert scene.release_idle() == []


def test_what_a_creation_holds_is_not_released_by_a_use_that_would_be() -> None:
    scene = Scene()
    scene.held(creation("a"))
    assert scene.ask(use("a", idle(1))) == AlreadyHeld()
    scene.now = 1000.0
    assert scene.release_idle() == []


def test_a_use_without_an_idle_time_makes_a_hold_last() -> None:
    scene = Scene()
    scene.held(use("a", idle(10)))
    lasting = scene.begin(use("a"))
    assert isinstance(lasting, Acquire)
    assert lasting.idle == 0
    scene.end(lasting)
    scene.now = 1000.0
    assert scene.release_idle() == []
    assert scene.ask(use("a", idle(10))) == AlreadyHeld()


def test_idle_times_begin_anew_after_a_restart() -> None:
    scene = Scene()
    scene.held(use("a", idle(10)))
    again = Cache(scene.state)
    again.resume(100.0)
    assert again.idle(109.0, 10) == []
    assert len(again.idle(110.0, 10)) == 1


def test_a_creation_under_an_intent_takes_it_along() -> None:
    scene = Scene()
    made = creation("a")
    scene.state.apply(Intend(1, made.call, OTHER, "r", "POST", "/x", "now"))
    asked = scene.ask(made)
    assert isinstance(asked, Register)
    assert (asked.call, asked.intender) == (made.call, OTHER)


def test_too_many_holds_are_forgotten_oldest_first_but_not_those_with_an_idle_time() -> None:
    scene = Scene()
    scene.held(use("idle", idle(10)))
    for n in range(9):
        scene.held(creation(str(n)))
    assert scene.cache.excess(10) == []
    assert scene.cache.excess(8) == [Lost(blob("0"), H), Lost(blob("1"), H)]


def test_numbers_grow_with_every_operation() -> None:
    scene = Scene()
    numbers = [scene.begin(creation(str(n))).n for n in range(5)]
    assert numbers == [1, 2, 3, 4, 5]


def test_a_held_by_service_hold_is_not_the_processes() -> None:
    scene = Scene()
    made = Creation(rule(HolderKind.SERVICE), blob("a"), "x", CallId("c"))
    scene.held(made, OTHER)
    assert isinstance(scene.ask(use("a")), Acquire)
