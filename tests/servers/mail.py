"""An SMTP server of the tests' own, which keeps what it is sent and says what it is told to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from threading import Event
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.harness import free_port

USER, PASSWORD = "chip munk", "p@ss:word/?#"


@dataclass
class Mailbox:
    """`mails` are those that it took, in order; `refusals` what it says next in place of taking a recipient or the data."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    sent_to: list[tuple[str | None, list[str]]] = field(default_factory=list)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    tries: int = 0
    ready: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.ready.set()

    def _refusal(self, step: str) -> str | None:
        waiting = self.refusals.get(step)
        return waiting.pop(0) if waiting else None

    async def handle_MAIL(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        self.tries += 1
        refusal = self._refusal("mail")
        if refusal is None:
            envelope.mail_from = address
        return refusal or "250 OK"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        refusal = self._refusal("rcpt")
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        refusal = self._refusal("data")
        if refusal == "cut":
            server.transport.abort()
            return "451 never said"
        if refusal is not None:
            return refusal
        await server.loop.run_in_executor(None, self.ready.wait, 20)
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.sent_to.append((envelope.mail_from, list(envelope.rcpt_tos)))
        self.over_tls.append(session.ssl is not None)
        return "250 Kept"

    def authenticated(self, _: SMTP, __: Session, ___: Envelope, ____: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append((given.login, given.password))
        return AuthResult(success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()))

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail, (_, to) in zip(self.mails, self.sent_to, strict=True) if to == [address]]


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """Its part of that kind, with line ends as Python has them."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Mailbox]:
    """A server on 127.0.0.1. With `tls` it takes nothing but by STARTTLS and with a password."""
    box = Mailbox(port or free_port())
    more = {} if tls is None else {"require_starttls": True, "auth_required": True, "authenticator": box.authenticated}
    controller = Controller(box, hostname="127.0.0.1", port=box.port, tls_context=tls, ident="tests", **more)
    controller.start()
    try:
        yield box
    finally:
        box.ready.set()
        controller.stop()
