"""Sharing by mail, and the page where its recipients put an end to it."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import HTMLResponse, Response

from chipmunk import ids, media, recipients, shares
from chipmunk.errors import NotFound, NotInstalled
from chipmunk.mail import Mail
from chipmunk.operations.mailing import ShareFields
from gateway.api.call import FRESH, Call, put

HEADERS = {
    **FRESH,
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "content-security-policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}
PAGE = (
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
    "<title>Mails</title>\n{}\n</html>\n"
)
ASK = PAGE.format(
    '<p>Nothing more is to be sent to your address from here?</p>\n<form method="post"><button>No more mails</button></form>'
)
DONE = PAGE.format("<p>Nothing more will be sent to your address from here.</p>")


async def share(call: Call) -> Response:
    """Answers when link and mail are kept for good; sending is a job's."""
    body, settings = call.body, call.parts.settings
    assert isinstance(body, ShareFields)
    if not settings.smtp_url:
        raise NotInstalled("Nothing is shared by mail here: no mail server is set.")
    identifier = ids.parse_id(body.image_id)
    if identifier is None:
        raise NotFound("There is no such media.")
    mail = Mail(body.email_address, body.email_subject, body.email_body)
    async with call.changing() as connection:
        found = await media.owned(connection, call.app, identifier, call.key)
        await shares.make(connection, call.parts.stores.vault, settings, found, mail)
        await call.note(connection, "media.shared", user=found.owner_id, media=identifier)
    return put({})


async def unsubscribe_page(call: Call) -> Response:
    """Changes nothing: programs that look through mails open every address in them."""
    _recipient(call)
    return HTMLResponse(ASK, headers=HEADERS)


async def unsubscribe(call: Call) -> Response:
    """By the page's button, or by a mail program's (RFC 8058), which says so in a body that nothing hangs on."""
    recipient = _recipient(call)
    async with call.changing() as connection:
        await recipients.unsubscribe(connection, recipient)
    return HTMLResponse(DONE, headers=HEADERS)


def _recipient(call: Call) -> UUID:
    found = recipients.leaving(call.parts.settings).open(call.request.path_params["recipient"])
    if found is None:
        raise NotFound("This address never was one.")
    return found
