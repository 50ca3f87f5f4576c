"""The virus scan, by a real clamd."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.compressor.conftest import House, form, house_of, photo, settings_of
from tests.servers.clamd import EICAR, NAME, STREAM_BYTES, Clamd


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("eicar.com", data)
    return out.getvalue()


@pytest.fixture
def given(tmp_path: Path, database: str, redis_url: str) -> Any:
    def made(address: str) -> Any:
        options = json.dumps({"virus_scan": {"clamd": address}})
        return settings_of(
            tmp_path / "data", database, redis_url, allowed_types=("*/*",), plugins=("virus_scan",),
            plugin_options=options, decoders=1,
        )  # fmt: skip

    return made


@pytest.fixture
async def house(given: Any, clamd: Clamd) -> AsyncIterator[House]:
    async with house_of(given(clamd.address)) as house:
        await house.user()
        yield house


async def test_what_clamd_finds_something_in_is_refused_by_every_door_and_leaves_nothing(house: House) -> None:
    for data in (EICAR, photo() + EICAR, zipped(EICAR)):
        answer = await house.put(data)
        assert (answer.status_code, answer.json()["code"]) == (422, "refused_by_plugin"), answer.text
        assert answer.json()["plugin"] == "virus_scan"
        assert answer.json()["detail"] == f"The virus scan found {NAME}.UNOFFICIAL in the file."
        assert await house.nothing()
    body, headers = form(("user", None, b"ann"), ("file", "eicar.com", EICAR))
    assert (await house.http.post("/v1/media", content=body, headers=headers)).status_code == 422
    assert await house.nothing()


async def test_what_is_clean_is_stored_and_a_refused_key_may_be_used_again(house: House) -> None:
    key = {"idempotency-key": "once"}
    assert (await house.put(EICAR, headers=key)).status_code == 422
    stored = await house.stored(photo(), headers=key)
    again = await house.put(photo(), headers=key)
    assert (again.headers["idempotent-replayed"], again.json()["id"]) == ("true", stored["id"])
    assert (await house.standing())[2] == 1


async def test_what_is_larger_than_clamd_takes_is_refused(house: House) -> None:
    answer = await house.put(photo() + b"\0" * (2 * STREAM_BYTES))
    assert (answer.status_code, answer.json()["detail"]) == (422, "The file is larger than the virus scan looks into.")
    assert await house.nothing()


async def test_without_a_clamd_nothing_is_taken(given: Any, tmp_path: Path) -> None:
    async with house_of(given(f"unix:{tmp_path}/nobody.sock")) as house:
        await house.user()
        answer = await house.put(photo())
        assert (answer.status_code, answer.json()["code"]) == (503, "plugin_unavailable")
        assert await house.nothing()
