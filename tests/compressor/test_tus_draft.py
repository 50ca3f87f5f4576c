"""Resumable uploads by the IETF's draft: the same uploads as by tus, otherwise said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chipmunk import ids
from compressor import draft_headers, ladder
from tests.compressor.conftest import House, photo
from tests.compressor.tus import PATH, created, cut, head, metadata, patch, told

PHOTO = photo()
LARGE = photo(1600, 1200, 3, 95)
DRAFT_03, DRAFT_05 = ({draft_headers.INTEROP: version} for version in draft_headers.VERSIONS)
NOT_YET, LAST = {"upload-complete": "?0"}, {"upload-complete": "?1"}
PARTIAL = {"content-type": "application/partial-upload"}


async def begin(house: House, headers: dict[str, str], content: Any = None, **values: str) -> httpx.Response:
    about = {"upload-metadata": metadata(**{"user": "ann", **values})}
    return await house.http.post(PATH, headers={**about, **headers}, content=content)


async def append(house: House, where: str, content: Any, offset: int, headers: dict[str, str]) -> httpx.Response:
    said = {**DRAFT_05, **PARTIAL, "upload-offset": str(offset), **headers}
    return await house.http.patch(where, headers=said, content=content)


async def pieces(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def original(house: House, where: str) -> bytes:
    return (house.folder(where.removeprefix(PATH)) / "0").read_bytes()


async def test_one_request_is_enough_and_its_type_and_name_are_the_file_s(house: House) -> None:
    named = {"content-type": "image/jpeg", "content-disposition": 'attachment; filename="a b.jpg"'}
    answer = await begin(house, {**DRAFT_05, **LAST, **named}, PHOTO)
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1")
    assert "tus-resumable" not in answer.headers
    where = answer.headers["location"]
    assert answer.headers["chipmunk-media"] == where.removeprefix(PATH)
    found = await house.until("processing", answer.headers["chipmunk-media"])
    assert (found.filename, found.owner) == ("a b.jpg", "ann")
    assert original(house, where) == PHOTO


@pytest.mark.parametrize("version", [DRAFT_03, DRAFT_05], ids=["03", "05"])
@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
async def test_an_upload_in_pieces_ends_with_the_request_that_says_so(
    house: House, version: dict[str, str], sized: bool
) -> None:
    length = {"upload-length": str(len(LARGE))} if sized else {}
    made = await begin(house, {**version, **NOT_YET, **length})
    assert (made.status_code, made.headers["upload-complete"], made.headers["upload-offset"]) == (201, "?0", "0")
    assert made.headers["upload-draft-interop-version"] == version[draft_headers.INTEROP]
    where, half = made.headers["location"], len(LARGE) // 2
    first = await append(house, where, LARGE[:half], 0, {**version, **NOT_YET})
    assert (first.status_code, first.headers["upload-complete"]) == (204, "?0")
    looked = await house.http.head(where, headers=version)
    assert (looked.headers["upload-offset"], looked.headers["upload-complete"]) == (str(half), "?0")
    assert looked.headers.get("upload-length") == length.get("upload-length")
    age = int(looked.headers["upload-limit"].removeprefix("max-age="))
    assert house.settings.upload_seconds - 60 < age <= house.settings.upload_seconds
    last = await append(house, where, LARGE[half:], half, {**version, **LAST})
    assert (last.status_code, last.headers["upload-complete"]) == (204, "?1")
    assert original(house, where) == LARGE
    again = await append(house, where, b"", len(LARGE), {**version, **LAST})
    assert (again.status_code, again.headers["chipmunk-media"]) == (204, where.removeprefix(PATH))


async def test_a_body_of_no_known_length_may_be_the_last(house: House) -> None:
    answer = await begin(house, {**DRAFT_05, **LAST}, pieces(LARGE))
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1")
    assert original(house, answer.headers["location"]) == LARGE
    where = (await begin(house, {**DRAFT_05, **NOT_YET})).headers["location"]
    last = await append(house, where, pieces(LARGE), 0, LAST)
    assert (last.status_code, last.headers["upload-complete"]) == (204, "?1")
    assert original(house, where) == LARGE
    used, kept, count = await house.standing()
    assert count == 2
    assert used + kept == 2 * (len(LARGE) + ladder.still_cap(len(LARGE)))


async def test_a_last_body_that_is_cut_is_not_taken_for_the_whole(house: House) -> None:
    where = (await begin(house, {**DRAFT_05, **NOT_YET})).headers["location"]
    said = {**DRAFT_05, **PARTIAL, **LAST, "upload-offset": "0", "transfer-encoding": "chunked"}
    await cut(house, "PATCH", where, [LARGE[:50_000]], tus_resumable="", **said)
    looked = await house.http.head(where, headers=DRAFT_05)
    assert (looked.headers["upload-offset"], looked.headers["upload-complete"]) == ("50000", "?0")
    assert (await append(house, where, LARGE[50_000:], 50_000, LAST)).headers["upload-complete"] == "?1"
    assert original(house, where) == LARGE


async def test_a_last_body_that_is_too_short_is_refused_and_can_be_gone_on_with(house: House) -> None:
    where = (await begin(house, {**DRAFT_05, **NOT_YET, "upload-length": str(len(LARGE))})).headers["location"]
    known = await append(house, where, LARGE[:1000], 0, LAST)
    assert (known.status_code, known.json()["code"]) == (400, "bad_request")
    unknown = await append(house, where, pieces(LARGE[:1000]), 0, LAST)
    assert (unknown.status_code, unknown.json()["offset"]) == (400, 1000)
    assert (await append(house, where, LARGE[1000:], 1000, LAST)).status_code == 204
    assert original(house, where) == LARGE


async def test_the_two_protocols_share_an_upload(house: House) -> None:
    where = await created(house, len(LARGE))
    assert (await append(house, where, LARGE[:1000], 0, NOT_YET)).status_code == 204
    assert (await head(house, where)).headers["upload-offset"] == "1000"
    assert (await patch(house, where, LARGE[1000:], 1000)).status_code == 204
    assert (await house.http.head(where, headers=DRAFT_05)).headers["upload-complete"] == "?1"
    assert (await told(house, where))["state"] == "stored"


async def test_another_offset_is_told(house: House) -> None:
    where = (await begin(house, {**DRAFT_05, **NOT_YET})).headers["location"]
    await append(house, where, LARGE[:1000], 0, NOT_YET)
    answer = await append(house, where, LARGE[:1000], 0, NOT_YET)
    assert (answer.status_code, answer.json()["code"]) == (409, "other_offset")
    assert answer.headers["upload-offset"] == "1000"
    assert (await house.http.delete(where, headers=DRAFT_05)).status_code == 204
    assert await house.nothing()


WRONG: dict[str, tuple[dict[str, str], int]] = {
    "of an unknown version": ({draft_headers.INTEROP: "4", **LAST}, 412),
    "of no version": (LAST, 412),
    "that does not say whether it is the last": (DRAFT_05, 400),
    "that says it otherwise": ({**DRAFT_05, "upload-complete": "1"}, 400),
    "of parts": ({**DRAFT_05, **LAST, "upload-concat": "partial"}, 400),
    "that ends elsewhere than it says": ({**DRAFT_05, **LAST, "upload-length": "5"}, 400),
    "that is no picture": ({**DRAFT_05, **LAST}, 415),
    "with a wrong checksum": ({**DRAFT_05, **LAST, "upload-checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, 460),
}


@pytest.mark.parametrize("which", WRONG)
async def test_a_creation_is_refused(house: House, which: str) -> None:
    headers, status = WRONG[which]
    answer = await begin(house, headers, b"no picture" * 10)
    assert answer.status_code == status, answer.text
    assert await house.nothing()


async def test_nothing_is_no_upload(house: House) -> None:
    assert (await begin(house, {**DRAFT_05, **LAST})).json()["code"] == "empty_file"
    answer = await begin(house, {**DRAFT_05, **LAST}, pieces(b""))
    assert answer.json()["code"] == "empty_file"
    assert await house.nothing()
    where = (await begin(house, {**DRAFT_05, **NOT_YET})).headers["location"]
    refused = await append(house, where, b"x", 0, {**LAST, "content-type": "image/jpeg"})
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_type")
    unknown = f"{PATH}{ids.new_id().hex}"
    assert (await append(house, unknown, b"x", 0, LAST)).status_code == 404


async def test_options_tell_the_limit(house: House) -> None:
    answer = await house.http.options(PATH, headers=DRAFT_05)
    assert answer.headers["upload-limit"] == f"max-size={house.settings.max_file_bytes}"
