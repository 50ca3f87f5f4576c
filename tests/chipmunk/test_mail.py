"""The mail server's URL, whom mails are from, and headers that stay whole."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from uuid import UUID

import pytest

from chipmunk import config, recipients
from chipmunk.errors import SettingsError
from chipmunk.mail import Frame, Mail, Server, composed, sender, server

FROM = {"CHIPMUNK_MAIL_FROM": "media@example.com"}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("smtp://smtp.example.com", Server("smtp.example.com", 587, "starttls")),
        ("smtp://u:p%40%3A%2F@smtp.example.com:2525", Server("smtp.example.com", 2525, "starttls", "u", "p@:/")),
        ("smtps://u:p@smtp.example.com", Server("smtp.example.com", 465, "tls", "u", "p")),
        ("smtp://relay:25?starttls=no", Server("relay", 25, "plain")),
        ("smtp://127.0.0.1", Server("127.0.0.1", 25, "plain")),
        ("smtp://u:p@[::1]:26/", Server("::1", 26, "plain", "u", "p")),
        ("smtp://localhost?starttls=yes", Server("localhost", 587, "starttls")),
    ],
)
def test_a_password_crosses_a_network_through_tls_alone(url: str, found: Server) -> None:
    assert server(url) == found
    assert "p@" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "smtp.example.com", "http://s3cret@x", "smtp://", "smtp://s3cret@x", "smtp://u:s3cret@x?starttls=no",
        "smtp://u:s3/cret@x", "smtp://u:s3cret@x:port", "smtp://u:s3cret@x:99999", "smtp://[u:s3cret", "smtp://x/s3cret",
        "smtp://x?s3cret=1", "smtp://x?starttls=maybe", "smtps://x?starttls=no", "smtp://x#s3cret", "smtp://x?s3cret",
    ],
)  # fmt: skip
def test_a_wrong_url_stops_the_start_with_a_sentence_that_does_not_tell_the_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^CHIPMUNK_SMTP_URL: ") as e:
        config.load({**FROM, "CHIPMUNK_SMTP_URL": url})
    assert "cret" not in str(e.value)


@pytest.mark.parametrize("text", ["media", "a@b.c, d@e.f", "A <a@b", "a@b.c\nBcc: d@e.f", "ä@example.com", "<>"])
def test_mails_are_from_one_address(text: str) -> None:
    with pytest.raises(SettingsError, match="MAIL_FROM"):
        config.load({"CHIPMUNK_MAIL_FROM": text})


def test_a_server_needs_a_sender_and_links_in_ascii() -> None:
    url = {"CHIPMUNK_SMTP_URL": "smtp://smtp.example.com"}
    for environ, word in (
        (url, "MAIL_FROM"),
        ({**url, **FROM, "CHIPMUNK_PUBLIC_URL": "https://bücher.example"}, "xn--"),
    ):
        with pytest.raises(SettingsError, match=word):
            config.load(environ)
    assert "smtp.example.com" not in repr(config.load({**url, **FROM}))


def test_a_sender_has_a_name_or_none() -> None:
    assert sender("media@example.com") == Address("", addr_spec="media@example.com")
    assert sender('"Möbel & Co., Berlin" <media@möbel.example>').display_name == "Möbel & Co., Berlin"
    assert sender("Möbel <media@möbel.example>").addr_spec == "media@xn--mbel-5qa.example"


def test_headers_that_programs_read_are_on_one_line_however_long() -> None:
    leave = "https://media.example.com/" + "x" * 300
    at = datetime(2026, 1, 2, tzinfo=UTC)
    frame = Frame(UUID(int=7), sender(f"media@{'long.' * 30}example"), at, "https://x/l", at, leave)
    data = composed(Mail("ann@example.com", "Ü" * 200, "x" * 5000), frame).as_bytes()
    lines = data.decode("ascii").split("\r\n")
    assert f"List-Unsubscribe: <{leave}>" in lines
    assert [line for line in lines if line.startswith("Message-ID: <00000000000000000000000000000007@long.")]
    assert max(map(len, lines)) <= 998
    assert "\n" not in data.decode().replace("\r\n", "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ann@example.com", "ANN@Example.COM", True),
        ("ann@example.com", "ann+a+b@example.com", True),
        ("ann@example.com", "ann@example.org", False),
        ("ann@example.com", "an@example.com", False),
        ("+a@example.com", "+b@example.com", False),
    ],
)
def test_what_goes_to_one_mailbox_counts_as_one(one: str, other: str, same: bool) -> None:
    assert (recipients.mailbox(one) == recipients.mailbox(other)) is same
