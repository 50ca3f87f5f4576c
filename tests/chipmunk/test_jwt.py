from __future__ import annotations

import asyncio
import hmac
import http.server
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from chipmunk import config
from chipmunk.credentials import Claims
from chipmunk.errors import Unavailable
from chipmunk.jwt import KEEP_SECONDS, REFETCH_SECONDS, Keys, Verifier

NOW = 1_800_000_000
GOOD: dict[str, Any] = {"iss": "https://login", "aud": "chipmunk", "sub": "ann", "iat": NOW - 5, "exp": NOW + 60}
MAKERS = {
    "RS256": lambda: RSAKey.generate_key(2048, auto_kid=True),
    "ES256": lambda: ECKey.generate_key("P-256", auto_kid=True),
    "Ed25519": lambda: OKPKey.generate_key("Ed25519", auto_kid=True),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519", auto_kid=True),
}


def token(key: Key, algorithm: str, claims: dict[str, Any], **header: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": key.kid, **header}, claims, key, algorithms=[algorithm])


def published(path: Path, *keys: Key) -> Path:
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return path


def verifier(source: str, **settings: Any) -> Verifier:
    given = {"jwt_issuer": "https://login", "jwt_audience": "chipmunk", "jwt_jwks": source, **settings}
    return Verifier(config.load({}, **given), Keys(source))


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", MAKERS)
def test_a_good_token_of_each_algorithm_speaks_for_its_subject(algorithm: str, tmp_path: Path) -> None:
    key = MAKERS[algorithm]()
    source = published(tmp_path / "jwks", key)
    found = asyncio.run(verifier(str(source)).verify(token(key, algorithm, GOOD), NOW))
    assert found == Claims("ann", NOW - 5, NOW + 60)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other"},
        {"aud": "other"},
        {"aud": ["a", "b"]},
        {"aud": None},
        {"exp": NOW},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"nbf": NOW + 600},
        {"iat": NOW + 600},
        {"sub": None},
        {"sub": 5},
    ],
)
def test_a_token_that_lacks_something_speaks_for_nobody(change: dict[str, Any], tmp_path: Path) -> None:
    key = MAKERS["ES256"]()
    source = published(tmp_path / "jwks", key)
    claims = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    assert asyncio.run(verifier(str(source)).verify(token(key, "ES256", claims), NOW)) is None


def test_one_audience_of_several_is_enough(tmp_path: Path) -> None:
    key = MAKERS["ES256"]()
    source = published(tmp_path / "jwks", key)
    several = token(key, "ES256", {**GOOD, "aud": ["other", "chipmunk"]})
    assert asyncio.run(verifier(str(source)).verify(several, NOW)) is not None


def signed_with_the_public_key(key: Key) -> str:
    """A token whose MAC is keyed with what everybody knows, for a verifier that lets the token choose."""
    parts = [json.dumps(p).encode() for p in ({"alg": "HS256", "kid": key.kid}, GOOD)]
    message = b".".join(urlsafe_b64encode(p).rstrip(b"=") for p in parts)
    mac = hmac.digest(key.as_pem(private=False), message, "sha256")
    return (message + b"." + urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_symmetric_and_unsigned_tokens_are_refused(tmp_path: Path) -> None:
    key = MAKERS["RS256"]()
    source = published(tmp_path / "jwks", key)
    check = verifier(str(source))
    good = token(key, "RS256", GOOD)
    for bad in (
        signed_with_the_public_key(key),
        "eyJhbGciOiJub25lIn0." + good.split(".")[1] + ".",
        good[:-3] + "AAA",
        "a.b.c",
        "..",
        "é.é.é",
    ):
        assert asyncio.run(check.verify(bad, NOW)) is None, bad
    stranger = MAKERS["RS256"]()
    forged = jwt.encode({"alg": "RS256", "kid": key.kid}, GOOD, stranger, algorithms=["RS256"])
    assert asyncio.run(check.verify(forged, NOW)) is None


class Jwks(http.server.BaseHTTPRequestHandler):
    keys: ClassVar[list[Key]] = []
    asked = 0

    def do_GET(self) -> None:
        Jwks.asked += 1
        body = json.dumps(KeySet(Jwks.keys).as_dict(private=False)).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jwks)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Jwks.asked = 0
    yield f"http://127.0.0.1:{server.server_address[1]}/jwks"
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_are_kept_rotated_and_unknown_ids_refetched_once_a_minute(url: str) -> None:
    old, new, never = (MAKERS["ES256"]() for _ in range(3))
    now = 0.0
    keys = Keys(url, lambda: now)
    Jwks.keys = [old]

    async def main() -> None:
        nonlocal now
        for _ in range(5):
            assert await keys.holding(old.kid) is not None
        assert Jwks.asked == 1
        Jwks.keys = [new, old]
        assert await keys.holding(new.kid) is None
        assert Jwks.asked == 1
        now += REFETCH_SECONDS
        assert await keys.holding(new.kid) is not None
        assert Jwks.asked == 2
        for _ in range(20):
            assert await keys.holding(never.kid) is None
        assert Jwks.asked == 2
        Jwks.keys = [new]
        now += KEEP_SECONDS
        assert await keys.holding(new.kid) is not None
        assert await keys.holding(old.kid) is None
        assert Jwks.asked == 3

    asyncio.run(main())


def test_without_any_keys_nobody_is_told_that_a_token_is_bad(tmp_path: Path) -> None:
    key = MAKERS["ES256"]()
    with pytest.raises(Unavailable):
        asyncio.run(verifier(str(tmp_path / "none")).verify(token(key, "ES256", GOOD), NOW))
