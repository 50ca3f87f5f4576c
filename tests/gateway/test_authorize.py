"""The decision, row by row of the contract's order of checks."""

from __future__ import annotations

from uuid import UUID

import pytest

from chipmunk.credentials import Caller
from chipmunk.links import Grant
from gateway.authorize import Outcome, Viewer, decide

NOW = 1000.0
ALLOWED, UNAUTHORIZED, NOT_FOUND = Outcome.ALLOWED, Outcome.UNAUTHORIZED, Outcome.NOT_FOUND
ID = UUID(int=1)

STANDING = Grant(ID, ID, 1, 10, False, "standing", None, True, None, frozenset({5}), False, "ready", "image/jpeg", "a")
PUBLIC_FLOW = STANDING._replace(public=True)
FOR_OWNER = STANDING._replace(audience="owner")
FOR_ANN = STANDING._replace(audience="user", user_id=11)
FOR_ANYONE = STANDING._replace(audience="anyone")

OWNER = Viewer(Caller("user", 1, 10, "owner"))
ANN = Viewer(Caller("user", 1, 11, "ann"))
MEMBER = Viewer(Caller("user", 1, 12, "member"), frozenset({4, 5}))
BLIND = Viewer(Caller("user", 1, 10, "owner", frozenset({"upload", "manage"})))
GONE = Viewer(Caller("user", 1, 10, "owner", expires_at=NOW))
APP, OTHER_APP = Viewer(Caller("app", 1)), Viewer(Caller("app", 2))
SAME_NUMBERS_OTHER_APP = Viewer(Caller("user", 2, 10, "owner"), frozenset({5}))
OPERATOR = Viewer(Caller("operator", 1, scopes=frozenset()))


@pytest.mark.parametrize(
    ("viewer", "grant", "outcome"),
    [
        (None, FOR_ANYONE, ALLOWED),
        (GONE, FOR_ANYONE, ALLOWED),
        (OTHER_APP, FOR_ANYONE, ALLOWED),
        (None, PUBLIC_FLOW, ALLOWED),
        (None, FOR_ANYONE._replace(expires_at=NOW), UNAUTHORIZED),
        (OWNER, FOR_ANYONE._replace(expires_at=NOW), NOT_FOUND),
        (None, FOR_ANYONE._replace(expires_at=NOW + 1), ALLOWED),
        (None, FOR_ANYONE._replace(owner_suspended=True), UNAUTHORIZED),
        (None, FOR_OWNER._replace(public=True), UNAUTHORIZED),
        (None, None, UNAUTHORIZED),
        (None, STANDING, UNAUTHORIZED),
        (GONE, STANDING, UNAUTHORIZED),
        (OWNER, None, NOT_FOUND),
        (APP, None, NOT_FOUND),
        (OWNER, STANDING, ALLOWED),
        (MEMBER, STANDING, ALLOWED),
        (ANN, STANDING, NOT_FOUND),
        (BLIND, STANDING, NOT_FOUND),
        (SAME_NUMBERS_OTHER_APP, STANDING, NOT_FOUND),
        (OWNER, FOR_OWNER, ALLOWED),
        (MEMBER, FOR_OWNER, NOT_FOUND),
        (OWNER, FOR_OWNER._replace(expires_at=NOW), NOT_FOUND),
        (ANN, FOR_ANN, ALLOWED),
        (OWNER, FOR_ANN, NOT_FOUND),
        (MEMBER, FOR_ANN, NOT_FOUND),
        (APP, STANDING, ALLOWED),
        (APP, FOR_ANN, ALLOWED),
        (APP, STANDING._replace(owner_suspended=True), ALLOWED),
        (OTHER_APP, STANDING, NOT_FOUND),
        (OWNER, STANDING._replace(owner_suspended=True), NOT_FOUND),
        (MEMBER, STANDING._replace(owner_suspended=True), NOT_FOUND),
        (OPERATOR, STANDING, NOT_FOUND),
    ],
)
def test_decide(viewer: Viewer | None, grant: Grant | None, outcome: Outcome) -> None:
    assert decide(viewer, grant, NOW) is outcome
