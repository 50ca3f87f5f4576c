"""Apps with their own login: users come with JWTs, whose public keys are in a file or at a URL, and may change."""

from __future__ import annotations

import hmac
import http.server
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from tests.callers import outcome
from tests.client import App, photo, problem
from tests.harness import System, scratch, until

ISSUER, AUDIENCE = "https://login.example", "chipmunk"
LOGIN = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "origins": "https://app.example"}
RSA = RSAKey.generate_key(2048, auto_kid=True)
EC = ECKey.generate_key("P-256", auto_kid=True)
ED = OKPKey.generate_key("Ed25519", auto_kid=True)


def claims(user: str, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 600, **changes}
    return {k: v for k, v in found.items() if v is not None}


def token(
    user: str, key: Key = EC, algorithm: str = "ES256", header: dict[str, Any] | None = None, **changes: Any
) -> str:
    named = {"alg": algorithm, "kid": key.kid, **(header or {})}
    found = {k: v for k, v in named.items() if v is not None}
    return jwt.encode(found, claims(user, **changes), key, algorithms=[algorithm])


def by_hand(header: dict[str, Any], payload: dict[str, Any], secret: bytes | None) -> str:
    """A token that no library would make: signed with a MAC under `secret`, or not at all."""
    parts = [urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in (header, payload)]
    mac = b"" if secret is None else hmac.digest(secret, b".".join(parts), "sha256")
    return b".".join([*parts, urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def public(*keys: Key) -> str:
    return json.dumps(KeySet(list(keys)).as_dict(private=False))


class Login(http.server.BaseHTTPRequestHandler):
    """The login's key server."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked += 1
        self.send_response(server.status)
        self.end_headers()
        self.wfile.write(server.body.encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def login() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Login)
    server.asked, server.status, server.body = 0, 200, public(EC)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    with scratch() as folder:
        path = folder / "jwks.json"
        path.write_text(public(RSA, EC, ED))
        path.chmod(0o644)
        yield path


@pytest.fixture(scope="module")
def app(keys: Path) -> Iterator[App]:
    """A system whose keys are in a file."""
    with scratch() as folder, System(folder / "data", **LOGIN, jwt_jwks=keys) as system, App(system) as app:
        yield app


@pytest.fixture(scope="module")
def far(login: Any) -> Iterator[App]:
    """A system whose keys are at a URL."""
    url = f"http://127.0.0.1:{login.server_address[1]}/jwks"
    with scratch() as folder, System(folder / "data", **LOGIN, jwt_jwks=url) as system, App(system) as app:
        yield app


@pytest.fixture(scope="module")
def user(app: App) -> str:
    return app.user()


def call(app: App, bearer: str, method: str = "GET", path: str = "/v1/media", **given: Any) -> httpx.Response:
    headers = {**given.pop("headers", {}), "Authorization": f"Bearer {bearer}"}
    return app.anonymous().request(method, path, headers=headers, **given)


def test_keys_at_a_url_are_fetched_once_and_again_for_an_unknown_id_at_most_once_a_minute(far: App, login: Any) -> None:
    user = far.user()
    assert call(far, token(user)).status_code == 200
    asked = login.asked
    assert asked == 1
    for _ in range(10):
        assert call(far, token(user)).status_code == 200
    for _ in range(10):
        stranger = ECKey.generate_key("P-256", auto_kid=True)
        assert outcome(call(far, token(user, stranger))) == "401 unauthorized"
    assert login.asked == asked, "the first fetch was less than a minute ago"
    assert call(far, token(user)).status_code == 200


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "Ed25519"), (ED, "EdDSA")])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_a_token_of_each_algorithm_uploads_views_and_manages_for_its_subject(
    app: App, user: str, key: Key, algorithm: str
) -> None:
    bearer, stranger = token(user, key, algorithm), token(app.user(), key, algorithm)
    upload = call(app, bearer, "PUT", "/v1/media?filename=a.jpg", content=photo(60, 40, 3))
    assert (upload.status_code, upload.json()["owner"]) == (201, user)
    media = app.ready(upload.json()["id"])
    for quality in (0, 3):
        assert call(app, bearer, path=f"{media['url']}{quality}/").status_code == 200
        assert outcome(call(app, stranger, path=f"{media['url']}{quality}/")) == "404 not_found"
    assert call(app, bearer, path=f"/v1/users/{user}").json()["id"] == user
    assert outcome(call(app, stranger, path=f"/v1/users/{user}")) == "404 not_found"
    assert outcome(call(app, bearer, path="/v1/users")) == "403 forbidden"
    assert outcome(call(app, bearer, path="/metrics")) == "403 forbidden"
    assert outcome(call(app, bearer, "PUT", f"/v1/media?user={app.user()}", content=b"x")) == "403 forbidden"
    made = call(app, bearer, "POST", f"/v1/media/{media['id']}/links", json={"audience": "owner"})
    assert made.status_code == 201
    assert call(app, bearer, "DELETE", f"/v1/media/{media['id']}").status_code == 204


def test_a_token_in_the_cookie_is_taken_and_guarded_like_a_session(app: App, user: str) -> None:
    http = app.anonymous()
    http.headers["Cookie"] = f"chipmunk_session={token(user)}"
    assert http.get(f"/v1/users/{user}").status_code == 200
    problem(http.put("/v1/media", content=photo(30, 30)), 403, "cross_site")
    assert http.put("/v1/media", content=photo(30, 30), headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201


STRANGER = ECKey.generate_key("P-256", auto_kid=True)
BAD: dict[str, Callable[[str], str]] = {
    "another issuer": lambda u: token(u, iss="https://login.example.evil"),
    "an issuer with a slash more": lambda u: token(u, iss=f"{ISSUER}/"),
    "no issuer": lambda u: token(u, iss=None),
    "another audience": lambda u: token(u, aud="other"),
    "no audience": lambda u: token(u, aud=None),
    "audiences without ours": lambda u: token(u, aud=["a", "b"]),
    "expired": lambda u: token(u, exp=int(time.time()) - 1),
    "no expiry": lambda u: token(u, exp=None),
    "an expiry in words": lambda u: token(u, exp="9999999999"),
    "not yet": lambda u: token(u, nbf=int(time.time()) + 300),
    "issued later": lambda u: token(u, iat=int(time.time()) + 300),
    "nobody": lambda u: token("nobody-at-all"),
    "no subject": lambda u: token(u, sub=None),
    "a subject that is none": lambda u: token(u, sub=["a"]),
    "a subject that is an address": lambda u: token("../" + u),
    "an unknown key": lambda u: token(u, STRANGER),
    "a stranger with our key's id": lambda u: token(u, STRANGER, header={"kid": EC.kid}),
    "no key's id": lambda u: token(u, header={"kid": None}),
    "the stranger's key inside": lambda u: token(
        u, STRANGER, header={"jwk": STRANGER.as_dict(private=False), "kid": None}
    ),
    "alg none": lambda u: by_hand({"alg": "none"}, claims(u), None),
    "alg None": lambda u: by_hand({"alg": "None", "kid": EC.kid}, claims(u), None),
    "alg none with our key's id": lambda u: by_hand({"alg": "none", "kid": EC.kid}, claims(u), None),
    "HS256 under the public key": lambda u: by_hand(
        {"alg": "HS256", "kid": RSA.kid}, claims(u), RSA.as_pem(private=False)
    ),
    "HS256 under nothing": lambda u: by_hand({"alg": "HS256", "kid": EC.kid}, claims(u), b""),
    "an algorithm not allowed": lambda u: token(u, RSA, "PS256"),
    "cut": lambda u: token(u)[:-6],
    "another's payload": lambda u: ".".join([token(u).split(".")[0], token("x").split(".")[1], token(u).split(".")[2]]),
    "dots": lambda u: "..",
    "no json": lambda u: "YQ.YQ.YQ",
    "deep json": lambda u: urlsafe_b64encode(b"[" * 3000).decode().rstrip("=") + ".YQ.YQ",
    "far too long": lambda u: token(u, x="y" * 9000),
}


@pytest.mark.parametrize("name", BAD)
def test_a_token_that_is_not_good_is_nobodys_at_every_door(app: App, user: str, name: str) -> None:
    media = app.http.get("/v1/media?limit=1").json()["items"][0]
    bearer = BAD[name](user)
    for method, path in (
        ("GET", f"/v1/users/{user}"),
        ("PUT", "/v1/media"),
        ("GET", f"{media['url']}1/"),
        ("DELETE", f"/v1/media/{media['id']}"),
    ):
        answer = call(app, bearer, method, path, **({"content": photo(30, 30)} if method == "PUT" else {}))
        assert outcome(answer) == "401 unauthorized", (method, path)


def test_a_token_ends_on_a_hot_view_too(app: App, user: str) -> None:
    upload = call(app, token(user), "PUT", content=photo(30, 30, 9)).json()
    bearer, url = token(user, exp=int(time.time()) + 3), f"{upload['url']}1/"
    assert call(app, bearer, path=url).status_code == 200
    until(lambda: call(app, bearer, path=url).status_code == 401, 6, "the end of a token on a hot view")


def test_logging_out_everywhere_refuses_tokens_issued_before_and_takes_those_issued_after(app: App) -> None:
    user = app.user()
    media = call(app, token(user), "PUT", content=photo(30, 30, 10)).json()
    before, undated, url = token(user, iat=int(time.time()) - 5), token(user, iat=None), f"{media['url']}1/"
    for bearer in (before, undated):
        assert call(app, bearer, path=url).status_code == 200
    assert call(app, before, "DELETE", f"/v1/users/{user}/sessions").status_code == 204
    answered = time.monotonic()
    until(lambda: call(app, before, path=url).status_code == 401, 2, "refusal of an old token on a hot view")
    assert time.monotonic() - answered < 2
    for bearer in (before, undated):
        assert outcome(call(app, bearer)) == "401 unauthorized"
        assert outcome(call(app, bearer, "PUT", content=b"x")) == "401 unauthorized"
    time.sleep(1.1)
    after = token(user)
    assert call(app, after).status_code == 200
    assert call(app, after, path=url).status_code == 200


def test_a_suspended_or_deleted_users_token_is_nobodys(app: App) -> None:
    for end in (
        lambda u: app.http.put(f"/v1/users/{u}", json={"suspended": True}),
        lambda u: app.http.delete(f"/v1/users/{u}"),
    ):
        user = app.user()
        bearer = token(user)
        assert call(app, bearer).status_code == 200
        assert end(user).status_code in (200, 202)
        assert outcome(call(app, bearer)) == "401 unauthorized"


def test_a_deleted_users_token_opens_nothing_of_the_next_of_that_name(app: App) -> None:
    user = app.user()
    old = token(user, iat=int(time.time()) - 5)
    assert call(app, old).status_code == 200
    assert app.http.delete(f"/v1/users/{user}").status_code == 202
    assert app.http.put(f"/v1/users/{user}", json={}).status_code == 201
    assert outcome(call(app, old)) == "401 unauthorized"
    time.sleep(1.1)
    assert call(app, token(user)).status_code == 200


def test_a_key_that_the_login_adds_later_is_taken_without_a_restart(far: App, login: Any) -> None:
    """Also while old keys are in use; the minute begins at the last fetch, so this waits for it to pass."""
    user, new = far.user(), ECKey.generate_key("P-256", auto_kid=True)
    login.body = public(new, EC)
    rotated, asked, began = token(user, new), login.asked, time.monotonic()
    until(lambda: call(far, rotated).status_code == 200, 75, "the new key")
    assert login.asked == asked + 1
    assert call(far, token(user)).status_code == 200, "the old key is in use still"
    login.status = 500
    for _ in range(5):
        assert outcome(call(far, token(user, ECKey.generate_key("P-256", auto_kid=True)))) == "401 unauthorized"
        assert call(far, rotated).status_code == 200, "a login that is down ends nothing that is known"
    assert login.asked <= asked + 2
    assert time.monotonic() - began < 80
