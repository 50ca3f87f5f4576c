"""What a pre-check found, kept for the upload that follows it at once.

A small body arrives some milliseconds after its pre-check. To ask PostgreSQL for all of it again would say nothing new:
what is revoked ends within two seconds, and these answers live for one. A body that takes longer, or one that comes to
another process, is checked anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from chipmunk.posting import Posting
from compressor.asking import Asking

FRESH_SECONDS = 1.0
MOST = 4096


@dataclass(frozen=True, slots=True)
class Precheck:
    """An upload that may come: what it asked, who may post it where, and the bytes that are reserved for it."""

    asking: Asking
    posting: Posting
    held: int
    asked_at: float

    def speaks_for(self, asking: Asking) -> bool:
        """Whether an upload asks for nothing else, by the same credential and from the same page."""
        return _asked(self.asking) == _asked(asking)


def _asked(asking: Asking) -> tuple[object, ...]:
    fields = asking.fields
    return asking.given, asking.method, asking.origin, asking.fetch_site, fields.user, fields.flows


class Prechecks:
    """The latest of them by ticket. `clock` gives seconds and never goes back."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._found: dict[UUID, Precheck] = {}

    def now(self) -> float:
        return self._clock()

    def keep(self, ticket: UUID, precheck: Precheck) -> None:
        self._found[ticket] = precheck
        if len(self._found) > self._most:
            del self._found[next(iter(self._found))]

    def forget(self, ticket: UUID) -> None:
        """Its request has ended."""
        self._found.pop(ticket, None)

    def take(self, ticket: UUID, asking: Asking) -> Precheck | None:
        """What is still true for this upload; it is forgotten then."""
        found = self._found.pop(ticket, None)
        if found is None or self._clock() >= found.asked_at + FRESH_SECONDS or not found.speaks_for(asking):
            return None
        return found
