"""Settings: one row each, read once at start into a frozen object.

The row of field `name` is the environment variable `CHIPMUNK_NAME`; `CHIPMUNK_NAME_FILE` may name a file that
holds the value instead. docs/reference/settings.md is held to this table by a test.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chipmunk.errors import SettingsError
from chipmunk.setting_types import (
    Absolute,
    ApiKey,
    Asymmetric,
    Certificates,
    Efforts,
    Folders,
    Keys,
    MailServer,
    Network,
    Networks,
    OperatorKey,
    Origins,
    Pinned,
    PluginOptions,
    Printable,
    Qualities,
    Reachable,
    Sender,
    Told,
    WebAddress,
    Words,
)  # fmt: skip

PREFIX = "CHIPMUNK_"
MIB = 1024 * 1024
SOCKET_PATH_BOUND = 107  # what sun_path holds, on Linux
LONGEST_SOCKET = "/tmp/pymp-xxxxxxxx/listener-xxxxxxxx"  # noqa: S108 - the longest of ours, a decoder pool's


class Settings(BaseModel):
    """Everything that can be set. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    host: Printable = Field("127.0.0.1", description="Address on which nginx listens.")
    port: int = Field(8080, ge=1, le=65535, description="Port on which nginx listens.")
    data_dir: Absolute = Field(Path("var"), description="All state lives below it.")
    api_key: ApiKey = Field("", repr=False, description="The first app's key, `cmk_…`; made at first start.")
    operator_key: OperatorKey = Field("", repr=False, description="The operator's key, `cmo_…`; made at first start.")
    secret_keys: Keys = Field(
        (),
        repr=False,
        description="Signing keys, newest first: the first signs, all verify; made at first start.",
    )
    master_keys: Keys = Field(
        (),
        repr=False,
        description="Keys of what is kept encrypted, newest first: the first seals, all open; made at first start.",
    )
    database_url: str = Field("", repr=False, description="PostgreSQL 15 or newer; unset: an embedded one.")
    redis_url: str = Field("", repr=False, description="Redis or Valkey; unset: an embedded one.")
    public_url: WebAddress = Field("", description="What absolute links start with; unset: `http://HOST:PORT`.")
    trusted_proxies: Networks = Field(
        (), description="Networks whose X-Forwarded-For and X-Forwarded-Proto are believed."
    )
    origins: Origins = Field((), description="Origins whose pages may call the API, and where people may be sent on.")

    backends: Pinned = Field("", repr=False, description="Where everything lies, as JSON; unset: as calls say.")
    authorizer_address: Printable = Field("", description="Of the authorizer: `unix:/path` or `host:port`.")
    api_address: Printable = Field("", description="Of the read side's API.")
    compressor_address: Printable = Field("", description="Of the write side.")
    nginx: Printable = Field("", description="Path of an nginx binary; unset: the embedded one.")
    nginx_workers: str = Field("auto", pattern=r"^(auto|[1-9]\d?)$", description="nginx worker processes.")
    resolver: Printable = Field("", description="DNS server by which nginx finds upstreams that are host names.")
    user: str = Field("chipmunk", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="Whom root becomes.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes that `scripts/run` starts.")
    decoders: int = Field(0, ge=0, le=64, description="Decoding processes of each worker; 0: one a core.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")

    default_quota_bytes: int = Field(10 * 1024 * MIB, ge=0, description="Quota of a user made without one.")
    max_file_bytes: int = Field(5 * 1024 * MIB, ge=1, description="Largest file that is taken.")
    upload_seconds: int = Field(
        86400, ge=1, le=2_592_000, description="Time after which a resumable upload expires that nobody goes on with."
    )
    presigned_seconds: int = Field(3600, ge=1, le=43_200, description="How long a presigned URL can be sent to.")
    presigned_uploads: int = Field(20, ge=1, le=10_000, description="Unfinished presigned uploads of a user at once.")
    max_json_bytes: int = Field(32 * MIB, ge=1024, description="Largest JSON body that is taken.")
    user_calls_per_minute: int = Field(3000, ge=0, le=1_000_000, description="Calls a minute of a user; 0: no limit.")
    user_uploads_per_minute: int = Field(600, ge=0, le=1_000_000, description="Uploads a minute of a user.")
    key_calls_per_minute: int = Field(0, ge=0, le=1_000_000, description="Calls a minute of a key; 0: no limit.")
    key_uploads_per_minute: int = Field(0, ge=0, le=1_000_000, description="Uploads a minute of an API key.")
    passwords_per_minute: int = Field(
        10, ge=0, le=1_000_000, description="Wrong passwords a minute of a link, and of an address; 0: no limit."
    )
    max_pixels: int = Field(50_000_000, ge=1, description="Most pixels of a picture that is decoded.")
    max_frames: int = Field(300, ge=1, description="Most frames of an animation that its renditions keep.")
    decode_memory_bytes: int = Field(1536 * MIB, ge=256 * MIB, description="Memory of a decoding process.")
    decode_seconds: int = Field(60, ge=1, description="Time that decoding one file may take.")
    rung_qualities: Qualities = Field((30, 50, 70, 74, 78, 82), description="WebP quality of rungs 1 to 6.")
    rung_efforts: Efforts = Field((6, 6, 4, 4, 4, 4), description="WebP effort (0 to 6) of rungs 1 to 6.")
    rendition_xmp: bool = Field(False, description="Whether renditions say, in XMP, what they were made from.")
    c2pa_anchors: Certificates = Field("", description="Certificates, a PEM file, whose C2PA signers are trusted.")
    crop: Literal["centre", "attention"] = Field("centre", description="What of a picture a square rung has.")
    allowed_types: Words = Field(
        (),
        description="Further types that are taken, as downloads only: `application/pdf`, `video/*`, `*/*`.",
    )
    trash_seconds: int = Field(
        2_592_000, ge=1, le=31_622_400, description="How long a media stays in the trash before it is purged."
    )
    audit_days: int = Field(365, ge=0, le=36_500, description="How long rows of the audit log are kept; 0: for good.")
    fetch_allow: Reachable = Field((), description="Hosts and networks that uploads by URL may reach inside.")
    webhook_allow: Reachable = Field((), description="Hosts and networks that webhooks may reach inside.")
    classifier: Network = Field("", description="What tells classes: `efficientnet-lite0`, or an ONNX file.")
    unsafe_classifier: Network = Field("", description="What tells unsafe pictures: `open-nsfw`, or an ONNX file.")
    unsafe_threshold: float = Field(0.8, gt=0, le=1, description="The score from which a picture counts as unsafe.")
    classifier_memory_bytes: int = Field(1024 * MIB, ge=256 * MIB, description="Memory of the classifier's process.")
    import_dirs: Folders = Field((), description="Folders below which the operator may have files taken in.")
    fetch_seconds: int = Field(60, ge=1, le=240, description="Time that fetching a file from a URL may take.")
    cache_max_age: int = Field(0, ge=0, le=86400, description="`max-age` of a view in a browser's cache.")
    cache_bytes: int = Field(
        1024 * MIB, ge=MIB, description="Most that nginx keeps of rungs that lie elsewhere, and of variants."
    )
    resource_policy: Literal["", "same-origin", "same-site", "cross-origin"] = Field(
        "",
        description="Cross-Origin-Resource-Policy of views; unset: `same-site`, or `cross-origin` where that cannot work.",
    )
    cookie_same_site: Literal["lax", "none"] = Field(
        "lax", description="`none` where the app lives on another site; needs TLS."
    )
    traces_url: WebAddress = Field("", description="An OpenTelemetry collector (OTLP over HTTP) that traces go to.")
    traces_ratio: float = Field(1.0, ge=0, le=1, description="Share of requests that are traced.")
    jwt_issuer: str = Field("", description="`iss` of the JWTs that are taken; unset: none are.")
    jwt_audience: str = Field("", description="`aud` that they must hold.")
    jwt_jwks: str = Field("", description="Their public keys: a file or a URL.")
    jwt_algorithms: Asymmetric = Field(
        ("RS256", "ES256", "Ed25519", "EdDSA"), description="Their algorithms, asymmetric only."
    )

    smtp_url: MailServer = Field("", repr=False, description="The server that takes mails; unset: none are sent.")
    mail_from: Sender = Field("", description="Whom mails are from, `Name <address>`.")
    mail_link_seconds: int = Field(604_800, ge=3600, le=31_622_400, description="How long the link in a mail opens.")
    mail_per_app: int = Field(1000, ge=1, le=1_000_000, description="Mails of an app in any 24 hours.")
    mail_per_sender: int = Field(50, ge=1, le=1_000_000, description="Mails of a user in any 24 hours.")
    mail_per_recipient: int = Field(10, ge=1, le=1_000_000, description="Mails of an app to one mailbox in 24 hours.")

    plugins: Words = Field((), description="Plug-ins that are switched on, by name, in the order they are asked.")
    plugin_options: PluginOptions = Field("", repr=False, description="Their options, as JSON.")
    plugins_tell: Told = Field((), description="What they tell of pictures: `classes`, `unsafe`.")
    plugin_seconds: int = Field(30, ge=1, le=240, description="Time that an answer of a plug-in may take.")
    plugin_memory_bytes: int = Field(512 * MIB, ge=64 * MIB, description="Memory of a plug-in's process.")

    @model_validator(mode="after")
    def _whole_mail(self) -> Self:
        if self.smtp_url and not self.mail_from:
            raise ValueError("CHIPMUNK_SMTP_URL needs CHIPMUNK_MAIL_FROM beside it")
        if self.smtp_url and not self.base_url.isascii():
            raise ValueError("CHIPMUNK_SMTP_URL needs a CHIPMUNK_PUBLIC_URL in ASCII: xn--… for what is not")
        return self

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if self.jwt_issuer and not (self.jwt_audience and self.jwt_jwks):
            raise ValueError("CHIPMUNK_JWT_ISSUER needs CHIPMUNK_JWT_AUDIENCE and CHIPMUNK_JWT_JWKS beside it")
        return self

    @model_validator(mode="after")
    def _whole_plugins(self) -> Self:
        if self.plugins_tell and not self.plugins:
            raise ValueError("CHIPMUNK_PLUGINS_TELL needs CHIPMUNK_PLUGINS beside it")
        return self

    @property
    def has_model(self) -> bool:
        return bool(self.classifier or self.unsafe_classifier)

    @property
    def classifies(self) -> bool:
        """Whether a model is set, or plug-ins tell something."""
        return self.has_model or bool(self.plugins_tell)

    @property
    def tells_unsafe(self) -> bool:
        return bool(self.unsafe_classifier) or "unsafe" in self.plugins_tell

    @property
    def store_dir(self) -> Path:
        return self.data_dir / "store"

    @property
    def cache_dir(self) -> Path:
        """Where nginx keeps rungs that lie elsewhere."""
        return self.data_dir / "cache"

    @property
    def spool_dir(self) -> Path:
        """Where nginx lays request bodies; on one filesystem with the store."""
        return self.store_dir / ".spool"

    @property
    def run_dir(self) -> Path:
        """Sockets and pids; elsewhere than below the data directory only where a socket's path would not fit."""
        below = self.data_dir / "run"
        if len(str(below)) + len(LONGEST_SOCKET) <= SOCKET_PATH_BOUND:
            return below
        return Path("/tmp") / self.short_name  # noqa: S108 - its owner and mode are checked

    @property
    def short_name(self) -> str:
        """What stands for the data directory elsewhere on the machine."""
        return f"chipmunk-{hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:16]}"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def base_url(self) -> str:
        """What absolute links start with, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def view_policy(self) -> str:
        """Cross-Origin-Resource-Policy of views.

        Browsers take no two addresses without a registrable domain (127.0.0.1, localhost) for one site, so there
        `same-site` would hide pictures from the app's own page; the cookie's SameSite still keeps other sites out.
        """
        host = urlsplit(self.base_url).hostname or ""
        has_domain = "." in host and ":" not in host and not host.replace(".", "").isdigit()
        return self.resource_policy or (
            "same-site" if has_domain and self.cookie_same_site == "lax" else "cross-origin"
        )

    def address(self, service: Literal["authorizer", "api", "compressor"]) -> str:
        """Where a service listens: `unix:/path` or `host:port`."""
        given: str = getattr(self, f"{service}_address")
        return given or f"unix:{self.run_dir / service}.sock"


def _value(environ: Mapping[str, str], name: str) -> str | None:
    """The setting's text, from the variable or from the file that `…_FILE` names; both set is an error."""
    plain, path = environ.get(PREFIX + name), environ.get(f"{PREFIX}{name}_FILE")
    if path is None:
        return plain
    if plain is not None:
        raise SettingsError(f"Both {PREFIX}{name} and {PREFIX}{name}_FILE are set; keep one.")
    try:
        return Path(path).read_text().strip()
    except OSError as e:
        raise SettingsError(f"{PREFIX}{name}_FILE cannot be read: {e.strerror}.") from None


def load(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from the environment; `given` fields win. Raises SettingsError that names the setting."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for field in Settings.model_fields:
        value = _value(environ, field.upper())
        if value is not None and value != "":
            values[field] = value
    known = {PREFIX + f.upper() for f in Settings.model_fields}
    for name in environ:
        if name.startswith(PREFIX) and name not in known and name.removesuffix("_FILE") not in known:
            raise SettingsError(f"{name} is not a setting; see docs/reference/settings.md.")
    try:
        return Settings(**{**values, **given})
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "Settings"
        raise SettingsError(f"{name}: {first['msg']}.") from None
