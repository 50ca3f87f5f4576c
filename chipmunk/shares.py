"""Sharing by mail: a link of its own, the mail, and a job that sends it, all in one transaction; and how many a day."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from chipmunk import jobs, links, metrics, recipients
from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, RateLimited
from chipmunk.ids import new_id
from chipmunk.mail import Mail
from chipmunk.media import Media
from chipmunk.vault import Vault

LOCK = 0x6D61_696C  # "mail"
KEPT_DAYS = 3  # longer than a mail is tried to be sent, and than limits look back


class TooManyMails(RateLimited):
    code = "too_many_mails"
    sentence = "No more mails today: the app, the sender or the recipient has had as many as there may be."


@dataclass(frozen=True, slots=True)
class Share:
    """A mail that waits to be sent. `token` is its link's; None where that opens nothing any more."""

    id: UUID
    recipient: UUID
    sealed: bytes
    created_at: datetime
    token: UUID | None
    expires_at: datetime | None
    unwanted: bool

    def mail(self, vault: Vault) -> Mail:
        """CannotOpen where the settings lack its master key."""
        return Mail(**json.loads(vault.open(self.sealed, _purpose(self.id))))


def _purpose(share: UUID) -> str:
    return f"share {share.hex}"


async def make(connection: Connection, vault: Vault, settings: Settings, media: Media, mail: Mail) -> UUID:
    """Makes link, mail and job, in the caller's transaction. The media's owner is the sender, whoever calls for them.

    Raises TooManyMails. That the recipient has unsubscribed is seen where it is sent: nobody who shares learns of it.
    """
    if await connection.fetchval("select suspended from users where id = $1", media.owner_id):
        raise Forbidden("This user is suspended.", user=media.owner)
    await connection.execute("select pg_advisory_xact_lock($1, $2)", LOCK, media.app_id)
    recipient = await recipients.known_as(connection, vault, mail.address)
    await _count(connection, settings, media, recipient)
    ttl = timedelta(seconds=settings.mail_link_seconds)
    link = await links.create(connection, media.id, audience="anyone", user=None, original=False, ttl=ttl)
    share = new_id()
    await connection.execute(
        """
        insert into shares (id, app_id, user_id, media_id, link_id, recipient, mail, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
        """,
        share, media.app_id, media.owner_id, media.id, link.id, recipient,
        vault.seal(json.dumps(asdict(mail)).encode(), _purpose(share)),
    )  # fmt: skip
    return await jobs.enqueue(
        connection, jobs.MAIL, app=media.app_id, user=media.owner_id, media=media.id, payload={"share": share.hex}
    )


async def _count(connection: Connection, settings: Settings, media: Media, recipient: UUID) -> None:
    """Holds the app, its sender and its recipient to what may go in any 24 hours; the caller holds the app's lock."""
    of_app = await connection.fetchval("select mails_per_day from apps where id = $1", media.app_id)
    for which, values, most in (
        ("app_id = $1", (media.app_id,), of_app or settings.mail_per_app),
        ("user_id = $1", (media.owner_id,), settings.mail_per_sender),
        ("app_id = $1 and recipient = $2", (media.app_id, recipient), settings.mail_per_recipient),
    ):
        seconds = await connection.fetchval(
            f"""
            select extract(epoch from created_at + interval '1 day' - clock_timestamp())::float8 from shares
            where {which} and created_at > clock_timestamp() - interval '1 day'
            order by created_at desc limit 1 offset {most - 1}
            """,
            *values,
        )
        if seconds is not None:
            metrics.MAILS.labels("refused").inc()
            raise TooManyMails(retry_after=max(1, math.ceil(seconds)))


async def waiting(connection: Connection, share: UUID) -> Share | None:
    """The share, where its mail has not been sent or given up."""
    row = await connection.fetchrow(
        """
        select s.id, s.recipient, s.mail, s.created_at, case when u.id is not null then l.token end, l.expires_at,
               exists (select from unsubscribed x where x.recipient = s.recipient)
        from shares s
             left join links l on l.id = s.link_id and (l.expires_at is null or l.expires_at > now())
             left join media m on m.id = l.media_id and m.state not in ('deleted', 'trashed')
             left join users u on u.id = m.owner_id and u.deleted_at is null and not u.suspended
        where s.id = $1 and s.mail is not null
        """,
        share,
    )
    return None if row is None else Share(*row)


async def close(connection: Connection, share: UUID) -> None:
    """Its mail has been sent or given up: what it said, and to whom, is forgotten."""
    await connection.execute("update shares set mail = null where id = $1", share)


async def forget_old(connection: Connection) -> None:
    """Those that no limit counts any more."""
    await connection.execute("delete from shares where created_at < now() - make_interval(days => $1)", KEPT_DAYS)
