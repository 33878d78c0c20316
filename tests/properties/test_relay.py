"""A whole link between two fake transports: with the observer or without, bytes go through unchanged and in order,
whenever the registrar answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.relay import Link
from leasehold.sidecar.capture.sides import OwnerSide
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import CountingMetrics, ManualRegistrar, Rules, rules
from tests.properties.test_http1 import CONVERSATIONS, Conversation, cut

VIEW = Rules(Matcher.compile(rules()))


class Wire:
    """A transport that keeps what is written; it is full when told to be."""

    def __init__(self) -> None:
        self.written = b""
        self.ended = False
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.ended
        assert not self.closed
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: Any) -> None: ...


class Keeper:
    """A ``Links`` that connects nothing."""

    def opened(self, link: Link) -> None: ...

    def closed(self, link: Link) -> None: ...

    def run(self, link: Link, to: Address) -> asyncio.Task[None]:
        raise AssertionError


async def converse(
    conversation: Conversation,
    requests: Iterable[bytes],
    responses: Iterable[bytes],
    *,
    observed: bool,
    answers: list[bool],
) -> ManualRegistrar:
    registrar = ManualRegistrar()
    link = Link(RelaySettings(registrar, VIEW, CountingMetrics()), Keeper(), Address("blobs.test", 80))
    if not observed:
        link.observer = None
    app, owner = Wire(), Wire()
    link.app.connection_made(app)  # type: ignore[arg-type]
    side = OwnerSide(link, link.to_app)
    side.connection_made(owner)  # type: ignore[arg-type]

    async def answer(*, all_of_them: bool) -> None:
        for future in registrar.futures:
            if not future.done() and (all_of_them or not answers or answers.pop()):
                future.set_result(Outcome.REGISTERED)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    for chunk in requests:
        link.app.data_received(chunk)
        assert conversation.requests.startswith(owner.written)
        await answer(all_of_them=False)
    for _ in range(4):
        await answer(all_of_them=True)
    for chunk in responses:
        side.data_received(chunk)
        assert conversation.responses.startswith(app.written)
        await answer(all_of_them=False)
    if conversation.closes:
        side.eof_received()
    for _ in range(4):
        await answer(all_of_them=True)
    assert (owner.written, app.written) == (conversation.requests, conversation.responses)
    assert app.ended == conversation.closes
    assert app.reading
    assert owner.reading
    link.app_lost(None)
    return registrar


def seen(conversation: Conversation) -> list[str]:
    return [what for what in conversation.seen if what.startswith("b-")]


@pytest.mark.parametrize("observed", [True, False])
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)
async def test_a_cut_anywhere_changes_no_byte(conversation: Conversation, observed: bool) -> None:
    for at in range(1, max(len(conversation.requests), len(conversation.responses))):
        requests, responses = cut(conversation.requests, [at]), cut(conversation.responses, [at])
        registrar = await converse(conversation, requests, responses, observed=observed, answers=[])
        assert registrar.ids == (seen(conversation) if observed else [])


@settings(max_examples=150)
@given(
    st.sampled_from(CONVERSATIONS),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.lists(st.booleans(), max_size=20),
)
def test_whenever_the_registrar_answers_the_order_stays(
    conversation: Conversation, first: list[int], second: list[int], answers: list[bool]
) -> None:
    requests, responses = cut(conversation.requests, first), cut(conversation.responses, second)
    registrar = asyncio.run(converse(conversation, requests, responses, observed=True, answers=answers))
    assert registrar.ids == seen(conversation)
