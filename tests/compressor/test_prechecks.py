from __future__ import annotations

from dataclasses import replace

import pytest

from chipmunk.credentials import Presented
from chipmunk.ids import new_id
from chipmunk.posting import Posting
from compressor.asking import Asking, Fields
from compressor.prechecks import FRESH_SECONDS, Precheck, Prechecks

ASKING = Asking(
    method="PUT",
    door="raw",
    content_type="image/jpeg",
    disposition=b"",
    length=1000,
    fields=Fields("ann", ("general",), None),
    given=Presented("cmk_1", by_cookie=False),
    origin=None,
    fetch_site=None,
    key=None,
    wait=None,
)
POSTING = Posting(1, 2, [])


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def kept(clock: Clock, most: int = 9) -> tuple[Prechecks, Precheck]:
    return Prechecks(most, clock), Precheck(ASKING, POSTING, 3000, clock.now)


def test_it_speaks_once_for_the_upload_that_follows() -> None:
    prechecks, found = kept(Clock())
    ticket, upload = new_id(), replace(ASKING, fields=Fields("ann", ("general",), "a.jpg"), length=0, spool="/s/1")
    prechecks.keep(ticket, found)
    assert prechecks.take(new_id(), upload) is None
    assert prechecks.take(ticket, upload) is found
    assert prechecks.take(ticket, upload) is None


@pytest.mark.parametrize(
    "other",
    [
        {"given": Presented("cmk_2", by_cookie=False)},
        {"given": Presented("cmk_1", by_cookie=True)},
        {"fields": Fields("bob", ("general",), None)},
        {"fields": Fields("ann", ("general", "secret"), None)},
        {"origin": "https://evil.example"},
        {"fetch_site": "cross-site"},
        {"method": "POST"},
    ],
)
def test_it_says_nothing_of_an_upload_that_asks_for_something_else(other: dict[str, object]) -> None:
    prechecks, found = kept(Clock())
    ticket = new_id()
    prechecks.keep(ticket, found)
    assert prechecks.take(ticket, replace(ASKING, **other)) is None  # type: ignore[arg-type]


def test_it_is_true_for_a_second() -> None:
    clock = Clock()
    prechecks, found = kept(clock)
    early, late = new_id(), new_id()
    prechecks.keep(early, found)
    prechecks.keep(late, found)
    clock.now += FRESH_SECONDS * 0.99
    assert prechecks.take(early, ASKING) is found
    clock.now += FRESH_SECONDS * 0.02
    assert prechecks.take(late, ASKING) is None


def test_one_whose_request_has_ended_is_forgotten_and_of_too_many_the_oldest() -> None:
    prechecks, found = kept(Clock(), most=2)
    tickets = [new_id() for _ in range(4)]
    for ticket in tickets:
        prechecks.keep(ticket, found)
    prechecks.forget(tickets[3])
    assert [prechecks.take(ticket, ASKING) is found for ticket in tickets] == [False, False, True, False]
