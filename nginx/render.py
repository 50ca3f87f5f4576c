"""Renders the template. Placeholders are `@name@`; an unknown or an unused one is an error.

Values from settings are checked by `chipmunk.config`; what could end a directive is refused here once more.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from chipmunk.config import Settings
from chipmunk.errors import (
    BadRequest,
    Conflict,
    DiskFull,
    Forbidden,
    LengthRequired,
    MethodNotAllowed,
    NotFound,
    Problem,
    RateLimited,
    SettingsError,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    Unsupported,
)
from nginx.cors import maps
from nginx.errors import BadRange, HeadersTooLarge, PreconditionFailed, Timeout, UriTooLong

UPSTREAMS = ("authorizer", "api", "compressor")
BEFORE_A_URI: tuple[type[Problem], ...] = (BadRequest, Timeout, UriTooLong, HeadersTooLarge)
OWN: tuple[type[Problem], ...] = (
    Unauthorized, NotFound, MethodNotAllowed, PreconditionFailed, TooLarge, Unsupported, BadRange, RateLimited,
    Unavailable,
)  # fmt: skip
REFUSALS: tuple[type[Problem], ...] = (
    BadRequest,
    Unauthorized, Forbidden, NotFound, Conflict, LengthRequired, TooLarge, Unsupported, Unprocessable, RateLimited,
    Unavailable, DiskFull,
)  # fmt: skip

BROKEN: tuple[type[Problem], ...] = (Unavailable, DiskFull)  # of uploads that had passed the pre-check

# What a browser shows in place; everything else is a download. No entry may be a type that can run script.
INLINE = {
    "image/jpeg": "jpg", "image/png": "png", "image/apng": "apng", "image/gif": "gif", "image/webp": "webp",
    "image/avif": "avif", "image/heic": "heic", "image/heif": "heif", "image/tiff": "tif", "image/bmp": "bmp",
    "image/x-icon": "ico", "image/vnd.microsoft.icon": "icon", "audio/mpeg": "mp3", "audio/flac": "flac",
    "audio/ogg": "ogg", "audio/opus": "opus", "audio/mp4": "m4a", "audio/wav": "wav", "audio/x-wav": "xwav",
    "audio/webm": "weba", "video/mp4": "mp4", "video/webm": "webm", "video/quicktime": "mov", "video/x-matroska": "mkv",
}  # fmt: skip

SAFE = {"nosniff": "X-Content-Type-Options nosniff", "csp": "Content-Security-Policy \"default-src 'none'; sandbox\""}

CALL = """\
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $outer_scheme; proxy_set_header X-Ticket ""; proxy_set_header X-Spool "";
      proxy_set_header X-Counted "";
      proxy_connect_timeout 1s; proxy_send_timeout {send}s; proxy_read_timeout {read}s; proxy_next_upstream {next};
      add_header X-Request-Id $request_id always;{cors}"""

DECIDE = """\
      client_max_body_size 0;
      proxy_pass http://authorizer/decide;
      proxy_pass_request_headers off; proxy_pass_request_body off;
      proxy_http_version 1.1; proxy_set_header Host authorizer; proxy_set_header Connection "";
      proxy_set_header Content-Length ""; proxy_set_header X-Media-Id $id;
      proxy_set_header Authorization $http_authorization;
      proxy_set_header X-Session $cookie_chipmunk_session;
      proxy_set_header X-Opening $cookie_chipmunk_opening;
      proxy_ignore_headers Cache-Control Expires Vary Set-Cookie X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering
        X-Accel-Charset;
      proxy_next_upstream {next};
      proxy_connect_timeout 1s; proxy_send_timeout 1s; proxy_read_timeout 3s;
      proxy_buffer_size 8k; proxy_buffers 4 4k; proxy_busy_buffers_size 8k;
      log_subrequest off;"""

# nginx tries no other replica where the list of them changed while it waited for a lost one, so it is asked once more.
ASK_AGAIN = "      error_page 502 504 = /-/authorize/again;"

# Of what the API's process answers only the bytes, their validators and ranges go on, and what it says to nginx alone.
STORED = """\
      proxy_pass_request_headers off; proxy_pass_request_body off;
      proxy_http_version 1.1; proxy_set_header Host api; proxy_set_header Connection "";
      proxy_set_header Content-Length ""; proxy_set_header X-Request-Id $request_id;
      proxy_ignore_headers Cache-Control Expires Vary Set-Cookie X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
      proxy_hide_header Cache-Control; proxy_intercept_errors on;
      proxy_connect_timeout 1s; proxy_send_timeout 5s; proxy_read_timeout 45s; proxy_next_upstream {next};
      add_header Cache-Control $freshness;"""

# As it comes, with the ranges and conditions that the viewer asked for.
PASSED_ON = """\
      proxy_cache off; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
      error_page 404 @404; error_page 412 @412; error_page 416 @bad_range; error_page 500 502 503 504 =503 @503;
      proxy_set_header Range $http_range; proxy_set_header If-Range $http_if_range;
      proxy_set_header If-Match $http_if_match; proxy_set_header If-None-Match $http_if_none_match;
      proxy_set_header If-Modified-Since $http_if_modified_since;
      proxy_set_header If-Unmodified-Since $http_if_unmodified_since;"""

UPLOAD = """\
      auth_request_set $ticket $upstream_http_x_ticket;
      auth_request_set $refused_status $upstream_http_x_status;
      auth_request_set $refused_problem $upstream_http_x_problem;
      auth_request_set $refused_retry $upstream_http_x_retry_after;
      auth_request_set $rate $upstream_http_ratelimit;
      auth_request_set $rate_policy $upstream_http_ratelimit_policy;
      error_page 403 = $refusal; recursive_error_pages on;
      error_page 401 @401; error_page 404 @404; error_page 413 @413; error_page 429 @429;
      auth_request_set $checked $upstream_status;
      error_page 500 = $broken; error_page 502 503 504 =503 @upload_503;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $outer_scheme; proxy_set_header Expect ""; proxy_set_header X-Ticket $ticket;
      proxy_set_header X-Counted $rate;
      proxy_connect_timeout 1s; proxy_send_timeout 60s; proxy_read_timeout 300s; proxy_next_upstream off;
      add_header X-Request-Id $request_id always;
      add_header RateLimit $rate always; add_header RateLimit-Policy $rate_policy always;"""

REQUEST_ID = "add_header X-Request-Id $request_id always;"
RATE = "add_header RateLimit $rate always; add_header RateLimit-Policy $rate_policy always;"

# Pages of allowed origins may read answers, refusals among them; a preflight is answered here.
CORS = (
    "add_header Vary Origin always;"
    " add_header Access-Control-Allow-Origin $allowed_origin always;"
    " add_header Access-Control-Allow-Credentials $allowed_credentials always;"
    " add_header Access-Control-Expose-Headers $exposed_headers always;"
    " add_header Access-Control-Allow-Methods $allowed_methods always;"
    " add_header Access-Control-Allow-Headers $allowed_headers always;"
    " add_header Access-Control-Max-Age $allowed_seconds always;"
)


def render(settings: Settings) -> str:
    """The whole nginx.conf. Raises SettingsError where a value has no place in one."""
    values = _values(settings)
    template = files("nginx").joinpath("nginx.conf.template").read_text()
    unused = set(values)

    def fill(found: re.Match[str]) -> str:
        unused.discard(found[1])
        return values[found[1]]

    text = re.sub(r"@([a-z_]+)@", fill, template)
    if unused:
        raise KeyError(f"the template does not use {sorted(unused)}")
    return text


def _values(settings: Settings) -> dict[str, str]:
    data = settings.data_dir
    several = any(not settings.address(name).startswith("unix:") for name in UPSTREAMS)  # type: ignore[arg-type]
    again = "error timeout non_idempotent" if several else "off"
    once = again.replace(" non_idempotent", "")
    cors = CORS if settings.origins else ""
    preflight = "\n      if ($allowed_methods) { return 204; }" if cors else ""
    headers = [*SAFE.values(), f"Cross-Origin-Resource-Policy {settings.view_policy}"]
    return {
        "workers": settings.nginx_workers,
        "listen": f"{_bracketed(settings.host)}:{settings.port}",
        "run": _path(settings.run_dir),
        "temp": _path(data / "nginx"),
        "log": _path(settings.log_dir),
        "cache": _path(settings.cache_dir),
        "cache_bytes": str(settings.cache_bytes),
        "store": _path(settings.store_dir),
        "fresh": f"private, max-age={settings.cache_max_age}, must-revalidate",
        "json_bytes": str(settings.max_json_bytes),
        "view_headers": "\n".join(f"      add_header {h};" for h in headers),
        "extensions": "\n".join(f"    {mime} {extension};" for mime, extension in INLINE.items()),
        "types": "\n".join(f"        {mime} {extension};" for mime, extension in INLINE.items()),
        "resolver": _resolver(settings),
        "upstreams": "\n".join(_upstream(name, settings.address(name)) for name in UPSTREAMS),  # type: ignore[arg-type]
        "trusted": "\n".join(f"  set_real_ip_from {network};" for network in settings.trusted_proxies),
        "trusted_geo": "\n".join(f"    {network} 1;" for network in settings.trusted_proxies),
        "next": again,
        "decide": DECIDE.format(next=again),
        "ask_again": ASK_AGAIN if several else "",
        "stored": STORED.format(next=once),
        "passed_on": PASSED_ON,
        "call": CALL.format(send=10, read=90, next=once, cors=preflight + _indented(cors)),
        "resumable": CALL.format(send=60, read=300, next=once, cors=_indented(cors)),
        "upload": UPLOAD + _indented(cors),
        "cors": maps(settings.origins) if cors else "",
        "bad_range": _headers(BadRange) + f" add_header Content-Range $upstream_http_content_range always;"
        f" return {BadRange.status} {_quoted(BadRange())};",
        "errors": "\n".join([_early(p) for p in BEFORE_A_URI] + [_named(p, cors) for p in OWN]),
        "refusals": "\n".join([*(_refusal(p, cors) for p in REFUSALS), *(_broken(p, cors) for p in BROKEN)]),
    }


def _indented(line: str) -> str:
    return f"\n      {line}" if line else ""


def _path(path: Path) -> str:
    text = str(path)
    if not re.fullmatch(r"/[^\s\x00-\x1f\x7f;{}\"'$\\@#]*", text):
        raise SettingsError(f"CHIPMUNK_DATA_DIR: nginx cannot take the path {text!r}; use letters, digits, - _ . /")
    return text


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_name(address: str) -> bool:
    host = address.rpartition(":")[0]
    return not address.startswith("unix:") and not host.startswith("[") and not re.fullmatch(r"[0-9.]+", host)


def _resolver(settings: Settings) -> str:
    if not any(_is_name(settings.address(name)) for name in UPSTREAMS):  # type: ignore[arg-type]
        return ""
    return f"  resolver {settings.resolver or '127.0.0.11'} valid=2s ipv6=off; resolver_timeout 2s;"


def _upstream(name: str, address: str) -> str:
    server = _path_of_socket(address) if address.startswith("unix:") else address
    zone, resolve = (f"zone {name} 256k; ", " resolve") if _is_name(address) else ("", "")
    return (
        f"  upstream {name} {{ {zone}server {server} max_fails=0{resolve};"
        " keepalive 64; keepalive_requests 100000; keepalive_timeout 30s; }"
    )


def _path_of_socket(address: str) -> str:
    return "unix:" + _path(Path(address.removeprefix("unix:")))


def _quoted(problem: Problem) -> str:
    body = problem.body().decode()
    if "'" in body or "$" in body:
        raise ValueError("nginx would read this problem otherwise")
    return f"'{body}\\n'"


def _headers(problem: type[Problem], retry: str = "") -> str:
    more = {
        401: " add_header WWW-Authenticate 'Bearer realm=\"chipmunk\"' always;",
        405: ' add_header Allow "GET, HEAD" always;',
    }
    retry = retry or (str(problem.retry_after) if problem.retry_after else "")
    return (
        "types { } default_type application/problem+json; add_header Cache-Control no-store always;"
        " add_header X-Content-Type-Options nosniff always;"
        + more.get(problem.status, "")
        + (f" add_header Retry-After {retry} always;" if retry else "")
    )


def _early(problem: type[Problem]) -> str:
    n = problem.status
    return f"    location = /-/error/{n} {{ internal; {_headers(problem)} return {n} {_quoted(problem())}; }}"


def _named(problem: type[Problem], cors: str) -> str:
    headers = "types { } default_type application/problem+json;" if problem is BadRange else _headers(problem)
    return f"    location @{problem.status} {{ {headers} {cors} return {problem.status} {_quoted(problem())}; }}"


def _refusal(problem: type[Problem], cors: str) -> str:
    """Two steps, since only an error_page with a number keeps nginx from saying 100 Continue first."""
    n, headers = problem.status, f"{_headers(problem, '$refused_retry')} {REQUEST_ID} {RATE} {cors}"
    return (
        f"    location @refused_{n} {{ recursive_error_pages on; error_page {n} ={n} @problem_{n}; return {n}; }}\n"
        f"    location @problem_{n} {{ {headers} return {n} $refused_problem; }}"
    )


def _broken(problem: type[Problem], cors: str) -> str:
    n = problem.status
    return (
        f"    location @upload_{n} {{ post_action /-/done; {_headers(problem)} {REQUEST_ID} {cors}"
        f" return {n} {_quoted(problem())}; }}"
    )
