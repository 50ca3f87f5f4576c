from __future__ import annotations

from typing import Any

import pytest

from chipmunk.errors import BadBackend
from chipmunk.storage import Checking, Listing, PresigningReads, PresigningUploads, ServedFromDisk
from chipmunk.storage.s3 import S3Store
from chipmunk.storage.s3_address import Address, Options, parse

SECRET = {"access_key": "a", "secret_key": "s"}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3+https://s3.example.com/media", Address("https://s3.example.com", "media", "")),
        ("s3+http://127.0.0.1:9000/media/", Address("http://127.0.0.1:9000", "media", "")),
        ("s3+https://[::1]:9000/media/a/b", Address("https://[::1]:9000", "media", "a/b/")),
        ("s3+https://S3.Example.com/my.bucket-1/a/", Address("https://s3.example.com", "my.bucket-1", "a/")),
    ],
)
def test_a_url_names_endpoint_bucket_and_prefix(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example.com/media", "s3://media", "s3+https:///media", "s3+https://s3.example.com",
        "s3+https://s3.example.com/", "s3+https://s3.example.com:x/media", "s3+https://s3.example.com:99999/media",
        "s3+https://s3.example.com/media?x=1", "s3+https://s3.example.com/media#x", "s3+https://s3.example.com/media?",
        "s3+https://s3.example.com/a", "s3+https://s3.example.com/-media", "s3+https://s3.example.com/me..dia",
        "s3+https://s3.example.com/media/../x", "s3+https://s3.example.com/media//x", "s3+https://[::1/media",
        "s3+https://s3.example.com/media/.hidden", "s3+https://s3.example.com/media/a b", "s3+https://s3.example.com/m%2e",
    ],
)  # fmt: skip
def test_what_is_no_such_url_is_refused(url: str) -> None:
    with pytest.raises(BadBackend):
        parse(url)


@pytest.mark.parametrize("netloc", ["user:hunter2@h", "user@h", "@h", ":hunter2@h:9000"])
def test_credentials_in_a_url_are_refused_and_not_repeated(netloc: str) -> None:
    with pytest.raises(BadBackend, match="credentials") as refused:
        parse(f"s3+https://{netloc}/media")
    assert "hunter2" not in str(refused.value.document())


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"region": "a b"}, "region"),
        ({"region": 1}, "region"),
        ({"addressing": "dns"}, "addressing"),
        ({"encryption": "rot13"}, "encryption"),
        ({"kms_key": "k"}, "kms_key"),
        ({"kms_key": "k", "encryption": "AES256"}, "kms_key"),
        ({"cors": "yes"}, "cors"),
        ({"acl": "public-read"}, "acl"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadBackend, match=f"'{wrong}'"):
        Options.read(options)


@pytest.mark.parametrize(
    "secret", [{}, {"access_key": "a"}, {"access_key": "a", "secret_key": ""}, {**SECRET, "x": "y"}]
)
def test_a_store_needs_both_keys_and_nothing_else(secret: dict[str, str]) -> None:
    with pytest.raises(BadBackend, match="access_key, secret_key"):
        S3Store("s3+https://h/media", {}, secret)


def test_a_store_has_the_powers_that_it_is_asked_for() -> None:
    store = S3Store("s3+https://h/media", {}, SECRET)
    assert all(isinstance(store, power) for power in (Checking, Listing, PresigningReads, PresigningUploads))
    assert not isinstance(store, ServedFromDisk)
