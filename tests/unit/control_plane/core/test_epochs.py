"""Epochs: never shorter than a whole G by both clocks, opened often enough, dropped when dominated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.epochs import Close, Drop, Epochs, LookAt, Open, Seen, grace_seconds
from leasehold.protocol.names import ClassName, Instant, Revision
from leasehold.protocol.records import EpochRecord
from leasehold.protocol.transactions import EpochFound

NAME = ClassName("8s")
G = 8


def epoch(number: int, opened: int, *, done: bool = False, measured: bool = True, seconds: float = G) -> Seen:
    record = EpochRecord(seconds, 7, done)
    return Seen(EpochFound(NAME, number, b"e%d" % number, Revision(opened), Revision(opened), record), measured)


def test_a_class_is_called_by_its_whole_seconds() -> None:
    assert [grace_seconds(ClassName(name)) for name in ("300s", "1s", "0s", "s", "1.5s", "5m", "-1s")] == [
        300, 1, None, None, None, None, None,
    ]  # fmt: skip


def test_an_epoch_is_opened_for_a_tombstone_that_no_epoch_covers() -> None:
    epochs = Epochs(NAME, G)
    assert epochs.decide(Instant(0), [], Revision(5)) == [Open(NAME, 1, G)]
    assert epochs.decide(Instant(0), [], Revision(0)) == []
    assert Open(NAME, 4, G) in epochs.decide(Instant(0), [epoch(3, 4)], Revision(5))
    assert not any(isinstance(c, Open) for c in epochs.decide(Instant(0), [epoch(3, 6)], Revision(5)))


def test_a_number_in_use_by_an_epoch_nobody_can_read_is_not_taken_again() -> None:
    assert Epochs(NAME, G).decide(Instant(0), [epoch(3, 4)], Revision(5), highest=9)[0] == Open(NAME, 10, G)


def test_a_further_epoch_waits_for_a_quarter_of_the_grace() -> None:
    epochs = Epochs(NAME, G)
    epochs.opened(Instant(10))
    assert epochs.decide(Instant(11), [epoch(1, 4)], Revision(5)) == [LookAt(Instant(12))]
    assert epochs.decide(Instant(12), [epoch(1, 4)], Revision(5))[0] == Open(NAME, 2, G)


def test_the_lease_alone_does_not_end_an_epoch() -> None:
    epochs = Epochs(NAME, G)
    assert epochs.decide(Instant(100), [epoch(1, 4, measured=False)], Revision(3)) == [LookAt(Instant(108))]
    assert epochs.decide(Instant(107.9), [epoch(1, 4, measured=False)], Revision(3)) == [LookAt(Instant(108))]
    assert isinstance(epochs.decide(Instant(108), [epoch(1, 4, measured=False)], Revision(3))[0], Close)


def test_the_clock_alone_does_not_end_an_epoch() -> None:
    epochs = Epochs(NAME, G)
    epochs.decide(Instant(100), [epoch(1, 4)], Revision(3))
    assert epochs.decide(Instant(1000), [epoch(1, 4)], Revision(3)) == []


def test_an_epoch_that_is_another_with_the_same_number_is_timed_anew() -> None:
    epochs = Epochs(NAME, G)
    epochs.decide(Instant(0), [epoch(1, 4)], Revision(3))
    assert epochs.decide(Instant(G), [epoch(1, 9, measured=False)], Revision(3)) == [LookAt(Instant(2 * G))]


def test_done_epochs_are_dropped_once_a_newer_one_is_done() -> None:
    old, newer, running = epoch(1, 4, done=True), epoch(2, 6, done=True), epoch(3, 8)
    commands = Epochs(NAME, G).decide(Instant(0), [running, newer, old], Revision(0))
    assert Drop(old.found, newer.found) in commands
    assert not any(isinstance(c, Drop) and c.old != old.found for c in commands)


def test_an_epoch_that_was_too_short_dominates_nothing() -> None:
    old, short = epoch(1, 4, done=True), epoch(2, 6, done=True, seconds=1)
    assert not any(isinstance(c, Drop) for c in Epochs(NAME, G).decide(Instant(0), [old, short], Revision(0)))


@dataclass
class Store:
    """etcd as far as one class is concerned, and the leader's clock."""

    now: float = 0.0
    revision: int = 1
    tombstone: int = 0
    epochs: dict[int, Seen] = field(default_factory=dict)
    opened_at: dict[int, float] = field(default_factory=dict)
    found_at: dict[int, float] = field(default_factory=dict)

    def next(self) -> Revision:
        self.revision += 1
        return Revision(self.revision)

    def act(self, epochs: Epochs) -> None:
        for number in self.epochs:
            self.found_at.setdefault(number, self.now)
        for command in epochs.decide(Instant(self.now), self.epochs.values(), Revision(self.tombstone)):
            if isinstance(command, Open):
                assert command.number not in self.epochs
                running = [seen for seen in self.epochs.values() if not seen.found.record.done]
                assert len(running) < 12
                self.epochs[command.number] = epoch(command.number, self.next())
                self.opened_at[command.number] = self.found_at[command.number] = self.now
                epochs.opened(Instant(self.now))
                epochs.decide(Instant(self.now), self.epochs.values(), Revision(self.tombstone))
            elif isinstance(command, Close):
                number = command.epoch.number
                assert not self.epochs[number].measured, "etcd's lease has to be gone"
                assert self.now >= self.found_at[number] + G, "and a whole G by this leader's clock"
                found = replace(command.epoch, record=replace_done(command.epoch.record), mod_revision=self.next())
                self.epochs[number] = Seen(found, False)
            elif isinstance(command, Drop):
                assert self.epochs[command.newer.number].found.record.done
                assert command.newer.create_revision > command.old.create_revision
                del self.epochs[command.old.number]


def replace_done(record: EpochRecord) -> EpochRecord:
    return EpochRecord(record.seconds, record.lease, True)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0.01, 5)),
        st.tuples(st.just("condemn"), st.none()),
        st.tuples(st.just("expire"), st.integers(0, 20)),
        st.tuples(st.just("new leader"), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_epochs_never_close_early_and_every_tombstone_is_covered_in_the_end(
    steps: list[tuple[str, float | None]],
) -> None:
    store, epochs = Store(), Epochs(NAME, G)
    for what, argument in steps:
        if what == "wait":
            store.now += argument or 0
        elif what == "condemn":
            store.tombstone = store.next()
        elif what == "expire" and argument in store.epochs:
            found = store.epochs[int(argument or 0)]
            store.epochs[found.found.number] = Seen(found.found, False)  # early or late: etcd's clock is its own
        elif what == "new leader":
            epochs, store.found_at = Epochs(NAME, G), {}
        store.act(epochs)
    for _ in range(3):
        store.epochs = {number: Seen(seen.found, False) for number, seen in store.epochs.items()}
        store.now += G
        store.act(epochs)
    done = [seen.found.create_revision for seen in store.epochs.values() if seen.found.record.done]
    assert not store.tombstone or max(done) > store.tombstone
