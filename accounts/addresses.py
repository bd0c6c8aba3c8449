"""From which address a request comes, past the proxies that this site trusts and no further."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SOCKET = "unix"  # in LIBRARIAN_TRUSTED_PROXIES: a proxy that speaks to us through a Unix socket, which has no address
MOST_HOPS = 32  # a longer chain is somebody playing with the header


def client_address(request: HttpRequest) -> str | None:
    """Address of the nearest hop that is not one of our own proxies; None when the connection has none.

    `X-Forwarded-For` is read from its right end, where our own proxies write: whatever stands further left was sent
    by the client and may say anything.
    """
    peer = read_address(request.META.get("REMOTE_ADDR", ""))
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")[-MOST_HOPS:]
    while hops and is_trusted(peer):
        before = read_address(hops.pop())
        if before is None:  # unreadable: the proxy itself is the last address that we can vouch for
            break
        peer = before
    return None if peer is None else str(peer)


def is_trusted(peer: Address | None) -> bool:
    """True for a proxy named in LIBRARIAN_TRUSTED_PROXIES."""
    networks, socket_is_trusted = trusted_proxies(tuple(settings.LIBRARIAN_TRUSTED_PROXIES))
    if peer is None:
        return socket_is_trusted
    return any(peer in network for network in networks)


@lru_cache(maxsize=4)
def trusted_proxies(entries: tuple[str, ...]) -> tuple[tuple[Network, ...], bool]:
    """Networks of the setting, and whether peers on a Unix socket are trusted. Raises ValueError naming a bad entry."""
    names = [entry.strip() for entry in entries if entry.strip()]
    return tuple(ip_network(name, strict=False) for name in names if name != SOCKET), SOCKET in names


def read_address(text: str) -> Address | None:
    """Address in `1.2.3.4`, `1.2.3.4:80`, `::1` or `[::1]:80`; None when there is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
