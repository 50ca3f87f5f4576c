"""Which of nginx's locations takes a request, and to whom that one hands it: by nginx's own rules, on the rendered text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from chipmunk.config import Settings
from nginx.render import render


@dataclass(frozen=True, slots=True)
class Location:
    """`how` is `=`, `~` or empty for a prefix."""

    how: str
    what: str
    body: str

    def takes(self, path: str) -> bool:
        match self.how:
            case "=":
                return path == self.what
            case "~":
                return re.search(self.what.replace("(?<", "(?P<"), path) is not None
        return path.startswith(self.what)


@cache
def locations() -> dict[str, list[Location]]:
    """By kind, in the order of the file."""
    text = render(Settings())
    found: dict[str, list[Location]] = {"=": [], "~": [], "": [], "@": []}
    for head in re.finditer(r'^\s*location (=|~)? *("[^"]+"|\S+)\s*{', text, re.MULTILINE):
        what = head[2].strip('"')
        kind = "@" if what.startswith("@") else head[1] or ""
        found[kind].append(Location(head[1] or "", what, _body(text, head.end())))
    return found


def _body(text: str, start: int) -> str:
    depth, at = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return text[start : at - 1]


def _chosen(path: str) -> Location:
    """An exact one, else the first expression, else the longest prefix."""
    known = locations()
    fitting = [place for kind in ("=", "~") for place in known[kind] if place.takes(path)]
    return fitting[0] if fitting else max((p for p in known[""] if p.takes(path)), key=lambda p: len(p.what))


def serving(method: str, path: str) -> str | None:
    """`api`, `compressor` or `nginx` itself; None where it refuses."""
    place = _chosen(path)
    if path == "/v1/media":
        return {"PUT": _target("/-/media/spooled"), "POST": _target("/-/media/json")}.get(method, _target("/-/api"))
    if "internal;" in place.body or re.search(r"^\s*return 404;", place.body):
        return None
    if method == "DELETE" and "$request_method = DELETE" in place.body:
        named = next(p for p in locations()["@"] if p.what == "@compressor")
        return _upstream(named.body)
    return _upstream(place.body) or ("nginx" if "try_files" in place.body else None)


def _target(internal: str) -> str | None:
    return _upstream(next(p for p in locations()["="] if p.what == internal).body)


def _upstream(body: str) -> str | None:
    found = re.search(r"proxy_pass http://(\w+)", body)
    return found[1] if found else None


def open_to(paths: set[str]) -> set[str]:
    """The locations that strangers reach and that hand something on, but for those that take one of these paths."""
    known = locations()
    public = [p for kind in ("=", "~", "") for p in known[kind] if "internal;" not in p.body]
    handing = [p for p in public if not re.search(r"^\s*return 404;", p.body)]
    taken = {_chosen(path) for path in paths}
    return {place.what for place in handing if place not in taken}
