"""The commands of the seeds' network chapter, typed against two real sites as they stand there."""

import pytest

from tests.hera_librarian.cli.running import environment_of, run_command
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

SOURCE, DESTINATION = "source_librarian", "destination_librarian"
SECRET = "a password:with a colon"
# The two forms of a connection; the first is the older one.
CONNECTIONS = [
    lambda site: {"url": f"{site.url}/", "authenticator": f"{ADMIN}:{ADMIN_PASSWORD}"},
    lambda site: {"host": "http://127.0.0.1", "port": site.port, "user": ADMIN, "password": ADMIN_PASSWORD},
]
ONE_TRANSFER = (
    "[OutgoingTransfer.objects.create(file=File.objects.first(), peer_name='destination_librarian', size_bytes=6).pk]"
)


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("typed")
    running = [Site(name, folder / name) for name in (SOURCE, DESTINATION)]
    try:
        for site in running:
            site.prepare()
            site.start()
        (folder / "hello.txt").write_bytes(b"hello\n")
        running[0].manage("ingest", str(folder / "hello.txt"), "--uploader", "ada")
        yield running
    finally:
        for site in running:
            site.stop()


@pytest.fixture
def typed(sites, tmp_path):
    """`typed(verb, "source_librarian", ...)` runs the command at the connection of that name."""
    connections = {site.name: form(site) for site, form in zip(sites, CONNECTIONS, strict=True)}
    env = environment_of(tmp_path, connections)
    return lambda *words: run_command(*words, cwd=tmp_path, env=env)


def test_the_connections_of_the_seeds_are_forged_switched_and_cut(sites, typed):
    source, destination = sites
    for connection, name, level in [(SOURCE, DESTINATION, "CALLBACK"), (DESTINATION, SOURCE, "READAPPEND")]:
        made = typed("create-user", connection, "--username", name, "--password", SECRET, "--auth-level", level)
        assert made.code == 0, made.err
    for connection, there in [(SOURCE, destination), (DESTINATION, source)]:
        added = typed(
            "add-librarian",
            connection,
            f"--name={there.name}",
            "--url=http://127.0.0.1",
            f"--port={there.port}",
            f"--authenticator={connection}:{SECRET}",
        )
        assert (added.code, added.out) == (0, f"Librarian {there.name} added.\n"), added.err
    asked = typed("get-librarian-list", SOURCE, "--ping")
    assert asked.lines == [f"{DESTINATION} (http://127.0.0.1:{destination.port}) - Available - Enabled"]

    off = typed("set-librarian-transfer", SOURCE, f"--name={DESTINATION}", "--disabled")
    assert off.lines == [f"Transfers to {DESTINATION} disabled."]
    assert typed("get-librarian-list", SOURCE).lines[0].endswith("Disabled")
    assert typed("set-librarian-transfer", SOURCE, "--name", DESTINATION, "--enabled").code == 0
    assert typed("set-librarian-transfer", SOURCE, "--name", DESTINATION).code == 2
    assert typed("set-librarian-transfer", SOURCE, "--name=nobody", "--enabled").code == 1

    source.evaluate(ONE_TRANSFER)
    removed = typed("remove-librarian", SOURCE, f"--name={DESTINATION}", "--remove-outgoing-transfers")
    assert removed.lines == [
        f"Removed 1 outgoing transfers to {DESTINATION}.",
        f"Librarian {DESTINATION} removed.",
    ]
    assert typed("get-librarian-list", SOURCE).out == "No librarians found.\n"
    again = typed(
        "add-librarian",
        SOURCE,
        f"--name={DESTINATION}",
        f"--url={destination.url}",
        f"--port={destination.port}",
        f"--authenticator={SOURCE}:{SECRET}",
    )
    assert again.code == 0, again.err
