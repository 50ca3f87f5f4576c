"""How a media looks to its callers."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from chipmunk.media import Media
from chipmunk.signing import Seal


def media_answer(media: Media, links: Seal) -> dict[str, Any]:
    """The media object of the API, for someone who may use its standing link."""
    return {
        "id": media.id.hex,
        "owner": media.owner,
        "kind": media.kind,
        "status": media.state,
        "reason": media.reason,
        "mime": media.mime,
        "filename": media.filename,
        "width": media.width,
        "height": media.height,
        "bytes": media.bytes,
        "total_bytes": media.total_bytes,
        "sha256": media.sha256.hex(),
        "placeholder": None if media.placeholder is None else b64encode(media.placeholder).decode(),
        "rungs": media.rungs,
        "tags": media.tags,
        "flows": media.flows,
        "url": None if media.token is None else f"/{links.sign(media.token)}/",
        "created_at": media.created_at.isoformat(),
        "job": None if media.job_id is None else media.job_id.hex,
    }
