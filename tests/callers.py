"""One of each kind of caller around one owner, and what a call answers to all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.client import App, photo

OK, CREATED, ACCEPTED, NOTHING = "200", "201", "202", "204"
UNAUTHORIZED, FORBIDDEN, SCOPE, ABSENT = "401 unauthorized", "403 forbidden", "403 scope_missing", "404 not_found"
SCOPES = ("view", "upload", "manage")
FORGED = "cms_" + "A" * 22 + "." + "B" * 43
NO_ID = "0" * 32


def outcome(answer: httpx.Response) -> str:
    """The status, and the code where it is a problem, which it must be from 400 on."""
    if answer.status_code < 400:
        return str(answer.status_code)
    assert answer.headers["content-type"] == "application/problem+json", answer.headers
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == answer.status_code
    return f"{answer.status_code} {body['code']}"


class Cast:
    """`owner` owns all that is made here; the kinds are in `credentials`, and those in `refused` are nobody's."""

    def __init__(self, app: App) -> None:
        self.app, self._seed = app, 1000
        self.owner, self.other, suspended = app.user(), app.user(), app.user()
        ended, expired = app.session(self.owner), app.session(self.owner, ttl_seconds=1)
        self.good = {
            "operator": app.system.operator_key,
            "app": app.system.api_key,
            "owner": app.session(self.owner)["token"],
            **{scope: app.session(self.owner, scopes=[scope])["token"] for scope in SCOPES},
            "other": app.session(self.other)["token"],
        }
        self.refused = {
            "nobody": None,
            "garbage": "garbage",
            "forged session": FORGED,
            "unknown key": "cmk_" + "0" * 43,
            "wrong operator": "cmo_" + "0" * 43,
            "no such jwt": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
            "logged out": ended["token"],
            "expired": expired["token"],
            "suspended": app.session(suspended)["token"],
        }
        assert app.http.delete(f"/v1/sessions/{ended['id']}").status_code == 204
        assert app.http.put(f"/v1/users/{suspended}", json={"suspended": True}).status_code == 200
        time.sleep(1.1)
        self.http = app.anonymous()

    def ask(self, kind: str, method: str, path: str, **given: Any) -> httpx.Response:
        token = {**self.good, **self.refused}[kind]
        headers = {**given.pop("headers", {})} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        return self.http.request(method, path, headers=headers, **given)

    def media(self, **query: object) -> str:
        """A new media of the owner's."""
        self._seed += 1
        answer = self.app.upload(self.owner, photo(40, 30, self._seed), **query)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@dataclass(frozen=True)
class Row:
    """A call and what each kind that has a good credential is answered; `target` makes what it is about, anew each time."""

    method: str
    target: Callable[[Cast], str]
    answers: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    content: bytes | None = None


def row(
    method: str,
    target: Callable[[Cast], str],
    app: str,
    owner: str,
    scope: str,
    other: str = ABSENT,
    body: Mapping[str, Any] | None = None,
    content: bytes | None = None,
    operator: str = FORBIDDEN,
) -> Row:
    """`scope` is the one that the owner needs; empty where no user may call at all."""
    within = {s: owner if s == scope else SCOPE for s in SCOPES} if scope else dict.fromkeys(SCOPES, owner)
    answers = {"operator": operator, "app": app, "owner": owner, **within, "other": other}
    return Row(method, target, answers, body, content)


def for_the_app_alone(method: str, target: Callable[[Cast], str], app: str, **given: Any) -> Row:
    return row(method, target, app, FORBIDDEN, "", FORBIDDEN, **given)


def for_the_operator_alone(method: str, target: Callable[[Cast], str], operator: str, **given: Any) -> Row:
    return row(method, target, FORBIDDEN, FORBIDDEN, "", FORBIDDEN, operator=operator, **given)


def answers(cast: Cast, asked: Row) -> dict[str, str]:
    """What every kind of caller is answered."""
    found = {}
    for kind in (*cast.good, *cast.refused):
        given = {"json": asked.body} if asked.body is not None else {"content": asked.content}
        found[kind] = outcome(cast.ask(kind, asked.method, asked.target(cast), **given))
    return found


def expected(cast: Cast, asked: Row) -> dict[str, str]:
    return {**asked.answers, **dict.fromkeys(cast.refused, UNAUTHORIZED)}


def bare(answer: httpx.Response, *names: str) -> tuple[object, ...]:
    """An answer without its date and request id, and with these names out of it."""
    text = answer.text
    for name in names:
        text = text.replace(name, "-")
    passing = ("date", "x-request-id", "content-length", "ratelimit")
    return answer.status_code, text, [(k, v) for k, v in answer.headers.items() if k not in passing]


def pages(http: httpx.Client, path: str, limit: int, **query: object) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, each fetched when it is asked for."""
    cursor: str | None = ""
    while cursor is not None:
        answer = http.get(path, params={"limit": limit, **query, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert set(page) == {"items", "next"}
        assert len(page["items"]) <= limit
        yield page["items"]
        cursor = page["next"]
