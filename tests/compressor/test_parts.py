from __future__ import annotations

from chipmunk.ids import new_id
from compressor.parts import Settled


def test_a_settled_ticket_is_known_once() -> None:
    settled, ticket = Settled(), new_id()
    settled.add(ticket)
    assert settled.taken(ticket)
    assert not settled.taken(ticket)
    assert not settled.taken(new_id())


def test_tickets_that_nobody_asks_for_are_forgotten_oldest_first() -> None:
    settled, tickets = Settled(most=2), [new_id() for _ in range(3)]
    for ticket in tickets:
        settled.add(ticket)
    assert [settled.taken(ticket) for ticket in tickets] == [False, True, True]
