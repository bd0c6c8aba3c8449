"""Try connections of the client configuration: does the server answer, does it take the credentials, are its stores up.

Without names all connections are tried. Exit code 1 if any fails.
"""

import subprocess
from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hera_librarian.authlevel import AuthLevel
from hera_librarian.cli.arguments import add_json
from hera_librarian.cli.connecting import with_password
from hera_librarian.cli.failures import CommandFailure, ExitCode, explain
from hera_librarian.cli.output import document, note, say, visible

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient
    from hera_librarian.config import ClientSettings

SSH_SECONDS = 30


@dataclass
class Check:
    """What came of one connection."""

    name: str
    url: str = ""
    ok: bool = False
    site: str = ""
    level: str = ""
    stores: list[dict[str, Any]] = field(default_factory=list)
    code: str = ""
    reason: str = ""
    suggested_remedy: str = ""


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian check-connections`."""
    parser.add_argument("names", nargs="*", metavar="CONNECTION", help="only these (default: all)")
    parser.add_argument("--ssh", action="store_true", help="also log in to the host of each store that names one")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Try one after the other, and tell of each when it is done."""
    from hera_librarian.config import load_settings

    settings = load_settings(warn=False)
    for problem in settings.problems:
        note(problem)
    names = arguments.names or sorted([*settings.connections, *settings.broken])
    if not names:
        raise CommandFailure(
            "No connections are configured.",
            "Write them into ~/.hl_client.cfg; see docs/cli.md.",
            code="no_connections",
        )
    checks = []
    for name in names:
        checks.append(_check(settings, name, with_ssh=arguments.ssh))
        if not arguments.json:
            _tell(checks[-1])
    if arguments.json:
        document([asdict(check) for check in checks])
    return ExitCode.OK if all(check.ok for check in checks) else ExitCode.FAILED


def _check(settings: "ClientSettings", name: str, *, with_ssh: bool) -> Check:
    from hera_librarian.admin import AdminClient

    check = Check(name)
    try:
        info = settings.connection(name)
        check.url = info.url
        client = AdminClient.from_info(with_password(info))
        check.site = client.ping(require_login=False).name
        client.ping(require_login=True)  # the first takes any credentials, right or wrong
        check.level = _level(client)
        check.stores = _stores(client, with_ssh=with_ssh)
        bad = [store for store in check.stores if store["trouble"]]
        if bad:
            raise CommandFailure(f"store {bad[0]['name']}: {bad[0]['trouble']}", code="store_trouble")
        check.ok = True
    except Exception as error:  # whatever is wrong with one connection, the others are tried
        failure = explain(error)
        check.code, check.reason, check.suggested_remedy = failure.code, failure.reason, failure.remedy
    return check


def _level(client: "AdminClient") -> str:
    """What the credentials are good for, where the server says so."""
    if client.site() is None:
        return ""
    from hera_librarian.finding.pages import read_json

    return AuthLevel(read_json(client, "v3/users/me/")["acting_level"]).name


def _stores(client: "AdminClient", *, with_ssh: bool) -> list[dict[str, Any]]:
    """Stores that a person has switched on, with what is wrong with each."""
    if client.site() is None:
        return []
    from hera_librarian.finding.pages import MOST_PER_PAGE, rows

    stores = []
    for store in rows(client, "v3/stores/", {"limit": MOST_PER_PAGE}):
        trouble = "" if store["available"] or not store["enabled"] else store["availability_reason"] or "not available"
        if with_ssh and not trouble and store["ssh_host"]:
            trouble = _ssh_trouble(store["ssh_host"])
        stores.append({key: store[key] for key in ("name", "enabled", "available", "ssh_host")} | {"trouble": trouble})
    return stores


def _ssh_trouble(host: str) -> str:
    """Why the host of a store cannot be logged in to; empty if it can."""
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={SSH_SECONDS}", "--", host, "df", "-P", "."]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * SSH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"ssh {host}: {problem}"
    last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
    return "" if ran.returncode == 0 else f"ssh {host}: {last}"


def _tell(check: Check) -> None:
    start = f"Connection to {visible(check.name)} ({visible(check.url or 'no address')})"
    if check.ok:
        say(f"{start} succeeded.")
        stores = ", ".join(visible(store["name"]) for store in check.stores) or "none shown"
        say(f"    site {visible(check.site)}, level {check.level or 'unknown'}, stores: {stores}")
    else:
        say(f"{start} failed: {visible(check.reason)}")
        if check.suggested_remedy:
            say(f"    {visible(check.suggested_remedy)}")
