import pytest

from chipmunk import guards
from chipmunk.credentials import Presented, presented
from chipmunk.errors import CrossSite, KeyInBrowser

COOKIE, HEADER = Presented("cms_x", by_cookie=True), Presented("cms_x", by_cookie=False)
ALLOWED = ("https://app.example",)


@pytest.mark.parametrize(
    ("method", "given", "origin", "site", "refused"),
    [
        ("POST", COOKIE, None, None, True),
        ("POST", COOKIE, "https://evil.example", "cross-site", True),
        ("POST", COOKIE, None, "same-site", True),
        ("DELETE", COOKIE, "null", None, True),
        ("POST", COOKIE, None, "same-origin", False),
        ("PUT", COOKIE, "https://app.example", "cross-site", False),
        ("GET", COOKIE, "https://evil.example", "cross-site", False),
        ("POST", HEADER, "https://evil.example", "cross-site", False),
    ],
)
def test_a_change_by_cookie_needs_the_same_or_an_allowed_origin(
    method: str, given: Presented, origin: str | None, site: str | None, refused: bool
) -> None:
    if refused:
        with pytest.raises(CrossSite):
            guards.forgery(method, given, origin, site, ALLOWED)
    else:
        guards.forgery(method, given, origin, site, ALLOWED)


@pytest.mark.parametrize(
    ("origin", "site", "refused"),
    [
        (None, None, False),
        (None, "same-origin", False),
        (None, "none", False),
        ("null", "same-origin", False),
        ("http://media.example:8080", None, False),
        ("https://app.example", "cross-site", False),
        ("http://media.example", None, True),
        ("null", None, True),
        ("https://evil.example", None, True),
        (None, "same-site", True),
        (None, "cross-site", True),
        ("http://media.example:8080", "cross-site", True),
        ("https://media.example:8080.evil.example", None, True),
        ("", None, True),
    ],
)
def test_a_change_that_needs_no_credential_comes_from_no_page_of_another_site(
    origin: str | None, site: str | None, refused: bool
) -> None:
    if refused:
        with pytest.raises(CrossSite):
            guards.elsewhere(origin, site, "media.example:8080", ALLOWED)
    else:
        guards.elsewhere(origin, site, "media.example:8080", ALLOWED)


def test_a_key_in_a_page_is_refused() -> None:
    with pytest.raises(KeyInBrowser):
        guards.key_in_browser(Presented("cmk_x", by_cookie=False), "https://app.example")
    guards.key_in_browser(Presented("cmk_x", by_cookie=False), None)


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "garbage", "Bearer " + "x" * 9000])
def test_a_bad_authorization_never_falls_back_to_the_cookie(header: str) -> None:
    assert presented(header, "cms_good").token == "-"


def test_no_credential_is_none() -> None:
    assert presented(None, None) == Presented("", by_cookie=False)
