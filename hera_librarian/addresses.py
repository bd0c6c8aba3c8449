"""Addresses of servers: a host with its scheme and perhaps a path, a port, and the root of the API made of them."""

from urllib.parse import SplitResult, urlsplit

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError

DEFAULT_PORTS = {"http": 80, "https": 443}


def api_root(host: str, port: int) -> str:
    """`http://host:port/path/api` of a host that says its scheme and no other port.

    Raises LibrarianError or, as scripts expect it of a port inside the host, LibrarianHTTPError without a status.
    """
    parts = _split(host)
    inside = _port(parts, host)
    if inside is not None and inside != port:
        raise LibrarianHTTPError(
            host, None, f"The host {host} names another port than {port}.", "Give the port only once, as the port."
        )
    return f"{parts.scheme}://{_name(parts)}:{_checked(port)}{parts.path.rstrip('/')}/api"


def split_url(url: str, port: int | None = None) -> tuple[str, int]:
    """Host (without a port) and port of the address of a server.

    The port is the one in the address, else the one given, else that of the scheme. Raises LibrarianError.
    """
    parts = _split(url)
    found = _port(parts, url)
    if found is not None and port is not None and found != port:
        raise LibrarianError(f"The address {url} names another port than {port}.", remedy="Give the port only once.")
    host = f"{parts.scheme}://{_name(parts)}{parts.path.rstrip('/')}"
    given = port if found is None else found
    return host, _checked(DEFAULT_PORTS[parts.scheme] if given is None else given)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        scheme, name = parts.scheme, parts.hostname
    except ValueError:
        scheme, name = "", None
    if scheme not in DEFAULT_PORTS or not name or not url.isprintable() or " " in url:
        shown = url.rpartition("@")[2]  # what stands before an @ may be a password
        raise LibrarianError(
            f"{shown!r} is not the address of a server, which begins with http:// or https://.",
            remedy="Begin with http:// or https://, then the host: for instance http://librarian.example.org",
            code="invalid_address",
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise LibrarianError(
            "The address of a server has no user name, query or fragment.",
            remedy="Give user and password separately, or as the authenticator.",
            code="invalid_address",
        )
    return parts


def _name(parts: SplitResult) -> str:
    name = parts.hostname or ""
    return f"[{name}]" if ":" in name else name


def _port(parts: SplitResult, url: str) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise LibrarianError(f"The port in {url} is not a number from 1 to 65535.", code="invalid_address") from None


def _checked(port: int) -> int:
    try:
        number = int(port)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= 65535:
        raise LibrarianError(f"The port {port!r} is not a number from 1 to 65535.", code="invalid_address")
    return number
