"""One watch as etcd tells it, over all its connections: responses in, batches out. Pure.

Laws:

- etcd never splits a revision over two responses (we do not ask for fragments), and a large response is cut here
  between revisions only.
- ``resume`` is the revision to ask for on the next connection. It advances with what was handed out and with nothing
  else, so nothing is missed; what is older than ``resume`` is dropped, so nothing comes twice.
- Progress that etcd announces by itself is ordered with the events. An *answer* to a progress request was not before
  etcd 3.4.25 and 3.5.8 (it could overtake events, etcd#15220): from older members it proves life and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leasehold.protocol.errors import Compacted, StoreError
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.key_value import key_value
from leasehold.protocol.etcd.translation import refusal
from leasehold.protocol.names import Revision
from leasehold.protocol.store import Change, Event, WatchBatch

_ANSWER_ID = -1
"""The watch id of an answer to a progress request: it concerns every watch of its stream."""

BATCH_EVENTS = 2000
"""A batch is cut at the first end of a revision after so many events, to keep the event loop responsive."""

_PUT = Change.PUT
_DELETE = Change.DELETE


def answers_are_ordered(version: str) -> bool:
    """Whether a member of this version orders its answers to progress requests with the events. False in doubt."""
    try:
        numbers = tuple(int(part) for part in version.partition("-")[0].split(".")[:3])
    except ValueError:
        return False
    return numbers >= (3, 5, 8) or (3, 4, 25) <= numbers < (3, 5, 0)


class Assembly:
    """What is known of one watch. ``start`` 0 means: from now on."""

    def __init__(self, start: Revision) -> None:
        self.resume = start
        self.created = False
        self._endpoint = ""
        self._trusts_answers = False

    def on_connected(self, endpoint: str, version: str) -> None:
        """A new connection, to a member of this version."""
        self.created = False
        self._endpoint = endpoint
        self._trusts_answers = answers_are_ordered(version)

    def on_response(self, response: rpc.WatchResponse) -> Iterator[WatchBatch]:
        """The batches of this response, made as they are asked for. Raises ``Compacted`` or what the end means."""
        if response.canceled:
            raise self._ended(response)
        if response.created:
            self.created = True
            if self.resume == 0:
                self.resume = Revision(response.header.revision + 1)
        elif response.events:
            yield from self._batches(response.events)
        else:
            if response.watch_id != _ANSWER_ID or self._trusts_answers:
                self.resume = max(self.resume, Revision(response.header.revision + 1))
            yield WatchBatch(Revision(self.resume - 1))

    def _batches(self, events: Sequence[rpc.Event]) -> Iterator[WatchBatch]:
        # The hot loop: 100,000 events a second pass here.
        resume = self.resume
        revision = 0
        batch: list[Event] = []
        for event in events:
            item = event.kv
            of_revision = item.mod_revision
            if of_revision < resume:
                continue
            if of_revision != revision:
                if len(batch) >= BATCH_EVENTS:
                    yield self._handed_out(batch, revision)
                    batch = []
                revision = of_revision
            batch.append(Event(_DELETE if event.type else _PUT, key_value(item)))
        if batch:
            yield self._handed_out(batch, revision)

    def _handed_out(self, batch: list[Event], revision: int) -> WatchBatch:
        self.resume = Revision(revision + 1)
        return WatchBatch(Revision(revision), batch)

    def _ended(self, response: rpc.WatchResponse) -> StoreError:
        if response.compact_revision:
            text = f"Watch at {self._endpoint}: revision {self.resume} is compacted"
            return Compacted(text, response.compact_revision)
        return refusal(response.cancel_reason, call="Watch", endpoint=self._endpoint)
