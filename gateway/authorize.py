"""Who may see what: one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chipmunk.credentials import Caller
from chipmunk.links import Grant


class Outcome(Enum):
    """What nginx is told: serve it, 401, or the one 404."""

    ALLOWED = "allowed"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Viewer:
    """A caller together with the flows that they are a member of."""

    caller: Caller
    flow_ids: frozenset[int] = frozenset()


def is_public(grant: Grant, now: float) -> bool:
    """Whether anyone may use this link, whatever credential comes along. `now` is Unix time."""
    if grant.owner_suspended or _expired(grant, now):
        return False
    return grant.audience == "anyone" or (grant.audience == "standing" and grant.public)


def is_opened(grant: Grant, now: float) -> bool:
    """Whether whoever has opened this link may use it, whatever credential comes along."""
    return grant.audience == "openers" and not grant.owner_suspended and not _expired(grant, now)


def decide(viewer: Viewer | None, grant: Grant | None, now: float) -> Outcome:
    """The decision, in the order of the contract: public links, then the credential, then this viewer's sight.

    `grant` None stands for a forged, unknown or deleted link alike.
    """
    if grant is not None and is_public(grant, now):
        return Outcome.ALLOWED
    if viewer is None or (viewer.caller.expires_at is not None and viewer.caller.expires_at <= now):
        return Outcome.UNAUTHORIZED
    if grant is None or _expired(grant, now) or grant.app_id != viewer.caller.app_id:
        return Outcome.NOT_FOUND
    return Outcome.ALLOWED if _sees(viewer, grant) else Outcome.NOT_FOUND


def _expired(grant: Grant, now: float) -> bool:
    return grant.expires_at is not None and grant.expires_at <= now


def _sees(viewer: Viewer, grant: Grant) -> bool:
    caller = viewer.caller
    if "view" not in caller.scopes:
        return False
    if caller.kind == "app":
        return True
    if caller.kind != "user" or grant.owner_suspended:
        return False
    if grant.audience == "user":
        return grant.user_id == caller.user_id
    if grant.owner_id == caller.user_id:
        return True
    return grant.audience == "standing" and not grant.flow_ids.isdisjoint(viewer.flow_ids)
