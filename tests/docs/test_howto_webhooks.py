"""The page on webhooks and the examples of the reference do what they say."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import WebhookVerificationError

from chipmunk import ids, webhooks
from chipmunk.telling import AFTER
from tests.docs.howto import lay
from tests.docs.pages import text

BODY = json.dumps({"type": "media.ready", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "1", "owner": "ü"}})


def headers(secret: str, at: float = 0) -> dict[str, str]:
    return webhooks.signed([secret], ids.new_id(), int(at or time.time()), BODY.encode())


async def test_the_app_of_the_page_takes_what_is_ours_once_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = webhooks.new_secret()
    lay("tell-your-app.md", tmp_path)
    (tmp_path / "webhook.secret").write_text(secret + "\n")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("hook", tmp_path / "hook.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    transport = httpx.ASGITransport(app=page.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        good = headers(secret)
        for _ in range(2):
            assert (await http.post("/hooks/chipmunk", content=BODY, headers=good)).status_code == 204
        for bad in (headers(webhooks.new_secret()), headers(secret, time.time() - 1000), {}):
            assert (await http.post("/hooks/chipmunk", content=BODY, headers=bad)).status_code == 401
    assert capsys.readouterr().out == "ü 1\n"


def test_both_examples_of_the_reference_verify() -> None:
    secret = webhooks.new_secret()
    for block in re.findall(r"```python\n(.*?)```", text("webhooks"), re.S):
        found: dict[str, Any] = {}
        exec(block, found)
        assert found["verified"](secret, headers(secret), BODY.encode()) == json.loads(BODY)
        for bad in (headers(webhooks.new_secret()), headers(secret, time.time() - 1000)):
            with pytest.raises((ValueError, WebhookVerificationError)):
                found["verified"](secret, bad, BODY.encode())


def test_the_schedule_is_as_the_reference_says() -> None:
    told = re.findall(
        r"(\d+) (s|min|h)\b", text("webhooks").partition("tried again after ")[2].partition(", and up")[0]
    )
    assert [int(n) * {"s": 1, "min": 60, "h": 3600}[unit] for n, unit in told] == [w.total_seconds() for w in AFTER]
