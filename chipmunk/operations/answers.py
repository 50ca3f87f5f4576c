"""Nouns as answers show them, in the shapes of `models`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chipmunk import colours, renditions
from chipmunk.apps import LIMITS, App
from chipmunk.audit import Entry
from chipmunk.backend_fields import OPTIONS
from chipmunk.backends import LOCAL, Backend, Placed
from chipmunk.copies import Copy
from chipmunk.deliveries import Delivery, Standing
from chipmunk.flows import Flow
from chipmunk.images_jobs import Image
from chipmunk.jobs import Job
from chipmunk.keys import Key
from chipmunk.links import Link
from chipmunk.media import Media
from chipmunk.signing import Seal
from chipmunk.uploads import Upload
from chipmunk.users import User
from chipmunk.webhooks import Webhook

Answer = dict[str, Any]

OWNERS_OWN = (
    "reason",
    "total_bytes",
    "sha256",
    "origin",
    "meta",
    "notes",
    "unsafe",
    "source",
    "edits",
    "job",
    "trashed_at",
    "purge_at",
)


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


def app(found: App) -> Answer:
    standing = ("used_bytes", "reserved_bytes", "media_count", "user_count")
    told = {name: getattr(found, name) for name in ("id", *LIMITS, *standing)}
    return {**told, "created_at": when(found.created_at)}


def key(found: Key, text: str | None = None) -> Answer:
    return {
        "id": found.id.hex,
        "scopes": found.scopes,
        "description": found.description,
        "key": text,
        "from_settings": found.from_settings,
        "expires_at": when(found.expires_at),
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
        "title": found.title or found.filename,
        "notes": found.notes,
        "tags": found.tags,
        "classes": found.classes,
        "unsafe": found.unsafe,
        "review": found.review,
        "width": found.width,
        "height": found.height,
        "bytes": found.bytes,
        "total_bytes": found.total_bytes,
        "sha256": found.sha256.hex(),
        "placeholder": None if found.placeholder is None else b64encode(found.placeholder).decode(),
        "dominant_colour": colours.shown(found.palette[0]) if found.palette else None,
        "palette": [colours.shown(colour) for colour in found.palette or []],
        "rungs": renditions.rungs(found.rungs),
        "music": found.music,
        "provenance": found.provenance,
        "motion": found.motion,
        "origin": found.origin,
        "meta": found.meta,
        "source": hexed(found.source),
        "edits": found.edits,
        "flows": found.flows,
        "url": None if found.token is None else f"/{links.sign(found.token)}/",
        "created_at": when(found.created_at),
        "job": hexed(found.job_id),
        "trashed_at": when(found.trashed_at),
        "purge_at": when(found.purge_at),
    }


def shared_media(found: Media, links: Seal, flows: Set[str]) -> Answer:
    """The media as another member of its flows sees it, who is in `flows`.

    The file name stays: whoever may have the original gets it with every download.
    """
    answer = {name: value for name, value in media(found, links).items() if name not in OWNERS_OWN}
    return {**answer, "flows": [f for f in found.flows if f in flows]}


def stored(rows: Sequence[Copy], backends: Mapping[int, Backend]) -> Answer:
    """Where a media lies, and the CID under which anyone can have it, where there is one."""
    places = [(c.backend, c.role, c.state) for c in rows] or [(LOCAL, "primary", "stored")]
    return {
        "stored": [{"backend": backends[b].id, "role": role, "state": state} for b, role, state in places],
        "cid": next((c.cid for c in rows if c.cid), None),
    }


def link(found: Link, links: Seal) -> Answer:
    signed = links.sign(found.token)
    audience = {"user": f"user:{found.user}", "openers": "anyone"}.get(found.audience, found.audience)
    return {
        "id": found.id.hex,
        "url": f"/{signed}/",
        "page": f"/share/{signed}" if audience == "anyone" else None,
        "media": found.media_id.hex,
        "audience": audience,
        "original": found.original,
        "password": found.password,
        "max_views": found.max_views,
        "views": found.views,
        "expires_at": when(found.expires_at),
        "created_at": when(found.created_at),
    }


def entry(found: Entry, viewer: int | None) -> Answer:
    """A row of the audit log; another user who acted has no name to a user, the `viewer`."""
    told = viewer is None or viewer == found.by
    return {
        "id": str(found.id),
        "at": when(found.at),
        "action": found.action,
        "actor": {
            "kind": found.actor,
            "user": found.by_name if told else None,
            "session": hexed(found.session) if told else None,
            "key": hexed(found.key) if viewer is None else None,
        },
        "user": found.user,
        "media": hexed(found.media),
        "link": hexed(found.link),
        "flow": found.flow,
        "request": found.request,
        "changes": found.changes,
    }


def placed(found: Iterable[Placed]) -> list[Answer]:
    return [{"backend": one.backend, "role": one.role} for one in found]


def flow(found: Flow, backends: Iterable[Placed]) -> Answer:
    return {
        "id": found.id,
        "square": found.square,
        "visibility": found.visibility,
        "posting": found.posting,
        "description": found.description,
        "unsafe": found.unsafe,
        "backends": placed(backends),
        "created_at": when(found.created_at),
    }


def backend(found: Backend, copies: tuple[int, int]) -> Answer:
    """`copies`: how many lie there, and how many of them still have to go."""
    return {
        "id": found.id,
        "kind": found.kind,
        "url": found.url,
        **{option: found.options.get(option, default) for option, default in OPTIONS[found.kind].items()},
        "role": found.role,
        "choosable": found.choosable,
        "status": {None: "unknown", True: "ok", False: "down"}[found.up],
        "reason": found.reason,
        "checked_at": when(found.checked_at),
        "copies": copies[0],
        "deletions_waiting": copies[1],
        "created_at": when(found.created_at),
    }


def resumable(found: Upload) -> Answer:
    return {
        "id": found.id.hex,
        "state": found.state,
        "offset": found.offset,
        "length": found.length,
        "expires_at": when(found.expires_at),
        "media": hexed(found.media_id),
        "problem": found.problem,
    }


def job_image(found: Image) -> Answer:
    return {
        "number": found.position,
        "media": found.media_id.hex,
        "state": found.state,
        "reason": found.reason,
        "source": found.source,
        "page": found.page,
    }


def job(found: Job) -> Answer:
    return {
        "id": found.id.hex,
        "kind": found.kind,
        "state": found.state,
        "attempts": found.attempts,
        "reason": found.reason,
        "media": hexed(found.media_id),
        "progress": found.progress,
        "created_at": when(found.created_at),
        "started_at": when(found.started_at),
        "finished_at": when(found.finished_at),
    }


def webhook(found: Webhook, standing: Standing, secret: str | None = None) -> Answer:
    """With its `secret` where that is to be told."""
    failure = {"at": when(found.last_failure_at), "error": found.last_error, "status": found.last_status}
    return {
        "id": found.id,
        "url": found.url,
        "events": found.events,
        "enabled": found.enabled,
        "gone": found.gone,
        **({} if secret is None else {"secret": secret}),
        "rotating_until": when(found.before_until),
        "pending": standing.pending,
        "dead": standing.dead,
        "oldest_pending_at": when(standing.oldest_at),
        "last_success_at": when(found.last_success_at),
        "last_failure": None if found.last_failure_at is None else failure,
        "failing_since": when(found.failing_since),
        "created_at": when(found.created_at),
    }


def delivery(found: Delivery) -> Answer:
    return {
        "id": found.id.hex,
        "type": found.type,
        "subject": hexed(found.subject),
        "data": found.data,
        "at": when(found.at),
        "state": found.state,
        "attempts": found.attempts,
        "next_at": when(found.next_at) if found.state == "pending" else None,
        "tried_at": when(found.tried_at),
        "error": found.error,
        "status": found.status,
    }
