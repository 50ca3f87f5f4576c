"""The problems that only a web server meets; the others that nginx answers itself are `chipmunk.errors`'."""

from __future__ import annotations

from chipmunk import errors


class Timeout(errors.Problem):
    status, code, title = 408, "timeout", "Request timeout"
    sentence = "The request took too long to arrive."


class PreconditionFailed(errors.Problem):
    status, code, title = 412, "precondition_failed", "Precondition failed"
    sentence = "The file is not as the conditions of the request want it."


class UriTooLong(errors.Problem):
    status, code, title = 414, "uri_too_long", "URI too long"
    sentence = "The address is longer than this service reads."


class BadRange(errors.Problem):
    status, code, title = 416, "bad_range", "Range not satisfiable"
    sentence = "The file has no such range."


class HeadersTooLarge(errors.Problem):
    status, code, title = 431, "headers_too_large", "Request header fields too large"
    sentence = "The headers of the request are larger than this service reads."
