"""How many of a crew's places one lane may have, so that no owner, dead or greedy, takes them all. Pure.

- No lane may have more in hand than is left free: whoever comes, however late, finds room.
- No lane may have more than its share, by the number of lanes that were served lately. A dead owner gives back nothing
  for as long as its calls may take; without this it would win every place that falls free for a moment.
- An eighth is anybody's, however many others there are: most of them want little.
"""

from __future__ import annotations

from leasehold.protocol.names import Instant

LATELY_SECONDS = 5.0


class Shares:
    """The places of one crew."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._served_at: dict[str, Instant] = {}

    def may_take(self, lane: str, in_hand: int, busy: int, now: Instant) -> bool:
        """``in_hand``: of this lane; ``busy``: of all."""
        free = self._places - busy
        if in_hand < min(free, self._places // 8):
            return True
        self._served_at = {lane: at for lane, at in self._served_at.items() if now - at <= LATELY_SECONDS}
        sharers = len(self._served_at.keys() | {lane})
        return in_hand < min(free, max(1, self._places // (sharers + 1)))

    def took(self, lane: str, now: Instant) -> None:
        """A lane was served."""
        self._served_at[lane] = now
