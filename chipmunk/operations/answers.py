"""Nouns as answers show them, in the shapes of `models`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chipmunk.flows import Flow
from chipmunk.jobs import Job
from chipmunk.links import Link
from chipmunk.media import Media
from chipmunk.signing import Seal
from chipmunk.users import User

Answer = dict[str, Any]

OWNERS_OWN = ("reason", "total_bytes", "sha256", "job")


def when(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def hexed(identifier: UUID | None) -> str | None:
    return None if identifier is None else identifier.hex


def user(found: User) -> Answer:
    return {
        "id": found.id,
        "quota_bytes": found.quota_bytes,
        "used_bytes": found.used_bytes,
        "reserved_bytes": found.reserved_bytes,
        "media_count": found.media_count,
        "suspended": found.suspended,
        "created_at": when(found.created_at),
    }


def media(found: Media, links: Seal) -> Answer:
    """The media as the app and its owner see it."""
    return {
        "id": found.id.hex,
        "owner": found.owner,
        "kind": found.kind,
        "status": found.state,
        "reason": found.reason,
        "mime": found.mime,
        "filename": found.filename,
        "width": found.width,
        "height": found.height,
        "bytes": found.bytes,
        "total_bytes": found.total_bytes,
        "sha256": found.sha256.hex(),
        "placeholder": None if found.placeholder is None else b64encode(found.placeholder).decode(),
        "rungs": found.rungs,
        "tags": found.tags,
        "flows": found.flows,
        "url": None if found.token is None else f"/{links.sign(found.token)}/",
        "created_at": when(found.created_at),
        "job": hexed(found.job_id),
    }


def shared_media(found: Media, links: Seal, flows: Set[str]) -> Answer:
    """The media as another member of its flows sees it, who is in `flows`.

    The file name stays: whoever may have the original gets it with every download.
    """
    answer = {name: value for name, value in media(found, links).items() if name not in OWNERS_OWN}
    return {**answer, "flows": [f for f in found.flows if f in flows]}


def link(found: Link, links: Seal) -> Answer:
    return {
        "id": found.id.hex,
        "url": f"/{links.sign(found.token)}/",
        "media": found.media_id.hex,
        "audience": f"user:{found.user}" if found.audience == "user" else found.audience,
        "original": found.original,
        "expires_at": when(found.expires_at),
        "created_at": when(found.created_at),
    }


def flow(found: Flow) -> Answer:
    return {
        "id": found.id,
        "square": found.square,
        "visibility": found.visibility,
        "posting": found.posting,
        "description": found.description,
        "created_at": when(found.created_at),
    }


def job(found: Job) -> Answer:
    return {
        "id": found.id.hex,
        "kind": found.kind,
        "state": found.state,
        "attempts": found.attempts,
        "reason": found.reason,
        "media": hexed(found.media_id),
        "created_at": when(found.created_at),
        "started_at": when(found.started_at),
        "finished_at": when(found.finished_at),
    }
