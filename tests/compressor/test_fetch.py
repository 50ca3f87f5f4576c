"""The fetcher, on servers that mislead it."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chipmunk import __version__
from chipmunk.addresses import Allowed
from chipmunk.errors import EmptyFile, FetchFailed, Problem, QuotaExceeded, TooLarge, Unsupported, UrlRefused
from chipmunk.goals import goal
from compressor import sniff
from compressor.fetch import Fetched, Fetcher
from tests.compressor.conftest import photo
from tests.compressor.site import Site, chunked, endless, moved, site, told

PHOTO = photo()
LARGE = PHOTO + bytes(3_000_000)
HERE = Allowed.parse(["127.0.0.1"])


@dataclass
class Taker:
    """Takes pictures, within a room."""

    most: int = 10_000_000
    room_bytes: int = 10_000_000
    rooms: list[int] = field(default_factory=list)
    seen: list[tuple[int, int | None]] = field(default_factory=list)

    def look(self, head: bytes, filename: str | None) -> None:
        if sniff.sniff(head) is None:
            raise Unsupported()

    async def room(self, length: int) -> None:
        self.rooms.append(length)
        if length > self.room_bytes:
            raise QuotaExceeded()

    async def came(self, done: int, total: int | None) -> None:
        self.seen.append((done, total))


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site() as made:
        yield made


async def fetch(url: str, target: Path, taker: Taker | None = None, seconds: float = 10, **given: Any) -> Fetched:
    allowed = given.pop("allowed", HERE)
    return await Fetcher(seconds, allowed, **{"quiet": 0, **given}).fetch(url, target, taker or Taker())


async def refused(url: str, target: Path, problem: type[Problem], **given: Any) -> Problem:
    with pytest.raises(problem) as found:
        await fetch(url, target, **given)
    return found.value


async def test_a_file_comes_whole_with_its_name(here: Site, tmp_path: Path) -> None:
    here.pages["/a/b%20%C3%BC.jpg?x=1"] = told(LARGE)
    taker = Taker()
    found = await fetch(here.url("/a/b%20%C3%BC.jpg?x=1#f"), tmp_path / "0", taker)
    assert found == Fetched(len(LARGE), "b ü.jpg")
    assert (tmp_path / "0").read_bytes() == LARGE
    assert taker.rooms == [len(LARGE)]
    assert taker.seen[-1] == (len(LARGE), len(LARGE))


async def test_the_server_names_the_file_where_it_does(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = told(PHOTO, Content_Disposition="inline; filename*=UTF-8''na%C3%AFve.jpg")
    assert (await fetch(here.url("/x"), tmp_path / "0")).filename == "naïve.jpg"
    here.pages["/"] = told(PHOTO)
    assert (await fetch(here.url("/"), tmp_path / "1")).filename is None


async def test_the_request_names_the_project_and_carries_nothing_else(
    here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("default login ann password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    here.pages |= {"/x": told(PHOTO, "302 Found", Location="/y", Set_Cookie="a=b"), "/y": told(PHOTO)}
    await fetch(here.url("/x"), tmp_path / "0")
    for head in here.asked:
        given = {line.split(": ")[0].lower(): line.split(": ")[1] for line in head.split("\r\n")[1:-2]}
        assert set(given) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert given["user-agent"] == f"Chipmunk/{__version__}"
        assert given["accept-encoding"] == "identity"


async def test_room_is_made_as_an_unannounced_file_grows_and_never_for_more(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = chunked(LARGE)
    taker = Taker()
    assert (await fetch(here.url("/x"), tmp_path / "0", taker)).length == len(LARGE)
    assert len(taker.rooms) == 2
    assert max(taker.rooms) <= len(LARGE)
    assert taker.seen[-1] == (len(LARGE), None)


@pytest.mark.parametrize("page", [endless(bytes(65536), first=PHOTO), told(LARGE)])
async def test_what_finds_no_room_is_given_up_at_once(here: Site, tmp_path: Path, page: Any) -> None:
    here.pages["/x"] = page
    await refused(here.url("/x"), tmp_path / "0", QuotaExceeded, taker=Taker(room_bytes=1_200_000))
    assert not (tmp_path / "0").exists() or (tmp_path / "0").stat().st_size <= 2_500_000


@pytest.mark.parametrize("page", [endless(bytes(65536), first=PHOTO), told(LARGE), told(b"", Content_Length="9" * 18)])
async def test_what_is_too_large_is_given_up_at_once(here: Site, tmp_path: Path, page: Any) -> None:
    here.pages["/x"] = page
    found = await refused(here.url("/x"), tmp_path / "0", TooLarge, taker=Taker(most=1_500_000))
    assert found.ids == {"limit_bytes": 1_500_000}
    assert not (tmp_path / "0").exists() or (tmp_path / "0").stat().st_size <= 1_500_000


async def test_what_is_no_picture_is_told_by_its_first_bytes(here: Site, tmp_path: Path) -> None:
    here.pages |= {"/page": endless(b"<p>hello</p>" * 1000), "/short": told(b"<html>", Content_Type="image/png")}
    await refused(here.url("/page"), tmp_path / "0", Unsupported)
    await refused(here.url("/short"), tmp_path / "1", Unsupported)


@pytest.mark.parametrize("page", [told(b""), chunked(b"")])
async def test_nothing_is_no_file(here: Site, tmp_path: Path, page: bytes) -> None:
    here.pages["/x"] = page
    await refused(here.url("/x"), tmp_path / "0", EmptyFile)


@pytest.mark.parametrize(
    "status", ["404 Not Found", "401 No", "204 No", "206 Some", "304 Same", "418 Teapot", "500 Oh", "503 Later"]
)
async def test_of_another_status_the_number_is_told_and_no_more(here: Site, tmp_path: Path, status: str) -> None:
    here.pages["/x"] = told(b"" if status[0] in "23" else b"secret of the inside", status)
    found = await refused(here.url("/x"), tmp_path / "0", FetchFailed)
    assert found.ids == {"upstream_status": int(status[:3])}
    assert found.detail == f"The server of this URL answered {status[:3]}, and gave no file."
    assert found.passing == (status[0] == "5")


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.write(told(LARGE)[:100_000])
    await writer.drain()
    writer.close()


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "page",
    [
        cut, silent, endless(b"\0", 0.05, first=PHOTO), b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    ],
    ids=["cut", "silent", "drip", "other", "length", "chunks", "header", "two lengths"],
)  # fmt: skip
async def test_a_server_that_fails_in_any_way_fails_alike(here: Site, tmp_path: Path, page: Any) -> None:
    here.pages["/x"] = page
    began = time.monotonic()
    found = await refused(here.url("/x"), tmp_path / "0", FetchFailed, seconds=1)
    assert (found.detail, found.ids, found.passing) == (FetchFailed.sentence, {}, True)
    assert time.monotonic() - began < 3


async def test_a_compressed_answer_is_not_unpacked(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = told(gzip.compress(PHOTO + bytes(50_000_000)), Content_Encoding="gzip")
    await refused(here.url("/x"), tmp_path / "0", FetchFailed)
    assert not (tmp_path / "0").exists()


@pytest.mark.parametrize("status", ["301 A", "302 B", "303 C", "307 D", "308 E"])
async def test_five_redirects_are_followed_and_no_sixth(here: Site, tmp_path: Path, status: str) -> None:
    here.pages |= {f"/{n}": moved(f"/{n - 1}", status) for n in range(1, 7)} | {"/0": told(PHOTO)}
    assert (await fetch(here.url("/5"), tmp_path / "0")).filename == "5"
    await refused(here.url("/6"), tmp_path / "1", FetchFailed)
    assert here.connections == 12


async def test_a_redirect_to_nowhere_fails(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = told(b"", "302 Found")
    assert (await refused(here.url("/x"), tmp_path / "0", FetchFailed)).ids == {"upstream_status": 302}


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://2130706433/", "//10.0.0.1/x",
        "http://localhost:1/", "file:///etc/passwd", "gopher://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://u:p@127.0.0.1/",
        "ftp://127.0.0.1/x", "http://127.0.0.1.nip.example/", "data:image/png;base64,AAAA", "http://[/",
    ],
)  # fmt: skip
async def test_no_redirect_leads_inside(here: Site, tmp_path: Path, location: str) -> None:
    here.pages["/x"] = moved(location)

    async def inner(host: str, port: int) -> list[str]:
        return ["127.0.0.5" if host == "localhost" else "10.0.0.1"]

    found = await refused(here.url("/x"), tmp_path / "0", UrlRefused, resolve=inner)
    assert (found.detail, found.ids) == (UrlRefused.sentence, {})


REFUSED = [
    "", "x", "http://", "http:///x", "//a.example/", "ftp://a.example/", "file:///etc/passwd", "javascript:alert(1)",
    "http://a.example:22/", "http://a.example:0/", "http://a.example:99999/", "http://ann@a.example/", "http://:@a.example/",
    "http://a.example@127.0.0.1/", "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
    "http://0x7F.0.0.1/", "http://0177.0.0.1/", "http://017700000001/", "http://127.0.0.1./", "http://127.000.000.001/",
    "http://①②⑦.⓪.⓪.①/", "http://１２７.0.0.1/", "http://127。0。0。1/", "http://%31%32%37.0.0.1/", "http://[::1]/", "http://[::]/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/", "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/", "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/", "http://[fd00::1]/", "http://[fec0::1]/", "http://[ff02::1]/", "http://0/", "http://0.0.0.0/",
    "http://10.1.2.3/", "http://100.64.0.1/", "http://169.254.169.254/", "http://172.16.0.1/", "http://192.168.0.1/",
    "http://198.18.0.1/", "http://224.0.0.1/", "http://255.255.255.255/", "http://a.example\\@127.0.0.1/", "http://a.example /",
    "http://a.example/\r\nHost: b", "http://a.example/\0", " http://a.example/", "http://a_b..example/", "http://\ud800/",
    "http://a.example/" + "x" * 2048, "http://[1.1.1.1]/", "http://1.1.1.1:8080/", "https://0xa9fea9fe/", "http://[::1", "http://a,b/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
async def test_what_a_url_itself_tells_is_refused_unasked(tmp_path: Path, url: str) -> None:
    async def never(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    found = await refused(url, tmp_path / "0", UrlRefused, allowed=Allowed(), resolve=never)
    assert (found.detail, found.ids, found.passing) == (UrlRefused.sentence, {}, False)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "HTTPS://A.example:443/x?y=%2F",
        "http://bücher.example/ü",
        "http://1.1.1.1/",
        "http://[2606:4700::1111]/",
    ],
)
def test_what_is_outside_may_be_asked_for(url: str) -> None:
    assert goal(url, Allowed()).port in (80, 443)


@pytest.mark.parametrize(
    "found", [[], ["10.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::1"], ["fe80::1%2"], ["junk"], OSError("no such name")]
)
async def test_a_name_of_the_inside_is_refused_like_one_that_nobody_knows(tmp_path: Path, found: Any) -> None:
    async def told_so(host: str, port: int) -> list[str]:
        if isinstance(found, OSError):
            raise found
        return list(found)

    began = time.monotonic()
    problem = await refused(
        "http://a.example/", tmp_path / "0", UrlRefused, resolve=told_so, allowed=Allowed(), quiet=0.3
    )
    assert (problem.detail, problem.ids, problem.passing) == (UrlRefused.sentence, {}, True)
    assert 0.3 <= time.monotonic() - began < 0.6


async def test_a_name_that_means_something_else_the_second_time_is_asked_for_once(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = told(PHOTO)
    asked = []

    async def turning(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    await fetch(here.url("/x", "a.example"), tmp_path / "0", resolve=turning)
    assert asked == ["a.example"]
    assert f"Host: a.example:{here.port}" in here.asked[0]
    here.pages["/y"] = moved("/x")
    asked.clear()
    await refused(here.url("/y", "a.example"), tmp_path / "1", UrlRefused, resolve=turning)
    assert asked == ["a.example", "a.example"]
    assert [head.split(" ")[1] for head in here.asked] == ["/x", "/y"]


async def test_a_name_is_looked_up_as_the_system_does_it(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = told(PHOTO)
    await fetch(here.url("/x", "localhost"), tmp_path / "0", allowed=Allowed.parse(["localhost"]))
    await refused(here.url("/x", "localhost"), tmp_path / "1", UrlRefused, allowed=Allowed())
    await refused("http://no-such-name.invalid/", tmp_path / "2", UrlRefused)


async def test_the_next_address_is_tried_where_one_is_silent(here: Site, tmp_path: Path) -> None:
    here.pages["/x"] = told(PHOTO)

    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    await fetch(here.url("/x", "a.example"), tmp_path / "0", resolve=two, allowed=Allowed.parse(["127.0.0.0/8"]))


async def test_no_connection_serves_two_names(here: Site, tmp_path: Path) -> None:
    here.pages |= {"/x": moved(here.url("/y", "b.example")), "/y": told(PHOTO)}

    async def both(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    await fetch(here.url("/x", "a.example"), tmp_path / "0", resolve=both)
    assert here.connections == 2


async def test_a_closed_port_that_may_be_asked_fails_and_tells_nothing(here: Site, tmp_path: Path) -> None:
    found = await refused("http://127.0.0.1:1/", tmp_path / "0", FetchFailed)
    assert (found.detail, found.ids) == (FetchFailed.sentence, {})


def certified(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a server that is called so, and of a client that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def test_a_certificate_is_for_the_name_though_the_connection_is_to_an_address(tmp_path: Path) -> None:
    server, client = certified("a.example", tmp_path)

    async def there(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with site(server) as secure, site() as plain:
        secure.pages |= {"/x": told(PHOTO), "/down": moved(plain.url("/x")), "/same": moved("/x")}
        plain.pages |= {"/x": told(PHOTO), "/up": moved(secure.url("/x"))}
        await fetch(secure.url("/same", "a.example"), tmp_path / "0", resolve=there, tls=client)
        await fetch(plain.url("/up"), tmp_path / "1", tls=client)
        await refused(secure.url("/down"), tmp_path / "2", UrlRefused, tls=client)
        await refused(secure.url("/x", "b.example"), tmp_path / "3", FetchFailed, resolve=there, tls=client)
        await refused(secure.url("/x", "a.example"), tmp_path / "4", FetchFailed, resolve=there)
    assert plain.asked == [head for head in plain.asked if "GET /up" in head]
