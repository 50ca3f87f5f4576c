"""What an operator may say of a backend, what is kept of what was said before, and that no secret goes astray."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from chipmunk import config
from chipmunk.backend_fields import Described, Settled, pinned, settled
from chipmunk.errors import SettingsError, Unprocessable

BUCKET = "s3+https://s3.example.com/media"
NODE = "ipfs+http://10.0.0.7:5001"
KEYS = {"access_key": "AK-canary", "secret_key": "SK-canary"}


def made(name: str, before: Settled | None = None, **fields: Any) -> Settled:
    return settled(name, Described.model_validate(fields), before)


def test_a_new_one_gets_the_defaults_of_its_scheme_and_no_others() -> None:
    bucket = made("main", url=BUCKET, **KEYS)
    assert bucket.options == {
        "region": "us-east-1", "addressing": "path", "encryption": "", "kms_key": "", "cors": False
    }  # fmt: skip
    assert (bucket.secret, bucket.role, bucket.choosable) == (KEYS, None, False)
    assert made("node", url=NODE).options == {"plain": "never"}
    assert made("local", url="local:").options == {}


@pytest.mark.parametrize(
    "url",
    [
        "", "local", "local:/srv", "file:///srv", "https://s3.example.com/media", "s3://media", "S3+https://h/b", "s3+https:",
        "s3+https://", "s3+https:///media", "s3+https://s3.example.com", "s3+https://s3.example.com/", "s3+https://h:0/b",
        "s3+https://h:99999/b", "s3+https://h:x/b", "s3+https://[::1/b", "s3+https://h/b?x=1", "s3+https://h/b?",
        "s3+https://h/b#x", "s3+https://h /b", "s3+https://h\\x/b", "s3+https://h/b\n", "ipfs://node", "ipfs+https:5001",
        "s3+https://" + "h" * 1000 + "/b",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_store_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Described.model_validate({"url": url})
    assert caught.value.errors()[0]["loc"] == ("url",)


@pytest.mark.parametrize(
    "url", ["s3+https://AK:SK@h/b", "s3+https://SK@h/b", "ipfs+http://:SK@h:5001", "s3+https://@h/b"]
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Described.model_validate({"url": url})
    assert "SK" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "foreign"),
    [
        (BUCKET, {"token": "t"}),
        (BUCKET, {"plain": "never"}),
        (NODE, {"access_key": "a"}),
        (NODE, {"region": "eu"}),
        (NODE, {"cors": False}),
        ("local:", {"token": None}),
        ("local:", {"addressing": "path"}),
    ],
)
def test_a_field_of_another_scheme_is_refused_by_name(url: str, foreign: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Described.model_validate({"url": url, **foreign})
    assert caught.value.errors()[0]["loc"] == tuple(foreign)


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("main", {"url": BUCKET}, "access_key"),
        ("main", {"url": BUCKET, "access_key": "a"}, "secret_key"),
        ("main", {"url": BUCKET, "secret_key": "a"}, "access_key"),
        ("main", {"url": BUCKET, **KEYS, "secret_key": None}, "secret_key"),
        ("main", {"url": BUCKET, **KEYS, "kms_key": "k"}, "kms_key"),
        ("main", {"url": BUCKET, **KEYS, "encryption": "AES256", "kms_key": "k"}, "kms_key"),
        ("local", {"url": BUCKET, **KEYS}, "url"),
        ("other", {"url": "local:"}, "url"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(name: str, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        made(name, **fields)
    assert caught.value.ids["field"] == field


def test_what_is_left_out_stays_and_what_is_said_changes() -> None:
    before = made(
        "main", url=BUCKET, **KEYS, role="backup", choosable=True, region="eu-1", encryption="aws:kms", kms_key="k"
    )
    assert made("main", before, url=BUCKET) == before
    changed = made("main", before, url=BUCKET, role=None, encryption="AES256")
    assert (changed.role, changed.choosable, changed.secret) == (None, True, KEYS)
    assert changed.options == {**before.options, "encryption": "AES256", "kms_key": ""}


@pytest.mark.parametrize("url", ["s3+https://s3.example.com/other", "s3+https://S3.example.com/media/below"])
def test_another_bucket_of_the_same_server_keeps_the_credentials(url: str) -> None:
    assert made("main", made("main", url=BUCKET, **KEYS), url=url).secret == KEYS


@pytest.mark.parametrize(
    "url",
    [
        "s3+https://evil.example.com/media", "s3+http://s3.example.com/media", "s3+https://s3.example.com:8443/media",
        "s3+https://s3.example.com.evil.example/media",
    ],
)  # fmt: skip
def test_another_server_needs_the_credentials_anew(url: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        made("main", made("main", url=BUCKET, **KEYS), url=url)
    assert caught.value.ids["field"] == "access_key"


def test_a_token_is_kept_for_its_node_alone_and_goes_when_it_is_null() -> None:
    before = made("node", url=NODE, token="canary", plain="public")
    assert made("node", before, url=NODE).secret == {"token": "canary"}
    assert made("node", before, url=NODE, token=None).secret == {}
    with pytest.raises(Unprocessable):
        made("node", before, url="ipfs+http://10.0.0.8:5001")
    assert made("node", before, url="ipfs+http://10.0.0.8:5001", token="other").options == {"plain": "public"}


def test_one_of_another_kind_begins_anew() -> None:
    before = made("main", url=BUCKET, **KEYS, role="archive", region="eu-1")
    after = made("main", before, url=NODE)
    assert (after.options, after.secret, after.role) == ({"plain": "never"}, {}, "archive")


def test_a_secret_is_in_no_text_of_it() -> None:
    given = Described.model_validate({"url": BUCKET, **KEYS})
    assert "canary" not in repr(given) + str(given) + repr(made("main", url=BUCKET, **KEYS))


PRIMARY = {"url": BUCKET, **KEYS, "role": "primary"}


@pytest.mark.parametrize(
    "value",
    [
        "canary", "[]", "{}", "null", '{"a": 1}', '{"a": {"url": "local:"}, "a": {"url": "local:"}}', "[" * 100_000,
        {"main": {**PRIMARY, "role": "backup"}},
        {"main": PRIMARY, "other": PRIMARY},
        {"main": {**PRIMARY, "token": "canary"}},
        {"main": {**PRIMARY, "secret_key": "canary\u00fc"}},
        {"main": {**PRIMARY, "secret_key": ["canary"]}},
        {"main": {**PRIMARY, "url": "s3+https://a:canary@h/b"}},
        {"main": {**PRIMARY, "unchecked": True}},
        {"no name": PRIMARY},
        {"main": {k: v for k, v in PRIMARY.items() if k != "secret_key"}},
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_stops_the_start_and_is_not_repeated(value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(SettingsError, match="CHIPMUNK_BACKENDS: ") as caught:
        config.load({"CHIPMUNK_BACKENDS": text})
    assert "canary" not in str(caught.value)


def test_the_setting_names_all_there_is() -> None:
    text = json.dumps({"main": PRIMARY, "local": {"url": "local:"}, "node": {"url": NODE, "role": "archive"}})
    settings = config.load({"CHIPMUNK_BACKENDS": text})
    assert "canary" not in repr(settings)
    found = pinned(settings.backends)
    assert {name: b.role for name, b in found.items()} == {"main": "primary", "local": None, "node": "archive"}
    assert found["main"].secret == KEYS
