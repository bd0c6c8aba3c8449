"""Connections to servers by name: `~/.hl_client.cfg` in both of its forms, and what the environment adds to it.

    {"connections": {
      "karoo": {"host": "https://karoo.example.org", "port": 443, "user": "me", "password_file": "~/.karoo"},
      "local": {"url": "http://localhost:21106/", "authenticator": "me:secret"}}}

An authenticator without a colon is a token. Each secret (`password`, `token`, `authenticator`) may instead be read from
a file (`password_file`) or a variable of the environment (`password_env`); a user without a password is asked for it
by the `librarian` command. Of several configurations the first that exists counts: the path in `HL_CLIENT_CONFIG`,
`~/.hl_client.cfg`, `~/.hl_client.json`. `LIBRARIAN_CLIENT_CONNECTIONS` holds further connections as JSON; where both
name one, the file wins.
"""

import json
import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hera_librarian.addresses import split_url
from hera_librarian.exceptions import LibrarianError, NoSuchConnectionError

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

__all__ = [
    "ClientInfo",
    "ClientSettings",
    "LibrarianConfigWarning",
    "NoSuchConnectionError",
    "all_connections",
    "connection",
    "get_client_config",
    "load_settings",
    "read_connection",
]

PATH_VARIABLE = "HL_CLIENT_CONFIG"
CONNECTIONS_VARIABLE = "LIBRARIAN_CLIENT_CONNECTIONS"
DEFAULT_PATHS = ("~/.hl_client.cfg", "~/.hl_client.json")
SECRETS = ("password", "token", "authenticator")
MAX_SECRET_BYTES = 4096


class LibrarianConfigWarning(UserWarning):
    """Something about the configuration that should be mended, while connections can still be made."""


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """One connection. `host` has no port; there are either `user` and `password`, or `token`, or neither."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    name: str = ""

    @property
    def lacks_password(self) -> bool:
        """True if somebody has to be asked for the password first."""
        return bool(self.user) and not self.password

    @property
    def authenticator(self) -> str:
        """The credentials as one text: `user:password`, or the token."""
        return self.token or (f"{self.user}:{self.password}" if self.user else "")

    @property
    def url(self) -> str:
        """Address of the server, with its port."""
        scheme, _, rest = self.host.partition("://")
        name, slash, path = rest.partition("/")
        return f"{scheme}://{name}:{self.port}{slash}{path}"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """All connections that are configured.

    Attributes
    ----------
    connections : dict
        Those that can be used, by name.
    broken : dict
        Why the others cannot, by name.
    problems : list of str
        What a person should mend; no secrets in it.
    path : Path or None
        The file that was read.
    """

    connections: dict[str, ClientInfo] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    path: Path | None = None

    def connection(self, name: str) -> ClientInfo:
        """The connection of that name. Raises NoSuchConnectionError, or LibrarianError if it cannot be used."""
        if name in self.broken:
            raise LibrarianError(
                f"Connection {name} cannot be used: {self.broken[name]}",
                remedy=f"Correct it in {self.path or CONNECTIONS_VARIABLE}.",
                code="invalid_configuration",
            )
        if name not in self.connections:
            raise NoSuchConnectionError(name, self.connections)
        return self.connections[name]


def load_settings(environ: Mapping[str, str] | None = None, *, warn: bool = True) -> ClientSettings:
    """Read the configuration anew.

    With `warn`, its problems are also issued as LibrarianConfigWarning. Raises LibrarianError if the file cannot be
    read or trusted; one bad connection among good ones is no reason.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    entries, path = _gather(environ, problems)
    connections: dict[str, ClientInfo] = {}
    broken: dict[str, str] = {}
    for name, entry in entries.items():
        try:
            connections[name] = read_connection(entry, name=name, environ=environ)
        except LibrarianError as problem:
            broken[name] = problem.reason
            problems.append(f"Connection {name}: {problem.reason}")
    if warn:
        for problem in problems:
            warnings.warn(problem, LibrarianConfigWarning, stacklevel=2)
    return ClientSettings(connections, broken, problems, path)


def connection(name: str) -> ClientInfo:
    """The configured connection of that name. Raises NoSuchConnectionError or LibrarianError."""
    return load_settings().connection(name)


def get_client_config() -> dict[str, Any]:
    """The configuration as it is written, `{"connections": {...}}`, secrets included; for scripts that look inside."""
    entries, _ = _gather(os.environ, [])
    return {"connections": entries}


def all_connections() -> Iterator["LibrarianClient"]:
    """A client for each connection that can be used."""
    from hera_librarian.client import LibrarianClient

    for info in load_settings().connections.values():
        yield LibrarianClient.from_info(info)


def read_connection(
    entry: Mapping[str, Any], *, name: str = "", environ: Mapping[str, str] | None = None
) -> ClientInfo:
    """The connection that an entry of the configuration describes, in either form. Raises LibrarianError."""
    if not isinstance(entry, Mapping):
        raise _invalid("it is not an object")
    environ = os.environ if environ is None else environ
    address = entry.get("url") or entry.get("host")
    if not isinstance(address, str) or not address:
        raise _invalid("it has neither 'url' nor 'host'")
    port = entry.get("port")
    if isinstance(port, str) and port.isascii() and port.isdigit():
        port = int(port)
    if port is not None and (not isinstance(port, int) or isinstance(port, bool)):
        raise _invalid("its port is not a number")
    host, port = split_url(address, port)
    secrets = {kind: _secret(entry, kind, environ) for kind in SECRETS}
    user = entry.get("user") or ""
    if not isinstance(user, str):
        raise _invalid("its user is not a text")
    return ClientInfo(host, port, **_credentials(user, **secrets), name=name)


# --- Secrets ----------------------------------------------------------------------------------------------------------


def _credentials(user: str, password: str, token: str, authenticator: str) -> dict[str, str]:
    if authenticator:
        if user or password or token:
            raise _invalid("it has an authenticator and other credentials besides")
        user, colon, password = authenticator.partition(":")
        return {"user": user, "password": password} if colon else {"token": authenticator}
    if token:
        if user or password:
            raise _invalid("it has a token and a user or password besides")
        return {"token": token}
    if password and not user:
        raise _invalid("it has a password and no 'user'")
    return {"user": user, "password": password}


def _secret(entry: Mapping[str, Any], kind: str, environ: Mapping[str, str]) -> str:
    """A secret as it stands in the entry, in the file that the entry names, or in the environment."""
    given = [key for key in (kind, f"{kind}_file", f"{kind}_env") if entry.get(key)]
    if not given:
        return ""
    if len(given) > 1:
        raise _invalid(f"it says its {kind} twice, as {given[0]} and {given[1]}")
    value = entry[given[0]]
    if not isinstance(value, str):
        raise _invalid(f"its {given[0]} is not a text")
    if given[0].endswith("_env"):
        if not environ.get(value):
            raise _invalid(f"the variable {value}, which should hold its {kind}, is not set")
        return environ[value]
    return _read_secret(Path(value).expanduser()) if given[0].endswith("_file") else value


def _read_secret(path: Path) -> str:
    """First line of a file that nobody else can read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_SECRET_BYTES)
    except OSError as problem:
        raise _invalid(f"{path} cannot be read: {problem.strerror}") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _invalid(f"{path} holds a secret and is open to others; run: chmod 600 {path}")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise _invalid(f"{path} is not text") from None
    if not lines or not lines[0]:
        raise _invalid(f"{path} is empty")
    return lines[0]


# --- Files ------------------------------------------------------------------------------------------------------------


def _gather(environ: Mapping[str, str], problems: list[str]) -> tuple[dict[str, Any], Path | None]:
    """Entries of the environment and of the file, the file's first; and the path of the file."""
    entries: dict[str, Any] = {}
    if text := environ.get(CONNECTIONS_VARIABLE):
        try:
            entries.update(_object(_json(text, CONNECTIONS_VARIABLE), CONNECTIONS_VARIABLE))
        except LibrarianError as problem:
            problem.suggested_remedy = 'The form is: {"name": {"url": ..., "authenticator": ...}}'
            raise
    path = _find_file(environ, problems)
    if path is not None:
        entries.update(_read_file(path, problems))
    return entries, path


def _find_file(environ: Mapping[str, str], problems: list[str]) -> Path | None:
    named = environ.get(PATH_VARIABLE)
    for candidate in [named, *DEFAULT_PATHS] if named else DEFAULT_PATHS:
        try:
            path = Path(candidate).expanduser()
            if path.is_file():
                return path
        except (OSError, RuntimeError):
            continue  # no home directory, or one that cannot be looked into
        if candidate is named:
            problems.append(f"{PATH_VARIABLE} names {path}, which is not there; the usual places are looked at.")
    return None


def _read_file(path: Path, problems: list[str]) -> dict[str, Any]:
    """Connections of a file. Raises LibrarianError if others could have written it, or it is not what it should be."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as problem:
        raise LibrarianError(
            f"{path} cannot be read: {problem.strerror}.",
            remedy="Check whose it is and who may read it; HL_CLIENT_CONFIG names another one.",
            code="invalid_configuration",
        ) from None
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise LibrarianError(
            f"{path} can be written by anybody, so it is not believed.",
            remedy=f"Look whether it is still yours, then run: chmod 600 {path}",
            code="unsafe_configuration",
        )
    try:
        config = _object(_json(content.decode(), str(path)), str(path))
    except UnicodeDecodeError:
        raise _invalid(f"{path} is not text in UTF-8") from None
    if others := sorted(set(config) - {"connections"}):
        problems.append(f"{path} has entries that mean nothing here: {', '.join(others)}.")
    entries = _object(config.get("connections", {}), f"'connections' in {path}")
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO) and _has_secrets(entries):
        problems.append(f"{path} holds secrets and is open to others; run: chmod 600 {path}")
    return entries


def _has_secrets(entries: Mapping[str, Any]) -> bool:
    return any(isinstance(entry, Mapping) and any(entry.get(key) for key in SECRETS) for entry in entries.values())


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        at = f"line {problem.lineno}, column {problem.colno}"
        raise _invalid(f"{where} is not JSON ({problem.msg} at {at})") from None
    except RecursionError:
        raise _invalid(f"{where} is nested too deeply") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{where} is not an object")
    return value


def _invalid(reason: str) -> LibrarianError:
    remedy = 'The form is: {"connections": {"name": {"url": ..., "authenticator": ...}}}'
    return LibrarianError(reason, remedy=remedy, code="invalid_configuration")
