"""Shapes of the audit log, and what of it each call leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from chipmunk.operations.shapes import Id, Name


class AuditActor(BaseModel):
    kind: Literal["operator", "app", "user", "system"]
    user: Name | None = Field(description="Of an acting user, while there is one; to users their own name alone.")
    session: Id | None = Field(description="The handle of the session that it was done in; it opens nothing.")
    key: Id | None = Field(description="The handle of the API key that it was done with; to users null.")


class AuditEntry(BaseModel):
    """Something that was done."""

    id: str
    at: datetime
    action: str
    actor: AuditActor
    user: Name | None = Field(description="Whose account or media it was done to, while there is such a user.")
    media: Id | None
    link: Id | None
    flow: Name | None
    request: str | None = Field(description="`X-Request-Id` of the call; a job has none.")
    changes: dict[str, Any] = Field(description="What the action says beyond this; see the reference.")


# The actions of each call that changes something: of all that are not GET, and of some that are.
ACTIONS_OF: dict[str, tuple[str, ...]] = {
    "put_user": ("user.made", "user.changed"),
    "delete_user": ("user.deleted", "media.deleted"),
    "create_session": ("session.made",),
    "delete_session": ("session.ended",),
    "delete_sessions": ("session.ended",),
    "enter": ("session.entered",),
    "upload": ("media.uploaded",),
    "upload_raw": ("media.uploaded",),
    "delete_media": ("media.deleted",),
    "change_media": ("media.changed",),
    "approve_media": ("media.approved",),
    "share": ("media.shared",),
    "edit_media": ("media.uploaded",),
    "save_edited": ("media.uploaded",),
    "trash_media": ("media.trashed",),
    "restore_media": ("media.restored",),
    "append_upload": ("media.uploaded",),
    "add_img": ("job.started", "media.uploaded"),
    "classify_images": ("job.started",),
    "start_images_job": ("job.started", "media.uploaded"),
    "upload_complete": ("media.uploaded",),
    "create_link": ("link.made",),
    "delete_links": ("link.revoked",),
    "delete_link": ("link.revoked",),
    "put_flow": ("flow.made", "flow.changed"),
    "delete_flow": ("flow.deleted",),
    "put_flow_media": ("flow.media_added",),
    "delete_flow_media": ("flow.media_removed",),
    "put_member": ("member.set",),
    "delete_member": ("member.removed",),
    "put_flow_backends": ("flow.changed",),
    "move_flow": ("flow.moved",),
    "cancel_job": ("job.cancelled",),
    "retry_job": ("job.retried",),
    "put_webhook": ("webhook.made", "webhook.changed"),
    "delete_webhook": ("webhook.deleted",),
    "rotate_webhook": ("webhook.rotated",),
    "put_backend": ("backend.made", "backend.changed"),
    "delete_backend": ("backend.changed", "backend.deleted"),
    "scrub_backend": ("backend.scrubbed",),
    "put_app": ("app.made", "app.changed"),
    "delete_app": ("app.deleted",),
    "create_key": ("key.made",),
    "rotate_key": ("key.rotated",),
    "delete_key": ("key.revoked",),
}

# Calls that are not GET and leave nothing, and why.
UNNOTED: dict[str, str] = {
    "create_variant": "stores an address alone",
    "delete_variant": "takes an address alone",
    "tus_options": "changes nothing",
    "upload_options": "changes nothing",
    "upload_offset": "changes nothing",
    "create_upload": "what is begun is noted once it is a media",
    "delete_upload": "what it ends was never a media",
    "send_direct": "what is sent is noted once it is a media",
    "images_exist": "changes nothing",
    "images_by_name": "changes nothing",
    "upload_metrics": "changes nothing of anybody's",
    "browser_results": "keeps nothing but what is found here",
    "unsubscribe": "is done by who is nobody here",
    "open_link": "is a view, and views are not noted",
    "test_webhook": "sends a ping",
    "retry_delivery": "tells what was to be told",
    "retry_deliveries": "tells what was to be told",
}
