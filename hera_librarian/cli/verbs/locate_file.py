"""Where a file lies: HOST:/full/path of one copy, ready for scp. Exit code 6 if no copy is at the site."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode, nothing_found
from hera_librarian.cli.output import document, say, visible
from hera_librarian.exceptions import LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient


@dataclass
class Place:
    """A copy that can be read. `store` is empty where the server does not tell, `host` of a copy in a bucket."""

    host: str
    path: str
    store: str = ""


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian locate-file`."""
    add_connection(parser)
    parser.add_argument("name", metavar="NAME", help="name of the file; of an absolute path the last part counts")
    parser.add_argument("--all", action="store_true", help="every copy at the site, one a line")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write one place, or all."""
    client = client_for(arguments.connection)
    name = arguments.name.rstrip("/")
    if name.startswith("/"):
        name = name.rpartition("/")[2]
    filed_as, places, peers = _by_wire(client, name) if client.site() is None else _by_v3(client, name)
    if not places:
        elsewhere = f"Copies are known at: {', '.join(peers)}." if peers else "No copy is known anywhere else."
        raise nothing_found(f"No copy of {filed_as} can be read at this site.", elsewhere)
    if arguments.json:
        document({"name": filed_as, "places": [asdict(place) for place in places], "remote_librarians": peers})
        return ExitCode.OK
    for place in places if arguments.all else places[:1]:
        say(visible(f"{place.host}:{place.path}" if place.host else place.path))
    return ExitCode.OK


def _by_v3(client: "AdminClient", name: str) -> tuple[str, list[Place], list[str]]:
    """Name as filed, copies that can be read, other sites that have one."""
    from hera_librarian.finding.pages import MOST_PER_PAGE, file_address, read_json, rows
    from hera_librarian.finding.places import host_and_path

    try:
        file = read_json(client, file_address(name))
    except LibrarianHTTPError as error:
        if error.status_code == 404:
            raise nothing_found(error.reason, error.suggested_remedy) from error
        raise
    stores = {store["name"]: store for store in rows(client, "v3/stores/", {"limit": MOST_PER_PAGE})}
    site = client.site()
    places = []
    for copy in file["instances"]:
        if copy["presence"] == "present" and copy["location"]:
            store = stores.get(copy["store"], {})
            names = [store.get("ssh_host"), *store.get("hosts", []), site.host_name if site else "", _host(client)]
            places.append(Place(*host_and_path(copy["location"], *names), copy["store"]))
    return file["name"], places, sorted({copy["peer"] for copy in file["remote_instances"]})


def _by_wire(client: "AdminClient", name: str) -> tuple[str, list[Place], list[str]]:
    found = client.search_files(name=name)
    if not found:
        raise nothing_found(f"There is no file {name}.", "Check the name with search-files.")
    file = found[0]
    places = [Place(_host(client), copy.path) for copy in file.instances if copy.available]
    return file.name, places, sorted({copy.librarian_name for copy in file.remote_instances})


def _host(client: "AdminClient") -> str:
    return urlsplit(client.host).hostname or client.host
