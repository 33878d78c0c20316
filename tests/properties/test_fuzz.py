"""A bounded dose of ``tests.fuzz``, always the same cases; and that its laws would notice."""

from __future__ import annotations

import pytest

from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.observer import Observer
from tests.fuzz.__main__ import run
from tests.fuzz.laws import Broken, hold
from tests.fuzz.mutation import case
from tests.recorded.exchanges import Turn

CASES = 4000
TEST_CASES = 8
GET = b"GET /v1/blobs/b-1 HTTP/1.1\r\nHost: blobs.test\r\n\r\n"


@pytest.mark.parametrize("part", range(TEST_CASES))
async def test_no_change_to_an_exchange_breaks_a_law(part: int) -> None:
    for seed in range(part, CASES, TEST_CASES):
        try:
            await run(seed)
        except Exception as error:
            raise AssertionError(f"again: python -m tests.fuzz --only {seed}") from error


def test_a_case_is_always_the_same() -> None:
    assert [case(seed) for seed in range(50)] == [case(seed) for seed in range(50)]


async def test_enough_of_them_are_followed_and_enough_are_not() -> None:
    came_to = [await run(seed) for seed in range(300)]
    assert sum("something seen" in what for what in came_to) > 30
    assert sum("gave-up" in what for what in came_to) > 30
    assert len({what.partition(",")[0] for what in came_to}) >= 8


# --- the laws can be broken ---------------------------------------------------------------------------------------


async def test_a_changed_byte_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Observer, "request", lambda self, data: [data.replace(b"b-1", b"b-2")])
    with pytest.raises(Broken, match="something else"):
        await hold("blobs", [Turn(True, GET)], flooded=False)


async def test_a_byte_withheld_while_others_go_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def swallow(self: Observer, data: bytes) -> list[bytes]:
        if not self.withheld_request:
            self.withheld_request = data[-1:]
            return [data[:-1]]
        return [data]

    monkeypatch.setattr(Observer, "request", swallow)
    with pytest.raises(Broken, match="something else"):
        await hold("blobs", [Turn(True, GET)], flooded=True)


async def test_bytes_withheld_at_the_end_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Observer, "response", lambda self, data: [])
    with pytest.raises(Broken, match="never came out"):
        await hold("blobs", [Turn(True, GET), Turn(False, b"HTTP/1.1 200 OK\r\n\r\n")], flooded=False)


async def test_memory_that_grows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def hoard(self: Observer, data: bytes) -> list[bytes]:
        self.withheld_request += data
        return []

    monkeypatch.setattr(Observer, "request", hoard)
    with pytest.raises(Broken, match=r"kept back|withholds too much"):
        await hold("blobs", [Turn(True, b"x" * 60_000)] * 9, flooded=False)


async def test_a_crash_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http2Observer, "request", lambda self, data: 1 // 0)
    with pytest.raises(Broken, match="crashed"):
        await hold("grpc", [Turn(True, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")], flooded=False)
