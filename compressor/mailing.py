"""The mail job: hands one mail to the SMTP server, once as far as SMTP lets anybody know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from aiosmtplib import SMTP, errors

from chipmunk import mail, media, metrics, recipients, shares
from chipmunk.config import Settings
from chipmunk.db import GONE, Connection
from chipmunk.errors import NotFound, Unavailable, Unprocessable
from chipmunk.hooks import Sharing
from chipmunk.jobs import Job
from chipmunk.mail import Frame, Mail
from chipmunk.shares import Share
from chipmunk.vault import CannotOpen
from compressor.parts import Parts

COMMAND_SECONDS = 60.0
ALL_SECONDS = 180.0
GOODBYE_SECONDS = 2.0
OF_ALL_MAILS = (  # by which a server refuses us, and not this mail
    errors.SMTPConnectResponseError,
    errors.SMTPHeloError,
    errors.SMTPAuthenticationError,
    errors.SMTPSenderRefused,
)
log = structlog.get_logger()


async def send(parts: Parts, job: Job) -> None:
    """Again is fine. What the server has taken is noted before it is said goodbye to: who dies just between sends it
    again, under the same Message-ID."""
    identifier = UUID(hex=job.payload["share"])
    async with parts.database.connection() as connection, _alone(connection, identifier):
        share = await shares.waiting(connection, identifier)
        if share is None:
            return
        if share.unwanted:
            await _close(connection, share, "unwanted")
        elif share.token is None:
            raise NotFound("Its link was revoked or has expired before the mail was sent.")
        else:
            await _deliver(parts, connection, share, job)


@asynccontextmanager
async def _alone(connection: Connection, share: UUID) -> AsyncIterator[None]:
    """One process at a time is at a mail, for as long as its connection to PostgreSQL lives: no transaction is held open,
    which would hold up all who read events."""
    if not await connection.fetchval("select pg_try_advisory_lock(hashtextextended($1, 0))", share.hex):
        raise Unavailable("Another worker is at this mail.")
    try:
        yield
    finally:
        with suppress(*GONE):
            await connection.execute("select pg_advisory_unlock(hashtextextended($1, 0))", share.hex)


async def give_up(connection: Connection, job: Job) -> None:
    """The job has failed: nothing is kept of the mail."""
    await shares.close(connection, UUID(hex=job.payload["share"]))
    metrics.MAILS.labels("failed").inc()


async def _close(connection: Connection, share: Share, outcome: str) -> None:
    await shares.close(connection, share.id)
    metrics.MAILS.labels(outcome).inc()


async def _deliver(parts: Parts, connection: Connection, share: Share, job: Job) -> None:
    settings = parts.settings
    if not settings.smtp_url:
        raise Unavailable("No mail server is set any more.")
    try:
        wanted = share.mail(parts.stores.vault)
    except CannotOpen:
        raise Unavailable("The settings lack the master key of this mail.") from None
    if parts.plugged:
        await _permitted(parts, connection, wanted, job)
    frame = _frame(parts, share)
    data = mail.composed(wanted, frame).as_bytes()
    try:
        async with asyncio.timeout(ALL_SECONDS), _session(settings) as client:
            await client.sendmail(frame.sender.addr_spec, [wanted.address], data)
            await _close(connection, share, "sent")
    except errors.SMTPRecipientsRefused as e:
        _refused(share, e.recipients[0])
    except errors.SMTPResponseException as e:
        _refused(share, e)
    except (errors.SMTPException, *GONE) as e:
        log.warning("the mail server is not to be had", share=share.id.hex, error=type(e).__name__)
        raise Unavailable("The mail server cannot be reached, or broke off.") from None


async def _permitted(parts: Parts, connection: Connection, wanted: Mail, job: Job) -> None:
    """Asks the plug-ins that have a say in what is shared."""
    found = None if job.media_id is None else await media.find(connection, job.media_id)
    if found is not None:
        about = found.id.hex, found.kind, found.mime, tuple(found.flows)
        await parts.plugged.before_share(Sharing(*about, "anyone", wanted.address, wanted.subject, wanted.body))


def _refused(share: Share, answer: errors.SMTPResponseException) -> NoReturn:
    """For good by 5xx; where we are refused, and not this mail, the operator may mend that meanwhile."""
    log.warning("the mail server refused", share=share.id.hex, code=answer.code, step=type(answer).__name__)
    if 500 <= answer.code < 600 and not isinstance(answer, OF_ALL_MAILS):
        raise Unprocessable(f"The mail server refused the mail for good ({answer.code}).") from None
    raise Unavailable(f"The mail server refused for now ({answer.code}).") from None


def _frame(parts: Parts, share: Share) -> Frame:
    base = parts.settings.base_url
    assert share.token is not None
    assert share.expires_at is not None
    return Frame(
        id=share.id,
        sender=mail.sender(parts.settings.mail_from),
        at=share.created_at,
        link=f"{base}/share/{parts.links.sign(share.token)}",
        until=share.expires_at,
        leave=f"{base}/unsubscribe/{recipients.leaving(parts.settings).sign(share.recipient)}",
    )


@asynccontextmanager
async def _session(settings: Settings) -> AsyncIterator[SMTP]:
    server = mail.server(settings.smtp_url)
    client = SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username,
        password=server.password,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",
        local_hostname=_our_name(settings),
        timeout=COMMAND_SECONDS,
    )
    await client.connect()
    try:
        yield client
        with suppress(errors.SMTPException, OSError):
            await client.quit(timeout=GOODBYE_SECONDS)
    finally:
        client.close()


def _our_name(settings: Settings) -> str:
    """As EHLO has it (RFC 5321, 4.1.3): of the address that people reach us at, not of this machine."""
    host = urlsplit(settings.base_url).hostname or "localhost"
    try:
        return f"[{'IPv6:' if ip_address(host).version == 6 else ''}{host}]"
    except ValueError:
        return host
