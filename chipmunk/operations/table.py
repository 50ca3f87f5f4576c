"""The table of operations. A route that is not here, or an operation without a route, fails a test."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel

from chipmunk.operations import models as m


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `side` is who answers it; `codes` are the errors beyond those that every call may have."""

    method: str
    path: str
    name: str
    who: str
    summary: str
    answer: type[BaseModel] | None = None
    takes: type[BaseModel] | None = None
    status: int = 200
    side: str = "api"
    is_list: bool = False
    query: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    bodies: tuple[str, ...] = field(default=("application/json",))


PAGED = ("cursor", "limit")
UPLOAD_CODES = (
    "length_required", "too_large", "quota_exceeded", "unsupported_type", "empty_file", "corrupt_image",
    "too_many_pixels", "decode_failed", "unknown_flow", "unknown_user", "mismatch", "upload_running",
    "idempotency_key_reused", "busy", "disk_full", "unprocessable",
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    Operation("PUT", "/v1/users/{user}", "put_user", "app", "Make or change a user", m.User, m.UserFields, codes=("unprocessable",)),
    Operation("GET", "/v1/users/{user}", "get_user", "app, self", "A user and what stands against the quota", m.User),
    Operation("GET", "/v1/users", "list_users", "app", "The app's users, by name", m.User, is_list=True, query=PAGED),
    Operation("DELETE", "/v1/users/{user}", "delete_user", "app", "Delete a user and all they stored", m.JobStarted, status=202),
    Operation("DELETE", "/v1/users/{user}/sessions", "delete_sessions", "app, self", "Log a user out everywhere", status=204),
    Operation("POST", "/v1/sessions", "post_session", "app", "Log a user in", m.Session, m.SessionFields, 201, codes=("unknown_user", "unprocessable")),
    Operation("DELETE", "/v1/sessions/{session}", "delete_session", "app, self", "Log out", status=204),
    Operation("POST", "/v1/media", "post_media", "app, user (upload)", "Upload by form or JSON", m.Media, m.Upload, 201, "compressor", query=("user", "flow", "filename"), codes=UPLOAD_CODES, bodies=("application/json", "multipart/form-data")),
    Operation("PUT", "/v1/media", "put_media", "app, user (upload)", "Upload a raw body", m.Media, None, 201, "compressor", query=("user", "flow", "filename"), codes=UPLOAD_CODES, bodies=("application/octet-stream",)),
    Operation("GET", "/v1/media", "list_media", "app, owner, flow members", "Media, newest first", m.Media, is_list=True, query=("user", "flow", *PAGED)),
    Operation("GET", "/v1/media/{media}", "get_media", "app, owner, flow members", "A media", m.Media),
    Operation("DELETE", "/v1/media/{media}", "delete_media", "app, owner", "Delete a media, every byte of it", None, None, 204, "compressor"),
    Operation("POST", "/v1/media/{media}/links", "post_link", "app, owner", "Make a link", m.Link, m.LinkFields, 201, codes=("unknown_user", "unprocessable")),
    Operation("GET", "/v1/media/{media}/links", "list_links", "app, owner", "The media's links", m.Link, is_list=True),
    Operation("DELETE", "/v1/media/{media}/links", "delete_links", "app, owner", "Revoke all links; the standing one gets a new address", status=204),
    Operation("DELETE", "/v1/links/{link}", "delete_link", "app, owner", "Revoke a link", status=204),
    Operation("PUT", "/v1/flows/{flow}", "put_flow", "app", "Make or change a flow", m.Flow, m.FlowFields, codes=("unprocessable",)),
    Operation("GET", "/v1/flows/{flow}", "get_flow", "app, members", "A flow", m.Flow),
    Operation("GET", "/v1/flows", "list_flows", "app", "The app's flows, by name", m.Flow, is_list=True, query=PAGED),
    Operation("DELETE", "/v1/flows/{flow}", "delete_flow", "app", "Delete a flow, none of its media", status=204, codes=("conflict",)),
    Operation("GET", "/v1/flows/{flow}/media", "list_flow_media", "app, members", "What is in a flow, newest first", m.Media, is_list=True, query=PAGED),
    Operation("PUT", "/v1/flows/{flow}/media/{media}", "put_flow_media", "app, editors; owner of the media where they may post", "Add a media to a flow", status=204, codes=("unknown_flow",)),
    Operation("DELETE", "/v1/flows/{flow}/media/{media}", "delete_flow_media", "app, editors, owner of the media", "Take a media out of a flow", status=204),
    Operation("GET", "/v1/flows/{flow}/members", "list_members", "app, flow admin", "A flow's members", m.Member, is_list=True, query=PAGED),
    Operation("PUT", "/v1/flows/{flow}/members/{user}", "put_member", "app, flow admin", "Add a member or change the role", m.Member, m.MemberFields, codes=("unknown_user", "unprocessable")),
    Operation("DELETE", "/v1/flows/{flow}/members/{user}", "delete_member", "app, flow admin", "Take a member out", status=204),
    Operation("GET", "/v1/jobs/{job}", "get_job", "app, starter", "A job's state", m.Job),
    Operation("DELETE", "/v1/jobs/{job}", "delete_job", "app, starter", "Cancel a job", m.Job, codes=("job_not_cancellable",)),
    Operation("GET", "/enter/{entrance}", "enter", "whoever holds the enter_url, once", "Log a browser in and send it on", status=303, query=("next",)),
    Operation("GET", "/healthz", "healthz", "none", "Whether everything behind this address can do its work", m.Health),
    Operation("GET", "/livez", "livez", "none", "The process answers", m.Health),
    Operation("GET", "/openapi.json", "openapi", "none", "This document"),
    Operation("GET", "/docs", "docs", "none", "This document as a page"),
    Operation("GET", "/metrics", "metrics", "operator", "Prometheus metrics"),
)  # fmt: skip
