"""What the how-to pages say, as files and commands; and a browser that knows links, forms, pictures and cookies."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx

from solo.packages import PROJECT
from tests.browsing import Site

PAGES = PROJECT / "docs" / "how-to"
FILE = re.compile(r"^`([^`\n]+)`[^\n]*:\n\n```[a-z]+\n(.*?)^```$", re.M | re.S)
BLOCK = re.compile(r"^```([a-z]+)\n(.*?)^```$", re.M | re.S)


def files(page: str) -> dict[str, str]:
    """The page's code blocks that a line before them gives a file name: `name` …:"""
    return dict(FILE.findall((PAGES / page).read_text()))


def blocks(page: str, language: str) -> list[str]:
    """The page's other code blocks in a language, in order."""
    text = FILE.sub("", (PAGES / page).read_text())
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def lay(page: str, folder: Path) -> None:
    """Writes the page's files below a folder."""
    for name, text in files(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def own_page(page: str, script: str, built: Callable[[str], str] = str) -> Callable[[Site, str], tuple[str, str]]:
    """What serves the page's HTML, and the script that goes with it once it is `built`."""
    code = built(files(page)[script])

    def answer(site: Site, path: str) -> tuple[str, str]:
        if path == f"/{script}":
            return "text/javascript", code
        html = blocks(page, "html")[0].replace("https://media.example.com", site.chipmunk)
        return "text/html", f"<!doctype html><title>app</title>{html}"

    return answer


class Form:
    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}


class _Reading(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.pictures: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        match tag:
            case "form":
                self.forms.append(Form(found.get("action", "")))
            case "input" if found.get("type") != "file":
                self.forms[-1].fields[found["name"]] = found.get("value", "")
            case "img":
                self.pictures.append(found["src"])

    def handle_data(self, data: str) -> None:
        self.words += data


class Browser:
    """Follows redirects, keeps cookies, and stands on one page."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=60)
        self.answer = httpx.Response(204)
        self.page = _Reading()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def open(self, path: str) -> None:
        self._stand_on(self.http.get(path))

    def submit(self, form: Form, file: tuple[str, bytes] | None = None, **fields: str) -> None:
        """Sends a form of the page, with what it holds already and what is filled in."""
        target = urljoin(str(self.answer.url), form.action)
        files = None if file is None else {"file": file}
        self._stand_on(self.http.post(target, data={**form.fields, **fields}, files=files))

    def form(self, action: str) -> Form:
        """The page's form whose action ends so."""
        return next(f for f in self.page.forms if f.action.endswith(action))

    def _stand_on(self, answer: httpx.Response) -> None:
        self.answer, self.page = answer, _Reading()
        self.page.feed(answer.text)
