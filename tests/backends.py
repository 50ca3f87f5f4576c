"""Backends as an operator sees them, in tests that use the system as it runs."""

from __future__ import annotations

from typing import Any

import httpx

from tests.callers import CREATED, Cast, outcome
from tests.client import App, fresh
from tests.harness import System, until

NOWHERE = "s3+http://127.0.0.1:9/media"
CANARY = "SK-canary-5f0e3b"
DEAD: dict[str, Any] = {
    "url": NOWHERE, "access_key": "AK-canary-77aa10", "secret_key": CANARY, "unchecked": True
}  # fmt: skip


class Operator:
    """Used as a context, it takes the backends that were added meanwhile."""

    def __init__(self, system: System) -> None:
        headers = {"Authorization": f"Bearer {system.operator_key}"}
        self.http = httpx.Client(base_url=system.url, headers=headers, timeout=60)

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names():
            self.http.delete(f"/v1/backends/{name}")
        left = self.names()
        self.http.close()
        assert left == ["local"]

    def names(self) -> list[str]:
        return [b["id"] for b in self.http.get("/v1/backends", params={"limit": 200}).json()["items"]]

    def put(self, name: str, **fields: Any) -> httpx.Response:
        return self.http.put(f"/v1/backends/{name}", json=fields)

    def get(self, name: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/backends/{name}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def put(cast: Cast, name: str, **fields: Any) -> httpx.Response:
    return cast.ask("operator", "PUT", f"/v1/backends/{name}", json=fields)


def dead(cast: Cast, **fields: Any) -> str:
    """A backend that nobody looked at and that is not there."""
    name = fresh("backend")
    assert outcome(put(cast, name, **{**DEAD, **fields})) == CREATED
    return name


def on(backend: str, role: str = "primary") -> dict[str, str]:
    """A place of a flow."""
    return {"backend": backend, "role": role}


def flow(app: App, *where: dict[str, str], **fields: Any) -> str:
    name = fresh("flow")
    answer = app.http.put(f"/v1/flows/{name}", json={**fields, "backends": list(where)})
    assert answer.status_code == 201, answer.text
    return name


def lies(app: App, media: str, *places: dict[str, str], seconds: float = 30) -> None:
    """Waits until the media is stored in these places and nowhere else."""
    wanted = [{**place, "state": "stored"} for place in places]

    def there() -> bool:
        return bool(app.http.get(f"/v1/media/{media}").json()["stored"] == wanted)

    until(there, seconds, f"{media} at {places}")


def done(app: App, job: str, seconds: float = 60) -> dict[str, Any]:
    """The job, once it has ended."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(app.http.get(f"/v1/jobs/{job}").json())
        return found["state"] not in ("queued", "running")

    until(ended, seconds, f"the end of job {job}")
    return found
