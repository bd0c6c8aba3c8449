"""One real site for all tests of the command.

Tests name what they make after themselves, so they share the site without meeting.
"""

import subprocess

import pytest

from tests.hera_librarian.cli.running import NIGHT, PASSWORDS, environment_of, run_command


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    from hera_librarian import AdminClient
    from hera_librarian.authlevel import AuthLevel
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

    folder = tmp_path_factory.mktemp("cli")
    running = Site("karoo", folder / "karoo")
    try:
        running.prepare()
        source = folder / "night"
        source.mkdir()
        for name in NIGHT:
            (source / name).write_bytes(f"the bytes of {name}\n".encode() * 40)
        product = source / "zen.2461364.31004.uv"
        product.mkdir()
        for member in ("header", "vartable", "visdata"):
            (product / member).write_bytes(member.encode())
        running.manage("ingest", str(source), "--uploader", "correlator", "--obsid", "1289234567")
        running.start()
        with AdminClient(running.url.rpartition(":")[0], running.port, ADMIN, ADMIN_PASSWORD) as admin:
            admin.create_user("reader", PASSWORDS["reader"], AuthLevel.READONLY)
            admin.create_user("pipeline", PASSWORDS["pipeline"], AuthLevel.READAPPEND)
        yield running
    finally:
        running.stop()


@pytest.fixture
def connections(site):
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    def account(name, password):
        return {"url": site.url, "authenticator": f"{name}:{password}"}

    return {
        "karoo": account(ADMIN, ADMIN_PASSWORD),
        "reader": account("reader", PASSWORDS["reader"]),
        "pipeline": {
            "host": "http://127.0.0.1",
            "port": site.port,
            "user": "pipeline",
            "password": PASSWORDS["pipeline"],
        },
        "wrong": account("reader", "not-the-password"),
        "nobody-listens": {"url": "http://127.0.0.1:9", "authenticator": "a:b"},
        "no-such-host": {"url": "http://no-such-host.invalid", "authenticator": "a:b"},
        "no-tls": {"url": site.url.replace("http:", "https:"), "authenticator": "a:b"},
        "asks": {"url": site.url, "user": ADMIN},
    }


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def librarian(connections, home, tmp_path):
    """Run the command: `librarian("ping", "karoo")`; `cwd` is the test's own directory."""

    def run(*words, stdin=None, cwd=tmp_path, more_connections=None, stdout=subprocess.PIPE, **environment):
        env = environment_of(home, connections | (more_connections or {}), **environment)
        return run_command(*words, cwd=cwd, env=env, stdin=stdin, stdout=stdout)

    return run
