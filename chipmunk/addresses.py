"""Which IP addresses the service may connect to when somebody else names them: those of the public Internet. Pure.

Special ranges are IANA's registries for IPv4 and IPv6 (RFC 6890 and what came after it) and RFC 4291, RFC 3879.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = frozenset({80, 443})
LONGEST_NAME = 253
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as the last label it makes the whole an IPv4 address (WHATWG URL, 3.5)

SPECIAL = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "168.63.129.16/32",  # what Azure's machines reach their host by
        ),
    )
)  # fmt: skip
UNICAST = IPv6Network("2000::/3")  # nothing else of IPv6 is in public use
SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo and ORCHID among them
            "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
        ),
    )
)  # fmt: skip
NAT64 = IPv6Network("64:ff9b::/96")  # what a resolver of an IPv6-only network makes of an IPv4 address (RFC 6147)


def public(address: Address) -> bool:
    """Whether it is an address of the public Internet, in whatever form it holds an IPv4 address."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in SPECIAL)
    if address.scope_id is not None:
        return False
    if address in NAT64:
        return public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in UNICAST and address.is_global and not any(address in network for network in SPECIAL_6)


def literal(host: str) -> Address | None:
    """The address that a URL's host spells, or None for a name. ValueError for what is neither, and for an IPv4
    address in any but the usual spelling: decimal, octal, hexadecimal and short ones hide what they mean."""
    if ":" in host:
        return IPv6Address(host.replace("%", " "))  # nobody else's zones are ours
    if NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2].lower()):
        return IPv4Address(host)
    if len(host) > LONGEST_NAME or not all(map(LABEL.fullmatch, name(host).split("."))):
        raise ValueError("neither an address nor a name")
    return None


def name(host: str) -> str:
    """A host's name as it is compared: in lower case, without the dot that may end it."""
    return host.lower().removesuffix(".")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an operator lets the service connect to beyond that: `(name, port)` and `(network, port)`, None for any port."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Allowed:
        """Of `name`, `name:port`, `10.0.0.0/8`, `10.1.2.3:8080`, `fd00::/8`, `[fd00::1]:8080`; ValueError for others."""
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for word in words:
            text, port = _split(word)
            if network := _network(text):
                networks.append((network, port))
            elif text and literal(text) is None:
                hosts.add((name(text), port))
        return cls(frozenset(hosts), tuple(networks))

    def may_ask(self, host: str, port: int) -> bool:
        """Whether any address at all could let a host be reached at this port."""
        return port in PORTS or self._names(host, port) or any(p in (None, port) for _, p in self.networks)

    def may_connect(self, host: str, port: int, addresses: Sequence[Address]) -> bool:
        """Whether each of the addresses that the host has may be connected to at this port."""
        if self._names(host, port):
            return bool(addresses)
        return bool(addresses) and all(self._holds(a, port) or (port in PORTS and public(a)) for a in addresses)

    def _names(self, host: str, port: int) -> bool:
        return not self.hosts.isdisjoint({(name(host), None), (name(host), port)})

    def _holds(self, address: Address, port: int) -> bool:
        return any(address in network and allowed in (None, port) for network, allowed in self.networks)


def _split(word: str) -> tuple[str, int | None]:
    """Host or network, and the port where one is named."""
    found = re.fullmatch(r"\[([^\]]+)\](?::([0-9]{1,5}))?", word) or re.fullmatch(r"([^:]+):([0-9]{1,5})", word)
    if found is None:
        return word, None
    port = None if found[2] is None else int(found[2])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"{word!r} has no port from 1 to 65535")
    return found[1], port


def _network(text: str) -> Network | None:
    """The network or single address; None for what can only be a name."""
    if "/" not in text and literal(text) is None:
        return None
    return ip_network(text) if "/" in text else ip_network(ip_address(text))
