"""The table of operations. A route that is not here, or an operation without a route, fails a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from chipmunk import credentials, rates, shares
from chipmunk import errors as e
from chipmunk.bodies import FORM, JSON
from chipmunk.hooks import PluginUnavailable, RefusedByPlugin
from chipmunk.openings import WrongPassword
from chipmunk.operations import apps as a
from chipmunk.operations import editing as d
from chipmunk.operations import gloflow as g
from chipmunk.operations import hooks as h
from chipmunk.operations import mailing, tagging
from chipmunk.operations import models as m
from chipmunk.operations import places as p
from chipmunk.operations import sharing as s
from chipmunk.operations import trail as t

Access = Literal["anyone", "guest", "user", "app", "operator"]
Side = Literal["api", "compressor", "nginx"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call.

    `also` are further statuses of success. `who` is for people; `access` is who gets as far as the handler: a user does with `scope`, where one is needed; a guest may come without a credential.
    `operator`: the operator calls too, of all apps. `problems` are those beyond what `every_problem` adds; `counts` is the rate limit's class.
    """

    name: str
    method: str
    path: str
    summary: str
    who: str
    access: Access = "user"
    scope: credentials.Scope | None = None
    operator: bool = False
    status: int = 200
    also: tuple[int, ...] = ()
    answer: type[BaseModel] | None = None
    a_list: bool = False
    kind: str = "application/json"
    takes: tuple[tuple[str, type[BaseModel] | None], ...] = ()
    query: tuple[str, ...] = ()
    problems: tuple[type[e.Problem], ...] = ()
    side: Side = "api"
    counts: rates.Class = "calls"

    @property
    def body(self) -> type[BaseModel] | None:
        """The shape of its JSON body, where the API reads one."""
        return dict(self.takes).get("application/json")

    @property
    def takes_forms(self) -> bool:
        """Whether a page's form may come in place of JSON; it is then answered by a page."""
        return FORM in dict(self.takes)

    def every_problem(self) -> set[type[e.Problem]]:
        """All that it may answer, what follows from its shape included."""
        found: set[type[e.Problem]] = {e.BadRequest, e.RateLimited, e.Unavailable, e.Problem, *self.problems}
        if self.access != "anyone":
            found |= {e.Unauthorized, e.KeyInBrowser, e.Forbidden}
        if self.access != "anyone" and self.method != "GET":
            found.add(e.CrossSite)
        if self.scope is not None or self.access == "app":
            found.add(e.ScopeMissing)
        if re.search("{", self.path):
            found.add(e.NotFound)
        if self.takes:
            found |= {e.TooLarge, e.Unsupported, e.Unprocessable}
        if "cursor" in self.query:
            found.add(e.BadCursor)
        return found


EDIT: tuple[type[e.Problem], ...] = (
    e.BadEdits, e.QuotaExceeded, e.CorruptImage, e.TooManyPixels, e.DecodeFailed, e.UnknownFlow, e.Conflict, e.UploadRunning,
    e.KeyReused, e.Busy, e.DiskFull,
)  # fmt: skip
PAGE = ("cursor", "limit")
TO = ("user", "flow", "filename")
UPLOAD: tuple[type[e.Problem], ...] = (
    e.LengthRequired, e.QuotaExceeded, e.EmptyFile, e.CorruptImage, e.TooManyPixels, e.DecodeFailed, e.UnknownFlow,
    e.UnknownUser, e.Mismatch, e.UploadRunning, e.KeyReused, e.Busy, e.DiskFull, RefusedByPlugin, PluginUnavailable,
)  # fmt: skip
APP, SELF, SEEN, OWN, ADMIN = "app", "app, self", "app, owner, members of its flows", "app, owner", "app, flow admins"
OPERATOR, STARTER = "operator", "operator, app, whose media it is about or who started it"
PLACING: tuple[type[e.Problem], ...] = (e.UnknownBackend, e.BackendsPinned)

USERS = (
    Operation("put_user", "PUT", "/v1/users/{user}", "Make or change a user", APP, "app", also=(201,), answer=m.User, takes=((JSON, m.UserFields),)),
    Operation("get_user", "GET", "/v1/users/{user}", "A user, and what stands against the quota", SELF, scope="view", answer=m.User),
    Operation("list_users", "GET", "/v1/users", "Users, by name", APP, "app", answer=m.User, a_list=True, query=PAGE),
    Operation("delete_user", "DELETE", "/v1/users/{user}", "Delete a user and everything they stored", APP, "app", status=202, answer=m.JobStarted),
)  # fmt: skip
SESSIONS = (
    Operation("create_session", "POST", "/v1/sessions", "Log a user in", APP, "app", status=201, answer=m.Session, takes=((JSON, m.SessionFields),), problems=(e.UnknownUser,)),
    Operation("delete_session", "DELETE", "/v1/sessions/{session}", "Log out", "app, self (another of their sessions: `manage`)", status=204, problems=(e.ScopeMissing,)),
    Operation("delete_sessions", "DELETE", "/v1/users/{user}/sessions", "Log a user out everywhere, and refuse JWTs issued before now", SELF, scope="manage", status=204),
    Operation("enter", "GET", "/enter/{entrance}", "Log a browser in, once, and send it on", "whoever holds the `enter_url`", "anyone", status=303, also=(200,), kind="text/html", query=("next",)),
)  # fmt: skip
MEDIA = (
    Operation("upload", "POST", "/v1/media", "Upload a file in a form or in JSON", "app, user", scope="upload", status=201, answer=m.Media, takes=(("multipart/form-data", m.Form), (JSON, m.Upload)), query=TO, problems=(*UPLOAD, e.UrlRefused, e.FetchFailed), side="compressor", counts="uploads"),
    Operation("upload_raw", "PUT", "/v1/media", "Upload a file as the body", "app, user", scope="upload", status=201, answer=m.Media, takes=(("*/*", None),), query=TO, problems=UPLOAD, side="compressor", counts="uploads"),
    Operation("list_media", "GET", "/v1/media", "Media, newest first", SEEN, scope="view", answer=m.Media, a_list=True, query=("user", "flow", "trashed", *PAGE), problems=(e.NotFound,)),
    Operation("get_media", "GET", "/v1/media/{media}", "A media", SEEN, scope="view", answer=m.Media),
    Operation("change_media", "PATCH", "/v1/media/{media}", "Say what a media is: its title, notes and tags", OWN, scope="manage", answer=m.Media, takes=((JSON, tagging.MediaFields),)),
    Operation("search_media", "GET", "/v1/search", "Media by words, tags and properties, newest first", SEEN, scope="view", answer=m.Media, a_list=True, query=("q", "tag", "type", "kind", "flow", "user", "after", "before", "larger", "smaller", "colour", "review", *PAGE), problems=(e.NotFound, e.Unprocessable)),
    Operation("delete_media", "DELETE", "/v1/media/{media}", "Delete a media, every byte of it", OWN, scope="manage", status=204, side="compressor"),
    Operation("trash_media", "POST", "/v1/media/{media}/trash", "Put a media into the trash", OWN, scope="manage", answer=m.Media),
    Operation("restore_media", "POST", "/v1/media/{media}/restore", "Have a media back from the trash", OWN, scope="manage", answer=m.Media),
    Operation("similar_media", "GET", "/v1/media/{media}/similar", "Media that look like one, nearest first", OWN, scope="view", answer=m.Similar, a_list=True, query=("distance", "limit"), problems=(e.Conflict,)),
    Operation("edit_media", "POST", "/v1/media/{media}/edits", "Have an edit of a picture stored as a new one", OWN, scope="upload", status=201, answer=m.Media, takes=((JSON, d.EditFields),), problems=EDIT, side="compressor", counts="uploads"),
    Operation("create_variant", "POST", "/v1/media/{media}/variants", "Have an edit of a picture made whenever it is looked at", OWN, scope="manage", status=201, answer=d.Variant, takes=((JSON, d.VariantFields),), problems=(e.BadEdits, e.TooManyPixels, e.Conflict)),
    Operation("list_variants", "GET", "/v1/media/{media}/variants", "Such edits of a picture, oldest first", OWN, scope="view", answer=d.Variant, a_list=True),
    Operation("delete_variant", "DELETE", "/v1/media/{media}/variants/{number}", "Delete such an edit of a picture", OWN, scope="manage", status=204),
    Operation("view_variant", "GET", "/{id}/v/{variant}/", "The bytes of such an edit", "whom the link is for", "user", scope="view", kind="*/*", side="nginx", problems=(e.BadEdits, e.CorruptImage, e.DecodeFailed)),
    Operation("approve_media", "POST", "/v1/media/{media}/approve", "Have a media shown that is held or flagged", APP, "app", answer=m.Media),
    Operation("view", "GET", "/{id}/{quality}/", "The bytes: the original at quality 0, WebP at 1 to 6", "whom the link is for", "user", scope="view", kind="*/*", side="nginx"),
)  # fmt: skip
RESUMABLE: tuple[type[e.Problem], ...] = (e.Locked, e.OtherVersion)
INGESTED: tuple[type[e.Problem], ...] = (
    e.TooLarge, e.Unsupported, e.Unprocessable, e.QuotaExceeded, e.EmptyFile, e.CorruptImage, e.TooManyPixels,
    e.DecodeFailed, e.UnknownFlow, e.Busy, e.DiskFull, RefusedByPlugin, PluginUnavailable,
)  # fmt: skip
BYTES = (("application/offset+octet-stream", None), ("application/partial-upload", None))
OWN_UPLOADS = "app, the upload's user"
UPLOADS = (
    Operation("tus_options", "OPTIONS", "/v1/uploads/", "What there is of tus", "anyone", "anyone", status=204, side="compressor"),
    Operation("create_upload", "POST", "/v1/uploads/", "Begin a resumable upload", "app, user", scope="upload", status=201, takes=BYTES, query=TO, problems=(e.UnknownUser, e.Mismatch, e.NotFound, e.TooManyUploads, e.ChecksumMismatch, *RESUMABLE, *INGESTED), side="compressor", counts="uploads"),
    Operation("upload_options", "OPTIONS", "/v1/uploads/{upload}", "What there is of tus", "anyone", "anyone", status=204, side="compressor"),
    Operation("upload_offset", "HEAD", "/v1/uploads/{upload}", "How far an upload is", OWN_UPLOADS, scope="upload", problems=(*RESUMABLE, *INGESTED), side="compressor"),
    Operation("get_upload", "GET", "/v1/uploads/{upload}", "The same in JSON, and what it has become", OWN_UPLOADS, scope="upload", answer=m.Resumable, side="compressor"),
    Operation("append_upload", "PATCH", "/v1/uploads/{upload}", "Append bytes; with the last it becomes a media", OWN_UPLOADS, scope="upload", status=204, takes=BYTES, problems=(e.OtherOffset, e.ChecksumMismatch, *RESUMABLE, *INGESTED), side="compressor"),
    Operation("delete_upload", "DELETE", "/v1/uploads/{upload}", "End an upload; a media that it has become stays", OWN_UPLOADS, scope="upload", status=204, problems=RESUMABLE, side="compressor"),
)  # fmt: skip
IMAGES = (
    Operation("add_img", "POST", "/v1/images/flows/add_img", "Have an image fetched from a URL", "app, user", scope="upload", answer=g.AddedImage, takes=((JSON, g.AddImage),), query=("user", "flow"), problems=(e.UrlRefused, e.TooManyUploads, e.QuotaExceeded, e.Busy, e.DiskFull, e.UnknownFlow, e.UnknownUser, e.Mismatch), side="compressor", counts="uploads"),
    Operation("start_images_job", "POST", "/images/jobs/start", "Have many images worked on", "app, user; local ones: operator", scope="upload", operator=True, answer=g.StartedJob, takes=((JSON, g.StartJob),), query=("user", "flow"), problems=(e.UrlRefused, e.TooManyUploads, e.DiskFull, e.UnknownFlow, e.UnknownUser, e.Mismatch, e.Conflict, e.NotFound, e.NotInstalled, e.TooLarge), side="compressor", counts="uploads"),
    Operation("images_job_status", "GET", "/images/jobs/status", "What happens in a job, until it ends", STARTER, scope="view", operator=True, also=(204,), kind="text/event-stream", query=("images_job_id_str",), problems=(e.NotFound,)),
    Operation("all_flows", "GET", "/v1/images/flows/all", "Flows, and how many images they have", "app, user", scope="view", answer=g.AllFlows),
    Operation("browser_page", "GET", "/v1/images/flows/browser_page", "A page of a flow, by its number", "app, members; of their own where they may post", scope="view", answer=g.BrowserPage, query=("fname", "pg_index", "pg_size"), problems=(e.NotFound, e.Unprocessable)),
    Operation("images_exist", "POST", "/v1/images/flows/imgs_exist", "Which of these were fetched already", "app; a user of their own", scope="view", answer=g.ExistingImages, takes=((JSON, g.ImagesExist),), problems=(e.NotFound,)),
    Operation("get_image", "GET", "/v1/images/get", "An image, where there is one to the caller", SEEN, scope="view", answer=g.GotImage, query=("img_id",)),
    Operation("gif_info", "GET", "/images/gif/get_info", "How an animation moves, and frames of it", SEEN, scope="view", answer=g.GotGif, query=("orig_url", "gfimg_id"), problems=(e.NotFound, e.Unprocessable)),
    Operation("classify_images", "POST", "/v1/images/classify", "Have a model say what is in images", OWN, scope="manage", answer=g.Classified, takes=((JSON, g.ClassifyImages),), problems=(e.NotFound, e.Conflict, e.NotInstalled)),
    Operation("upload_metrics", "POST", "/v1/images/upload_metrics", "How long an upload took its client", OWN, scope="upload", answer=g.Empty, takes=((JSON, g.ClientMetrics),), query=("imgid", "ct"), problems=(e.NotFound,)),
    Operation("browser_results", "POST", "/v1/images/c", "Say what colours images have, as a browser found them", "app, and who sees them", scope="view", answer=g.Empty, takes=((JSON, g.BrowserResults),), side="compressor"),
    Operation("images_by_name", "POST", "/images/d/bulk", "The addresses of the newest images of these names", "app, members", scope="view", answer=g.NamedImages, takes=((JSON, g.ImageNames),), problems=(e.NotFound,)),
    Operation("image_by_name", "GET", "/images/d/{name}", "The newest image of that name in a flow", "anyone into public flows; app, members", "guest", scope="view", status=302, kind="text/plain", query=("fname", "q", "app")),
    Operation("images_healthz", "GET", "/v1/images/healthz", "Whether everything behind this address can do its work", "anyone", "anyone", answer=m.Health),
    Operation("images_v1_healthz", "GET", "/v1/images/v1/healthz", "The same", "anyone", "anyone", answer=m.Health),
    Operation("upload_init", "GET", "/v1/images/upload_init", "Begin an upload straight to the store", "app, user", scope="upload", answer=g.UploadInit, query=("imgf", "imgn", "f", "ct", "user", "size", "method", "parts"), problems=(e.CrossSite, e.TooManyUploads, e.EmptyFile, e.TooLarge, e.QuotaExceeded, e.Unsupported, e.UnknownFlow, e.UnknownUser, e.DiskFull), side="compressor", counts="uploads"),
    Operation("upload_complete", "POST", "/v1/images/upload_complete", "Have what was sent stored", OWN_UPLOADS, scope="upload", answer=g.UploadCompleted, takes=((JSON, g.UploadComplete),), query=("imgid", "f"), problems=(e.NotFound, e.Conflict, e.Locked, e.EmptyFile, e.QuotaExceeded, e.Mismatch, e.Busy), side="compressor"),
    Operation("save_edited", "POST", "/images/editor/save", "Store what an editor made of a picture as a new one", OWN, scope="upload", answer=d.SavedEdit, takes=((JSON, d.SaveEdited),), problems=(*EDIT, e.NotFound, e.Mismatch), side="compressor", counts="uploads"),
    Operation("send_direct", "PUT", "/v1/images/direct/{token}", "Send the bytes of one, where this service takes them in", "whoever has the URL", "anyone", takes=(("*/*", None),), problems=(e.Forbidden, e.LengthRequired, e.EmptyFile, e.Mismatch, e.Conflict, e.Locked, e.QuotaExceeded, e.Busy, e.DiskFull), side="compressor"),
)  # fmt: skip
LINKS = (
    Operation("create_link", "POST", "/v1/media/{media}/links", "Make a link", OWN, scope="manage", status=201, answer=s.Link, takes=((JSON, s.LinkFields),), problems=(e.UnknownUser, e.Conflict, RefusedByPlugin, PluginUnavailable)),
    Operation("list_links", "GET", "/v1/media/{media}/links", "The links of a media, newest first", OWN, scope="view", answer=s.Link, a_list=True, query=PAGE),
    Operation("delete_links", "DELETE", "/v1/media/{media}/links", "Revoke all links; the standing one gets a new address", OWN, scope="manage", status=204),
    Operation("delete_link", "DELETE", "/v1/links/{link}", "Revoke a link", OWN, scope="manage", status=204),
    Operation("open_link", "POST", "/v1/links/{id}/open", "Open a link that has a password or a number of views", "whoever has the link", "anyone", also=(303,), answer=s.Opening, takes=((JSON, s.OpenFields), (FORM, s.OpenFields)), problems=(WrongPassword, e.CrossSite)),
    Operation("share_page", "GET", "/share/{id}", "What a link for `anyone` shares, as a page", "whoever has the link", "anyone", kind="text/html"),
)  # fmt: skip
MAIL = (
    Operation("share", "POST", "/v1/images/share", "Send somebody a link by mail", OWN, scope="manage", answer=mailing.Shared, takes=((JSON, mailing.ShareFields),), problems=(e.NotFound, e.NotInstalled, shares.TooManyMails)),
    Operation("unsubscribe_page", "GET", "/unsubscribe/{recipient}", "Ask whether no more mails are wanted", "whoever got a mail", "anyone", kind="text/html"),
    Operation("unsubscribe", "POST", "/unsubscribe/{recipient}", "Have no more mails sent there", "whoever got a mail", "anyone", kind="text/html"),
)  # fmt: skip
FLOWS = (
    Operation("put_flow", "PUT", "/v1/flows/{flow}", "Make or change a flow", APP, "app", also=(201,), answer=m.Flow, takes=((JSON, m.FlowFields),), problems=(e.Conflict, e.NotInstalled, *PLACING)),
    Operation("get_flow", "GET", "/v1/flows/{flow}", "A flow", APP, "app", answer=m.Flow),
    Operation("list_flows", "GET", "/v1/flows", "Flows, by name", APP, "app", answer=m.Flow, a_list=True, query=PAGE),
    Operation("delete_flow", "DELETE", "/v1/flows/{flow}", "Delete a flow, none of its media", APP, "app", status=204, problems=(e.Conflict,)),
    Operation("flow_page", "GET", "/v1/flows/{flow}/page", "A public flow as a page of links, newest first", "anyone", "anyone", kind="text/html", query=("app", *PAGE), problems=(e.NotFound,)),
    Operation("flow_json_feed", "GET", "/v1/flows/{flow}/feed.json", "A public flow as a JSON feed", "anyone", "anyone", kind="application/feed+json", query=("app", *PAGE), problems=(e.NotFound,)),
    Operation("flow_atom_feed", "GET", "/v1/flows/{flow}/feed.atom", "A public flow as an Atom feed", "anyone", "anyone", kind="application/atom+xml", query=("app", *PAGE), problems=(e.NotFound,)),
    Operation("list_flow_media", "GET", "/v1/flows/{flow}/media", "The media in a flow, newest first", "app, members", scope="view", answer=m.Media, a_list=True, query=PAGE),
    Operation("put_flow_media", "PUT", "/v1/flows/{flow}/media/{media}", "Add a media to a flow", "app; the media's owner where they may post", scope="manage", status=204, problems=(e.Conflict,)),
    Operation("delete_flow_media", "DELETE", "/v1/flows/{flow}/media/{media}", "Take a media out of a flow", "app; the media's owner; the flow's editors and admins", scope="manage", status=204),
    Operation("list_members", "GET", "/v1/flows/{flow}/members", "The members of a flow, by name", ADMIN, scope="view", answer=m.Member, a_list=True, query=PAGE),
    Operation("put_member", "PUT", "/v1/flows/{flow}/members/{user}", "Make a user a member, or change the role", ADMIN, scope="manage", also=(201,), answer=m.Member, takes=((JSON, m.MemberFields),)),
    Operation("delete_member", "DELETE", "/v1/flows/{flow}/members/{user}", "Take a member out", ADMIN, scope="manage", status=204),
    Operation("put_flow_backends", "PUT", "/v1/flows/{flow}/backends", "Say where a flow's media lie from now on", ADMIN, scope="manage", answer=p.FlowBackends, takes=((JSON, p.FlowBackends),), problems=PLACING),
    Operation("move_flow", "POST", "/v1/flows/{flow}/move", "Bring all media of a flow to where it is to lie", ADMIN, scope="manage", status=202, answer=m.JobStarted, takes=((JSON, p.MoveFields),), problems=(e.Conflict, *PLACING)),
)  # fmt: skip
JOBS = (
    Operation("get_job", "GET", "/v1/jobs/{job}", "A job's state", STARTER, scope="view", operator=True, answer=m.Job),
    Operation("cancel_job", "DELETE", "/v1/jobs/{job}", "Cancel a job", STARTER, scope="manage", operator=True, answer=m.Job, problems=(e.JobNotCancellable,)),
    Operation("retry_job", "POST", "/v1/jobs/{job}/retry", "Have the images that failed worked on once more", STARTER, scope="upload", operator=True, status=202, answer=m.Job, problems=(e.Conflict,)),
    Operation("list_job_images", "GET", "/v1/jobs/{job}/images", "The images of a job, in order", STARTER, scope="view", operator=True, answer=m.JobImage, a_list=True, query=PAGE),
    Operation("job_events", "GET", "/v1/jobs/{job}/events", "What happens in a job, until it ends", STARTER, scope="view", operator=True, also=(204,), kind="text/event-stream"),
    Operation("user_events", "GET", "/v1/events", "What happens to all that is a user's", SELF, scope="view", kind="text/event-stream", query=("user",), problems=(e.NotFound,)),
)  # fmt: skip
BACKENDS = (
    Operation("put_backend", "PUT", "/v1/backends/{backend}", "Add or change a backend", OPERATOR, "operator", also=(201,), answer=p.Backend, takes=((JSON, p.BackendFields),), problems=(e.BadBackend, e.BackendInUse, e.BackendsPinned, e.Conflict)),
    Operation("get_backend", "GET", "/v1/backends/{backend}", "A backend, and how it is", OPERATOR, "operator", answer=p.Backend),
    Operation("list_backends", "GET", "/v1/backends", "Backends, by name", OPERATOR, "operator", answer=p.Backend, a_list=True, query=PAGE),
    Operation("delete_backend", "DELETE", "/v1/backends/{backend}", "Take a backend on which nothing lies", OPERATOR, "operator", status=204, query=("lost",), problems=(e.BackendInUse, e.BackendsPinned)),
    Operation("scrub_backend", "POST", "/v1/backends/{backend}/scrub", "Compare a backend with what should lie there, and mend it", OPERATOR, "operator", status=202, answer=m.JobStarted, problems=(e.Conflict,)),
)  # fmt: skip
APPS = (
    Operation("put_app", "PUT", "/v1/apps/{app}", "Make an app or change its limits", OPERATOR, "operator", also=(201,), answer=a.App, takes=((JSON, a.AppFields),)),
    Operation("get_app", "GET", "/v1/apps/{app}", "An app, and what its users have", OPERATOR, "operator", answer=a.App),
    Operation("list_apps", "GET", "/v1/apps", "Apps, by name", OPERATOR, "operator", answer=a.App, a_list=True, query=PAGE),
    Operation("delete_app", "DELETE", "/v1/apps/{app}", "Delete an app, its users and everything they stored", OPERATOR, "operator", status=202, answer=m.JobStarted, problems=(e.Conflict,)),
    Operation("create_key", "POST", "/v1/apps/{app}/keys", "Make an API key", OPERATOR, "operator", status=201, answer=a.ApiKey, takes=((JSON, a.KeyFields),), problems=(e.Conflict,)),
    Operation("list_keys", "GET", "/v1/apps/{app}/keys", "The API keys of an app, newest first", OPERATOR, "operator", answer=a.ApiKey, a_list=True, query=PAGE),
    Operation("rotate_key", "POST", "/v1/apps/{app}/keys/{key}/rotate", "Make an API key in the place of another", OPERATOR, "operator", status=201, answer=a.ApiKey, takes=((JSON, a.RotateFields),), problems=(e.Conflict,)),
    Operation("delete_key", "DELETE", "/v1/apps/{app}/keys/{key}", "Revoke an API key", OPERATOR, "operator", status=204, problems=(e.Conflict,)),
)  # fmt: skip
AUDIT = (
    Operation("list_audit", "GET", "/v1/audit", "What was done, newest first", "operator, app; a user of what was done by them or to what is theirs", scope="manage", operator=True, answer=t.AuditEntry, a_list=True, query=("user", "media", "app", *PAGE), problems=(e.NotFound,)),
)  # fmt: skip
WEBHOOKS = (
    Operation("put_webhook", "PUT", "/v1/webhooks/{webhook}", "Make or change a webhook", APP, "app", also=(201,), answer=h.Webhook, takes=((JSON, h.WebhookFields),), problems=(e.UrlRefused, e.Conflict)),
    Operation("get_webhook", "GET", "/v1/webhooks/{webhook}", "A webhook, and how it is", APP, "app", answer=h.Webhook),
    Operation("list_webhooks", "GET", "/v1/webhooks", "Webhooks, by name", APP, "app", answer=h.Webhook, a_list=True, query=PAGE),
    Operation("delete_webhook", "DELETE", "/v1/webhooks/{webhook}", "Delete a webhook, and what it was not told yet", APP, "app", status=204),
    Operation("rotate_webhook", "POST", "/v1/webhooks/{webhook}/rotate", "Give a webhook a new secret", APP, "app", answer=h.Webhook),
    Operation("test_webhook", "POST", "/v1/webhooks/{webhook}/test", "Have a `ping` delivered", APP, "app", status=202, answer=h.Delivery, problems=(e.Conflict,)),
    Operation("list_deliveries", "GET", "/v1/webhooks/{webhook}/deliveries", "What a webhook was not told yet, and what it could not be told, newest first", APP, "app", answer=h.Delivery, a_list=True, query=("state", *PAGE)),
    Operation("retry_deliveries", "POST", "/v1/webhooks/{webhook}/deliveries/retry", "Have the dead letters delivered after all", APP, "app", status=202, answer=h.Retried),
    Operation("retry_delivery", "POST", "/v1/webhooks/{webhook}/deliveries/{delivery}/retry", "Have one delivered now", APP, "app", status=202, answer=h.Delivery),
)  # fmt: skip
SERVICE = (
    Operation("healthz", "GET", "/healthz", "Whether everything behind this address can do its work", "anyone", "anyone", answer=m.Health),
    Operation("livez", "GET", "/livez", "Whether the process answers", "anyone", "anyone", kind="text/plain"),
    Operation("metrics", "GET", "/metrics", "Metrics for Prometheus", "operator", "operator", kind="text/plain"),
    Operation("openapi", "GET", "/openapi.json", "This document", "anyone", "anyone"),
    Operation("docs", "GET", "/docs", "This document as a page", "anyone", "anyone", kind="text/html"),
)  # fmt: skip

GROUPS: dict[str, tuple[Operation, ...]] = {
    "users": USERS, "sessions": SESSIONS, "media": MEDIA, "uploads": UPLOADS, "images": IMAGES, "links": LINKS, "mail": MAIL, "flows": FLOWS, "apps": APPS, "backends": BACKENDS, "jobs": JOBS,
    "audit": AUDIT, "webhooks": WEBHOOKS, "service": SERVICE,
}  # fmt: skip
OPERATIONS: tuple[Operation, ...] = tuple(o for group in GROUPS.values() for o in group)
