"""What anybody may read of a public flow: a page of links for people, and feeds for programs.

It shows what the standing links of its media open anyway, and of these no more than pictures and names: not whose they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from starlette.responses import HTMLResponse, JSONResponse, Response

from chipmunk import apps, flows, ids, listing
from chipmunk.db import Connection
from chipmunk.flows import Flow
from chipmunk.media import Media
from chipmunk.operations.answers import when
from gateway.api.call import FRESH, Call, following
from gateway.api.flows import unknown

SHOWN, OPENED = 3, 6  # the rung of a page, and the one that it leads to
ATOM = "http://www.w3.org/2005/Atom"
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
HEADERS = {
    **FRESH,
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; img-src 'self'; base-uri 'none'; form-action 'none'",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a public flow of an app, the first where none is named. `following` is the cursor of the next, where there
    is one."""

    app: str | None
    flow: Flow
    items: list[Media]
    following: str | None

    @property
    def title(self) -> str:
        return self.flow.description or self.flow.id


async def _page(call: Call) -> Page:
    """A flow that is private looks like none at all."""
    name, limit, before = call.request.path_params["flow"], call.limit(), call.before_id()
    if not ids.NAME.fullmatch(name):
        raise unknown(name)
    async with call.reading() as connection:
        app = await of_anyone(call, connection)
        flow = None if app is None else await flows.get(connection, app, name)
        if flow is None or flow.visibility != "public":
            raise unknown(name)
        found = await listing.public_page(connection, flow.key, before, limit + 1)
    return Page(
        call.query("app"), flow, found[:limit], following("id", found[limit - 1].id.hex) if len(found) > limit else None
    )


async def of_anyone(call: Call, connection: Connection) -> int | None:
    """The app whose public flows are meant: the one that is named, or the first."""
    return await apps.known_as(connection, call.query("app") or apps.DEFAULT)


async def html(call: Call) -> Response:
    page = await _page(call)
    shown = "\n".join(
        f'<li><a href="{_url(call, one, OPENED)}"><img src="{_url(call, one, SHOWN)}" alt="{escape(one.title or one.filename)}"'
        f' loading="lazy"></a></li>'
        for one in page.items
    )
    more = f'<p><a rel="next" href="{escape(_next(page, "page"))}">Older</a></p>' if page.following else ""
    atom = _path(page, "feed.atom")
    feeds = f'<p><a href="{atom}">Atom</a> · <a href="{_path(page, "feed.json")}">JSON</a></p>'
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(page.title)}</title>\n"
        f'<link rel="alternate" type="application/atom+xml" href="{atom}">\n'
        f"<h1>{escape(page.title)}</h1>\n<ul>\n{shown}\n</ul>\n{more}\n{feeds}\n</html>\n",
        headers=HEADERS,
    )


async def json_feed(call: Call) -> Response:
    """JSON Feed 1.1, https://www.jsonfeed.org/version/1.1/"""
    page, base = await _page(call), call.parts.settings.base_url
    feed: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": page.title,
        "home_page_url": base + _path(page, "page"),
        "feed_url": base + _path(page, "feed.json"),
        "items": [
            {
                "id": one.id.hex,
                "url": base + _url(call, one, OPENED),
                "image": base + _url(call, one, OPENED),
                "title": one.title or one.filename,
                "content_text": one.title or one.filename,
                "date_published": when(one.created_at),
            }
            for one in page.items
        ],
    }
    if page.following:
        feed["next_url"] = base + _next(page, "feed.json")
    return JSONResponse(feed, media_type="application/feed+json", headers=FRESH)


async def atom_feed(call: Call) -> Response:
    """Atom, RFC 4287; further pages as RFC 5005 has them."""
    page, base = await _page(call), call.parts.settings.base_url
    feed = ElementTree.Element("feed", xmlns=ATOM)
    _add(feed, "id", base + _path(page, "feed.atom"))
    _add(feed, "title", page.title)
    _add(feed, "updated", when(page.items[0].created_at if page.items else page.flow.created_at) or "")
    _add(_add(feed, "author"), "name", page.title)
    _add(feed, "link", rel="self", href=base + _path(page, "feed.atom"))
    _add(feed, "link", rel="alternate", href=base + _path(page, "page"))
    if page.following:
        _add(feed, "link", rel="next", href=base + _next(page, "feed.atom"))
    for one in page.items:
        entry = _add(feed, "entry")
        _add(entry, "id", f"urn:uuid:{one.id}")
        _add(entry, "title", one.title or one.filename)
        _add(entry, "updated", when(one.created_at) or "")
        _add(entry, "link", rel="alternate", type="image/webp", href=base + _url(call, one, OPENED))
        _add(entry, "content", type="image/webp", src=base + _url(call, one, OPENED))
    text = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return Response(text, media_type="application/atom+xml", headers=FRESH)


def _add(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> ElementTree.Element:
    found = ElementTree.SubElement(parent, name, attributes)
    found.text = NOT_IN_XML.sub("", text) or None
    return found


def _path(page: Page, what: str, **query: str) -> str:
    asked = urlencode(query | ({"app": page.app} if page.app else {}))
    return f"/v1/flows/{quote(page.flow.id, safe='')}/{what}" + (f"?{asked}" if asked else "")


def _next(page: Page, what: str) -> str:
    return _path(page, what, cursor=page.following or "")


def _url(call: Call, one: Media, quality: int) -> str:
    """Of what has no picture the original."""
    rung = quality if one.rungs else 0
    return f"/{call.parts.links.sign(one.token)}/{rung}/" if one.token else ""
