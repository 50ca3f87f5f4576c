from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmunk.addresses import Allowed, literal, public

# https://www.iana.org/assignments/iana-ipv4-special-registry and …ipv6-special-registry, multicast and reserved ranges.
INSIDE_4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
]  # fmt: skip
INSIDE_6 = [
    "::/128", "::1/128", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/32",
    "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/3",
    "5f00::/16", "8000::/1", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0"]
PUBLIC_6 = ["2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "64:ff9b::8.8.8.8"]


def refused() -> AbstractContextManager[object]:
    return pytest.raises(ValueError)  # noqa: PT011 - whatever it says


def within(words: list[str]) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    networks = [ip_network(word) for word in words]
    return st.one_of([st.ip_addresses(network=network) for network in networks])


@given(within([*INSIDE_4, *INSIDE_6]))
def test_no_address_of_a_special_range_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not public(address)


@given(within(INSIDE_4))
def test_no_ipv6_form_of_an_inner_ipv4_address_is_public(address: IPv4Address | IPv6Address) -> None:
    inner = int(address)
    teredo = 0x20010000 << 96 | (inner ^ 0xFFFFFFFF)
    local_nat = int(IPv6Address("64:ff9b:1::")) | inner
    mapped, compatible, nat64 = 0xFFFF << 32 | inner, inner, int(IPv6Address("64:ff9b::")) | inner
    for value in (mapped, compatible, nat64, local_nat, 0x2002 << 112 | inner << 80, teredo):
        assert not public(IPv6Address(value))


@pytest.mark.parametrize("text", [*PUBLIC, *PUBLIC_6])
def test_what_the_internet_uses_is_public(text: str) -> None:
    assert public(ip_address(text))


@pytest.mark.parametrize("text", ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"])
def test_no_metadata_service_of_a_cloud_is_public(text: str) -> None:
    assert not public(ip_address(text))


def test_an_address_with_a_zone_is_not_public() -> None:
    assert not public(IPv6Address("2606:4700:4700::1111%eth0"))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_has_one_spelling(address: IPv4Address) -> None:
    assert literal(str(address)) == address
    a, b, c, d = address.packed
    n = int(address)
    for spelled in (
        f"{n}", f"{n:#x}", f"0{n:o}", f"{n:#X}", f"{a}.{n & 0xFFFFFF}", f"{a}.{b}.{n & 0xFFFF}", f"0{a:o}.{b}.{c}.{d}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"{a}.{b}.{c}.{d:#x}", f"{a:03}.{b:03}.{c:03}.0{d:03o}", f"{a}.{b}.{c}.{d}.",
        f"{a}.{b}.{c}.{d}.0",
    ):  # fmt: skip
        with refused():
            literal(spelled)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_itself_however_it_is_written(address: IPv6Address) -> None:
    assert literal(str(address)) == literal(address.exploded.upper()) == address
    with refused():
        literal(f"{address}%25eth0")


@pytest.mark.parametrize(
    "host", ["localhost", "a.example", "A.Example.", "xn--bcher-kva.example", "_x.example", "1.example"]
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    "host", ["", ".", "a..b", "a b", "a%2e", "127.0.0.1%2e", "-a.example", "a/b", "a@b", "\u24d0", "x" * 64, "a." * 130]
)
def test_what_is_neither_is_refused(host: str) -> None:
    with refused():
        literal(host)


def may(words: str, host: str, port: int, *found: str) -> bool:
    allowed = Allowed.parse(word for word in words.split(",") if word)
    told = allowed.may_connect(host, port, [ip_address(text) for text in found])
    assert not told or allowed.may_ask(host, port)
    return told


def test_one_bad_address_among_good_ones_refuses_a_host() -> None:
    assert may("", "a.example", 443, "1.1.1.1", "2606:4700:4700::1111")
    assert not may("", "a.example", 443, "1.1.1.1", "10.0.0.1")
    assert not may("", "a.example", 443)


def test_other_ports_than_80_and_443_are_for_what_is_allowed() -> None:
    assert not may("", "a.example", 8080, "1.1.1.1")
    assert may("a.example", "a.example", 8080, "1.1.1.1")
    assert not Allowed().may_ask("a.example", 22)


@pytest.mark.parametrize(
    ("words", "yes", "no"),
    [
        ("10.0.0.0/8", [("x", 80, "10.1.2.3"), ("x", 9000, "10.1.2.3")], [("x", 80, "192.168.0.1"), ("x", 9000, "1.1.1.1")]),
        ("10.1.2.3:9000", [("x", 9000, "10.1.2.3")], [("x", 80, "10.1.2.3"), ("x", 9000, "10.1.2.4")]),
        ("cdn.lan", [("CDN.lan.", 81, "10.0.0.1")], [("a.cdn.lan", 80, "10.0.0.1"), ("cdn.lan.evil", 80, "10.0.0.1")]),
        ("CDN.lan:81", [("cdn.lan", 81, "::1")], [("cdn.lan", 80, "10.0.0.1"), ("cdn.lan", 82, "10.0.0.1")]),
        ("[fd00::1]:81,fd01::/16", [("x", 81, "fd00::1"), ("x", 7, "fd01::9")], [("x", 80, "fd00::1"), ("x", 81, "fd00::2")]),
        ("127.0.0.0/8", [("x", 1, "127.0.0.1")], [("x", 80, "::ffff:127.0.0.1"), ("x", 80, "::1")]),
    ],
)  # fmt: skip
def test_what_is_listed_may_be_reached_and_no_more(
    words: str, yes: list[tuple[str, int, str]], no: list[tuple[str, int, str]]
) -> None:
    assert [may(words, *case) for case in yes] == [True] * len(yes)
    assert [may(words, *case) for case in no] == [False] * len(no)


@pytest.mark.parametrize(
    "word", ["10.0.0.1/8", "a b", "host:0", "host:65536", "http://x", "10.0.0.0/33", "127.1", "*.example", "[x]:1:2"]
)
def test_a_list_with_anything_else_is_no_list(word: str) -> None:
    with refused():
        Allowed.parse([word])
