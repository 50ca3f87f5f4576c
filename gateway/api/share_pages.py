"""The page of a link, for people who have no account: what is shared, or how to open it, and nothing else.

The file's name is shown where the original is shared, which is downloaded under it; where only pictures are, it is nobody's to
know. Nothing runs here, and nothing is loaded but the media itself.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape

from starlette.responses import HTMLResponse

from chipmunk.openings import Shared
from gateway.api.call import FRESH

SHOWN, LED_TO = 5, 6  # the rung of the page, and the one that it leads to
STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;"
    "place-items:center;text-align:center}main{padding:1rem}img,video{max-width:100%;max-height:85vh}"
    "input,button{font:inherit;padding:.3rem .6rem}"
)
WORDS = {"image": "Picture", "audio": "Music", "video": "Video", "file": "File"}


@cache
def headers() -> dict[str, str]:
    """A referrer goes to this service alone: without one browsers would not say where the form came from."""
    style = b64encode(sha256(STYLE.encode()).digest()).decode()
    return {
        **FRESH,
        "referrer-policy": "same-origin",
        "x-robots-tag": "noindex, nofollow",
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{style}'; img-src 'self'; media-src 'self'; form-action 'self';"
            " base-uri 'none'; frame-ancestors 'none'"
        ),
    }


def not_found() -> HTMLResponse:
    """Of a link that never was, is no more, is for others or has been used up."""
    return _page("Not found", "<p>There is nothing here, or no longer.</p>", 404)


def closed(signed: str, found: Shared, complaint: str = "", status: int = 200, **more: str) -> HTMLResponse:
    """How to open it; how many views are left is for its maker to know."""
    asked = '<input type="password" name="password" maxlength="200" required autofocus autocomplete="off">'
    password = f"<label>Password {asked}</label> " if found.password is not None else ""
    counted = "<p>It can be seen for ten minutes, and opened only so often.</p>" if found.max_views is not None else ""
    said = f'<p role="alert">{escape(complaint)}</p>' if complaint else ""
    form = f'<form method="post" action="/v1/links/{signed}/open">{password}<button>Open</button></form>'
    return _page("Shared with you", f"{said}{form}{counted}", status, **more)


def opened(signed: str, found: Shared) -> HTMLResponse:
    name = escape(found.filename) if found.original else WORDS[found.kind]
    shown = [_picture(signed, found, name), _player(signed, found), _download(signed, found, name)]
    return _page(name, "".join(shown) or "<p>There is no picture of it.</p>")


def _picture(signed: str, found: Shared, name: str) -> str:
    """While rungs are being made a lower one stands in."""
    made = {SHOWN, LED_TO} if found.qualities and found.state == "processing" else set(found.qualities)
    if not made:
        return ""
    shown = max((q for q in made if q <= SHOWN), default=min(made))
    return f'<p><a href="/{signed}/{max(made)}/"><img src="/{signed}/{shown}/" alt="{name}"></a></p>'


def _player(signed: str, found: Shared) -> str:
    if not found.original or found.kind not in ("audio", "video"):
        return ""
    return f'<p><{found.kind} controls preload="metadata" src="/{signed}/0/"></{found.kind}></p>'


def _download(signed: str, found: Shared, name: str) -> str:
    return f'<p><a href="/{signed}/0/" download>Download {name}</a></p>' if found.original else ""


def _page(title: str, body: str, status: int = 200, **more: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<main>{body}</main>\n</html>\n",
        status,
        {**headers(), **more},
    )
