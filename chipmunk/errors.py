"""Everything that can go wrong, as one tree. Raised low, translated to HTTP once, by `problem`.

Problem · Lost
├─ 400 BadRequest · BadCursor
├─ 401 Unauthorized
├─ 403 Forbidden · CrossSite · KeyInBrowser · ScopeMissing
├─ 404 NotFound
├─ 405 MethodNotAllowed
├─ 409 Conflict · UploadRunning · JobNotCancellable · OtherOffset · BackendInUse · BackendsPinned
├─ 411 LengthRequired
├─ 412 OtherVersion
├─ 413 TooLarge · QuotaExceeded
├─ 415 Unsupported
├─ 422 Unprocessable · UnknownFlow · UnknownUser · EmptyFile · CorruptImage · TooManyPixels · DecodeFailed
│      · KeyReused · Mismatch · BadBackend · UnknownBackend · UrlRefused · FetchFailed · BadEdits
├─ 423 Locked
├─ 429 RateLimited · TooManyUploads
├─ 460 ChecksumMismatch
├─ 501 NotInstalled
├─ 503 Unavailable · Busy
└─ 507 DiskFull
"""

from __future__ import annotations

import json
from typing import Any, ClassVar


class Problem(Exception):
    """An error for the caller: a stable code, a status, a sentence, and the ids involved.

    `ids` become members of the problem document (RFC 9457), so they never hold a secret or a path on disk.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    sentence: ClassVar[str] = "Something went wrong on our side; the request id tells the operator what."
    retry_after: int | None = None
    passing: bool = False  # whether a job that met it is worth another try

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **ids: object) -> None:
        self.detail = detail or self.sentence
        self.ids = ids
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.ids,
        }

    def body(self) -> bytes:
        """The document as one ASCII line, fit for a header as well as for a body."""
        return json.dumps(self.document(), separators=(",", ":"), default=str).encode()


class Lost(Problem):
    code, title = "lost", "Lost"
    sentence = "No store has this media's bytes as they were."


class BadRequest(Problem):
    status, code, title = 400, "bad_request", "Bad request"
    sentence = "The request is malformed."


class BadCursor(BadRequest):
    code = "bad_cursor"
    sentence = "This cursor was not given out by this list."


class Unauthorized(Problem):
    status, code, title = 401, "unauthorized", "Unauthorized"
    sentence = "A valid credential is needed."


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "Forbidden"
    sentence = "This credential may not do that."


class CrossSite(Forbidden):
    code = "cross_site"
    sentence = "A call by cookie that changes something must come from the same origin or an allowed one."


class KeyInBrowser(Forbidden):
    code = "key_in_browser"
    sentence = "An API key is for servers: it is refused together with an Origin header."


class ScopeMissing(Forbidden):
    code = "scope_missing"
    sentence = "This credential was made without the scope that the call needs."


class NotFound(Problem):
    status, code, title = 404, "not_found", "Not found"
    sentence = "There is nothing here for you."


class MethodNotAllowed(Problem):
    status, code, title = 405, "method_not_allowed", "Method not allowed"
    sentence = "This address does not take that method."


class Conflict(Problem):
    status, code, title = 409, "conflict", "Conflict"
    sentence = "The request contradicts what is there."


class UploadRunning(Conflict):
    code = "upload_running"
    sentence = "An upload with this Idempotency-Key is still under way."


class JobNotCancellable(Conflict):
    code = "job_not_cancellable"
    sentence = "This job can no longer be cancelled."


class OtherOffset(Conflict):
    code = "other_offset"
    sentence = "The upload goes on from another offset."


class BackendInUse(Conflict):
    code = "backend_in_use"
    sentence = "Media lie on this backend, or flows name it: move them first."


class BackendsPinned(Conflict):
    code = "backends_pinned"
    sentence = "The settings say where everything lies; calls cannot change it."


class LengthRequired(Problem):
    status, code, title = 411, "length_required", "Length required"
    sentence = "An upload needs a Content-Length."


class OtherVersion(Problem):
    status, code, title = 412, "other_version", "Precondition failed"
    sentence = "Resumable uploads speak tus 1.0.0: every request says Tus-Resumable: 1.0.0, or which draft."


class TooLarge(Problem):
    status, code, title = 413, "too_large", "Too large"
    sentence = "The body is larger than this service takes."


class QuotaExceeded(Problem):
    status, code, title = 413, "quota_exceeded", "Quota exceeded"
    sentence = "The file and its renditions do not fit into what is left of the quota of the user, or of the app."


class Unsupported(Problem):
    status, code, title = 415, "unsupported_type", "Unsupported media type"
    sentence = "This is not a format that the service takes; the content decides, not the name."


class Unprocessable(Problem):
    status, code, title = 422, "unprocessable", "Unprocessable content"
    sentence = "The request is well-formed but not acceptable."


class UnknownFlow(Unprocessable):
    code = "unknown_flow"
    sentence = "There is no such flow, or you may not post there."


class UnknownUser(Unprocessable):
    code = "unknown_user"
    sentence = "There is no such user."


class EmptyFile(Unprocessable):
    code = "empty_file"
    sentence = "The file is empty."


class CorruptImage(Unprocessable):
    code = "corrupt_image"
    sentence = "The file is damaged or incomplete."


class TooManyPixels(Unprocessable):
    code = "too_many_pixels"
    sentence = "The picture has more pixels than the service decodes."


class DecodeFailed(Unprocessable):
    code = "decode_failed"
    sentence = "The file could not be decoded within the limits on memory and time."


class KeyReused(Unprocessable):
    code = "idempotency_key_reused"
    sentence = "This Idempotency-Key was used for another upload."


class Mismatch(Unprocessable):
    code = "mismatch"
    sentence = "The query and the body disagree."


class BadBackend(Unprocessable):
    code = "bad_backend"
    sentence = "This backend cannot be used as it is described."


class UnknownBackend(Unprocessable):
    code = "unknown_backend"
    sentence = "There is no such backend, or this flow may not be put there."


class UrlRefused(Unprocessable):
    """Says the same of all that it refuses, so that nobody learns by it what there is inside."""

    code = "url_refused"
    sentence = "Nothing is fetched from this URL."


class FetchFailed(Unprocessable):
    code = "fetch_failed"
    sentence = "The server of this URL did not give the file."


class BadEdits(Unprocessable):
    code = "bad_edits"
    sentence = "These are no edits that can be made."


class Locked(Problem):
    status, code, title = 423, "locked", "Locked"
    sentence = "Another request is at this upload; try again shortly."
    retry_after = 1


class RateLimited(Problem):
    status, code, title = 429, "rate_limited", "Too many requests"
    sentence = "Too many requests; try again later."
    retry_after = 1


class TooManyUploads(RateLimited):
    code = "too_many_uploads"
    sentence = "This user has too many unfinished uploads: finish or delete some, or wait until they expire."
    retry_after = 60


class ChecksumMismatch(Problem):
    status, code, title = 460, "checksum_mismatch", "Checksum mismatch"
    sentence = "The bytes are not those of the checksum; none of them were kept."


class NotInstalled(Problem):
    status, code, title = 501, "not_installed", "Not installed"
    sentence = "This needs a part that is not installed."


class Unavailable(Problem):
    status, code, title = 503, "unavailable", "Unavailable"
    sentence = "The service cannot do this now; try again shortly."
    retry_after = 2


class Busy(Unavailable):
    code = "busy"
    sentence = "Other uploads of this user hold the rest of the quota; try again when they are done."
    retry_after = 2


class DiskFull(Problem):
    status, code, title = 507, "disk_full", "Insufficient storage"
    sentence = "The service is out of disk space."


class SettingsError(Exception):
    """A setting is wrong: the start stops with this sentence."""


def every_problem() -> dict[str, type[Problem]]:
    """Code → class, for the documents and the tests that hold them to it."""
    found: dict[str, type[Problem]] = {}
    todo: list[type[Problem]] = [Problem]
    while todo:
        cls = todo.pop()
        found[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return found
