"""Health for whoever comes from outside: on every address there is; and what makes a sidecar degraded is told once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs

from leasehold.sidecar import faces
from leasehold.sidecar.degradation import LOOKS_BEFORE_TELLING, Degradation
from leasehold.sidecar.faces import every_address


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as it:
        yield it


def test_every_family_there_is_gets_the_same_port(stack: ExitStack) -> None:
    bound = [stack.enter_context(sock) for sock in every_address(0)]
    assert len({sock.getsockname()[1] for sock in bound}) == 1
    assert bound[0].family == socket.AF_INET


def test_a_family_that_this_machine_lacks_is_left_out(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_six(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(faces.socket, "socket", without_six)
    [only] = every_address(0)
    stack.enter_context(only)
    assert only.family == socket.AF_INET


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_bound(stack: ExitStack) -> None:
    taken = stack.enter_context(socket.socket())
    taken.bind(("0.0.0.0", 0))
    taken.listen()
    with pytest.raises(OSError, match="already in use"):
        every_address(taken.getsockname()[1])


class Gauge:
    def __init__(self) -> None:
        self.seen: list[bool] = []

    def degraded_is(self, degraded: bool) -> None:
        self.seen.append(degraded)


def test_degradation_is_told_once_when_it_lasts_and_once_when_it_is_over() -> None:
    reasons, gauge = {"etcd": "away"}, Gauge()
    degradation = Degradation(lambda: reasons, gauge)
    with capture_logs() as told:
        degradation.look()
        assert told == [], "what is just being attached is no news"
        for _ in range(LOOKS_BEFORE_TELLING * 2):
            degradation.look()
        reasons.clear()
        for _ in range(3):
            degradation.look()
    assert [one["event"] for one in told] == ["degraded", "recovered"]
    assert told[0]["reasons"] == {"etcd": "away"}
    assert (gauge.seen[0], gauge.seen[-1]) == (True, False)
