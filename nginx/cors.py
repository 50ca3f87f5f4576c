"""Which pages may read what, and send what: of resumable uploads more than of other calls."""

from __future__ import annotations

from collections.abc import Sequence

EXPOSED = (
    "Location, Retry-After, Allow, X-Request-Id, Preference-Applied, Idempotent-Replayed, RateLimit, RateLimit-Policy"
)
METHODS = "GET, HEAD, POST, PUT, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, Prefer"

TUS_EXPOSED = (
    f"{EXPOSED}, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset,"
    " Upload-Length, Upload-Defer-Length, Upload-Expires, Upload-Metadata, Upload-Concat, Chipmunk-Media,"
    " Upload-Complete, Upload-Limit, Upload-Draft-Interop-Version"
)
TUS_METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
TUS_HEADERS = (
    "Authorization, Content-Type, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length,"
    " Upload-Concat, Upload-Checksum, X-HTTP-Method-Override, X-Requested-With, X-Request-Id,"
    " Upload-Complete, Upload-Draft-Interop-Version, Content-Disposition"
)

MAPS = """\
  map $http_origin $allowed_origin {{ default ""; {origins} }}
  map $allowed_origin $allowed_credentials {{ "" ""; default true; }}
  map $request_uri $tus {{ "~^/v1/uploads/" tus; default ""; }}
  map "$tus $allowed_origin" $exposed_headers {{ "~ $" ""; "~^tus" "{tus_exposed}"; default "{exposed}"; }}
  map "$request_method $tus $allowed_origin" $allowed_methods {{
    "~^OPTIONS  ." "{methods}"; "~^OPTIONS tus ." "{tus_methods}"; default ""; }}
  map "$tus $allowed_methods" $allowed_headers {{ "~ $" ""; "~^tus" "{tus_headers}"; default "{headers}"; }}
  map $allowed_methods $allowed_seconds {{ "" ""; default 600; }}"""


def maps(origins: Sequence[str]) -> str:
    return MAPS.format(
        origins=" ".join(f"{o} {o};" for o in origins),
        exposed=EXPOSED,
        tus_exposed=TUS_EXPOSED,
        methods=METHODS,
        tus_methods=TUS_METHODS,
        headers=HEADERS,
        tus_headers=TUS_HEADERS,
    )
