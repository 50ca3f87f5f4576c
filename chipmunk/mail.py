"""Mails: the server that takes them, and what is written in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, Policy
from html import escape
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]+)>|(?P<bare>[^<>]+)")
PORTS = {"tls": 465, "starttls": 587, "plain": 25}


@dataclass(frozen=True, slots=True)
class Server:
    """`security` is what everything goes through, the password among it."""

    host: str
    port: int
    security: Literal["tls", "starttls", "plain"]
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def server(url: str) -> Server:
    """The server at `smtp[s]://[user:password@]host[:port][?starttls=yes|no]`; ValueError, which tells nothing of it."""
    try:
        parts = urlsplit(url)
        host, port, options = (
            parts.hostname or "",
            parts.port,
            dict(parse_qsl(parts.query, strict_parsing=bool(parts.query))),
        )
    except ValueError:
        raise ValueError("is no URL; what is special in a user or password is percent-encoded") from None
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path not in ("", "/") or parts.fragment:
        raise ValueError("must be smtp://user:password@host:port or smtps://…")
    asked = options.pop("starttls", None)
    if options or asked not in (None, "yes", "no") or (asked and parts.scheme == "smtps"):
        raise ValueError("takes ?starttls=yes or ?starttls=no after smtp://, nothing else")
    security: Literal["tls", "starttls", "plain"] = "starttls"
    if parts.scheme == "smtps":
        security = "tls"
    elif asked == "no" or (asked is None and _is_loopback(host)):
        security = "plain"
    if (parts.username is None) != (parts.password is None):
        raise ValueError("has a user and a password, or neither")
    if security == "plain" and parts.password is not None and not _is_loopback(host):
        raise ValueError("has a password, which ?starttls=no would send in the clear")
    username, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
    return Server(host, port or PORTS[security], security, username, password)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def sender(text: str) -> Address:
    """Whom mails are from, `Name <address>` or the address alone; else ValueError."""
    from email_validator import EmailNotValidError, validate_email

    given = NAMED.fullmatch(text)
    if given is None or not text.isprintable():
        raise ValueError("must be an address, or Name <address>")
    name, address = (given["name"] or "").strip().strip('"'), given["address"] or given["bare"]
    try:
        found = validate_email(
            address, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False
        ).ascii_email
    except EmailNotValidError:
        raise ValueError("must be an address, or Name <address>") from None
    return Address(name, addr_spec=found or address)


class _Whole(UnstructuredHeader, BaseHeader):
    """A header that is never folded: within a URL that would break it."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}\r\n"


def _policy() -> EmailPolicy[EmailMessage]:
    headers = HeaderRegistry()
    for name in ("list-unsubscribe", "message-id"):
        headers.map_to_type(name, _Whole)
    return SMTP.clone(cte_type="7bit", header_factory=headers)


@dataclass(frozen=True, slots=True)
class Mail:
    """What somebody wants sent, as it came but for the address, which is normal."""

    address: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What we put around it. `link` opens the media until `until`; `leave` is where to unsubscribe. The same each time
    that it is tried, so that a server or a mailbox that gets it twice can tell by its Message-ID."""

    id: UUID
    sender: Address
    at: datetime
    link: str
    until: datetime
    leave: str


TEXT = """\
{body}

{link}
{until}

--{blank}
{why}
{stop}: {leave}
"""
HTML = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<p style="white-space: pre-wrap">{body}</p>
<p><a href="{link}">{link}</a><br>{until}</p>
<hr>
<p><small>{why} <a href="{leave}">{stop}</a>.</small></p>
</html>
"""
WHY = "Somebody shared this with you, and gave this address for it."
STOP = "Get no more such mails"


def composed(mail: Mail, frame: Frame) -> EmailMessage:
    """The whole mail: a text, and the same as HTML with nothing in it that the text does not say."""
    message = EmailMessage(_policy())
    message["From"] = frame.sender
    message["To"] = Address(addr_spec=mail.address)
    message["Subject"] = mail.subject
    message["Date"] = frame.at
    message["Message-ID"] = f"<{frame.id.hex}@{frame.sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["List-Unsubscribe"] = f"<{frame.leave}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    words = {
        "body": "\n".join(mail.body.splitlines()),
        "link": frame.link,
        "until": f"It opens until {frame.until:%d %B %Y, %H:%M} UTC.",
        "why": WHY,
        "stop": STOP,
        "leave": frame.leave,
    }
    message.set_content(TEXT.format(**words, blank=" "))
    message.add_alternative(HTML.format(**{name: escape(word) for name, word in words.items()}), subtype="html")
    return message
