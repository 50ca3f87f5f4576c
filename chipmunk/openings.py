"""Openings: what a link has to have done with it first that has a password or a number of views.

One opening is one view. Who opened holds a signed cookie for ten minutes, which costs no table and no question: it names the
link, so that it opens no other, and ends with the link.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from itsdangerous import BadSignature, Signer

from chipmunk.db import Connection
from chipmunk.errors import Forbidden

COOKIE = "chipmunk_opening"
SECONDS = 600
LONGEST = 160


class WrongPassword(Forbidden):
    code = "wrong_password"
    sentence = "This is not the password of the link."


class Openings:
    """Signs and reads what an opening is proved by. Times are Unix time; `keys` newest first: the first signs, all verify."""

    def __init__(self, keys: Sequence[str]) -> None:
        oldest_first = [k.encode() for k in reversed(keys)]
        self._signer = Signer(
            oldest_first, salt="chipmunk.opening", key_derivation="hmac", digest_method=hashlib.sha256
        )

    def sign(self, token: UUID, until: float) -> str:
        return self._signer.sign(f"{_text(token)}.{int(until)}.{secrets.token_urlsafe(9)}").decode()

    def proves(self, proof: str, token: UUID, now: float) -> bool:
        """Whether this link was opened, and that no longer ago than an opening lasts."""
        if len(proof) > LONGEST or not proof.isascii():
            return False
        try:
            opened, until, _ = self._signer.unsign(proof).decode().split(".")
        except BadSignature:
            return False
        return opened == _text(token) and now < int(until)


def _text(token: UUID) -> str:
    return urlsafe_b64encode(token.bytes).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Shared:
    """What a live link for anyone shares. `password` is the hash; `views` is None where the link need not be opened."""

    id: UUID
    token: UUID
    original: bool
    expires_at: datetime | None
    password: str | None
    max_views: int | None
    views: int | None
    kind: str
    state: str
    filename: str
    qualities: list[int]

    @property
    def used_up(self) -> bool:
        return self.views is not None and self.max_views is not None and self.views >= self.max_views


async def shared(connection: Connection, token: UUID) -> Shared | None:
    """What the link shares with anyone who has it, or with who opens it; None where it is not such a link, or not live."""
    row = await connection.fetchrow(
        """
        select l.id, l.token, l.original, l.expires_at, l.password, l.max_views, l.views, m.kind, m.state, m.filename,
               array(select (r ->> 'quality')::int from jsonb_array_elements(m.rungs) r
                     where (r ->> 'quality')::int < 10 order by 1) as qualities
        from links l join media m on m.id = l.media_id join users o on o.id = m.owner_id
        where l.token = $1 and l.audience in ('anyone', 'openers') and (l.expires_at is null or l.expires_at > now())
          and m.state not in ('deleted', 'trashed') and m.review is distinct from 'held'
          and not o.suspended and o.deleted_at is null
        """,
        token,
    )
    return None if row is None else Shared(*row)


async def count(connection: Connection, link: UUID) -> bool:
    """Takes one view of a link that is opened; False where none is left, or the link has gone meanwhile."""
    taken = await connection.fetchval(
        """
        update links set views = views + 1
        where id = $1 and audience = 'openers' and (max_views is null or views < max_views)
          and (expires_at is null or expires_at > now())
        returning true
        """,
        link,
    )
    return taken is not None
