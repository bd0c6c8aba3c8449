"""`manage.py run_network`: three sites on one machine, hop by hop; one of them away; twice in a row."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests
from django.core.management import CommandError, call_command

from librarian.management.commands.run_network import NAMES, TourSite
from tests.rig.processes import die_with_parent, free_port, stop_group, tail, wait_for
from tests.rig.servers import ROOT

pytestmark = pytest.mark.database_independent


def test_its_sites_see_nothing_of_the_site_that_the_checkout_is(monkeypatch, tmp_path):
    for name in ("LIBRARIAN_REQUIRE_OBSID", "DATABASE_URL", "Q_CLUSTER_NAME"):
        monkeypatch.setenv(name, "of the checkout")
    environment = TourSite("central", tmp_path / "central", 8002).environment()
    assert "of the checkout" not in environment.values()
    assert environment["LIBRARIAN_ENV_FILE"] == "none"
    assert environment["LIBRARIAN_PUBLIC_URL"] == "http://127.0.0.1:8002"
    assert environment["DATABASE_URL"] == f"sqlite:///{tmp_path}/central/librarian.sqlite3"


def test_a_site_of_a_network_that_does_not_run_cannot_be_switched(tmp_path):
    with pytest.raises(CommandError, match="The network does not run"):
        call_command("run_network", "--home", str(tmp_path), "--down", "central")
    assert not (tmp_path / "central").exists()


def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port}"):
            call_command("run_network", "--home", str(tmp_path), "--port", str(port - 1))
    assert not (tmp_path / "source" / "logs").exists()


# --- All of it --------------------------------------------------------------------------------------------------------


class Network:
    """The command in a process of its own, and what its portals tell."""

    def __init__(self, folder: Path) -> None:
        self.home, self.port = folder / "network", free_port()
        self.options = ["--home", str(self.home), "--port", str(self.port)]
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment |= {"LIBRARIAN_ENV_FILE": "none", "LIBRARIAN_HOME": str(folder / "other")}

    def start(self, log: Path) -> "subprocess.Popen[bytes]":
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "run_network", *self.options],
                cwd=ROOT,
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        wait_for(lambda: "Three Librarians" in tail(log) or process.poll() is not None, timeout_seconds=240, what="it")
        assert process.poll() is None, tail(log)
        return process

    def switch(self, *option: str) -> None:
        command = [sys.executable, "manage.py", "run_network", *self.options, *option]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True, timeout=300)

    def names(self, site: str) -> set[str]:
        """Files that a site has, by its own API."""
        return {row["name"] for row in self._ask(site, "files/?limit=200")}

    def holders(self, site: str) -> set[str]:
        """Sites of which a site knows copies."""
        return {row["peer"] for row in self._ask(site, "remote-instances/?limit=200")}

    def ingest(self, path: Path) -> None:
        site = TourSite("source", self.home / "source", self.port)
        command = [sys.executable, "manage.py", "ingest", "--null-obsid", str(path)]
        subprocess.run(command, cwd=ROOT, env=site.environment(), check=True, capture_output=True, timeout=120)

    def _ask(self, site: str, path: str) -> list[dict[str, str]]:
        password = (self.home / site / "admin-password").read_text().strip()
        url = f"http://127.0.0.1:{self.port + NAMES.index(site)}/api/v3/{path}"
        answer = requests.get(url, auth=("admin", password), timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]


@pytest.mark.soak
def test_files_go_from_site_to_site_and_one_that_is_away_loses_none(tmp_path):
    network = Network(tmp_path)
    process = network.start(tmp_path / "first.log")
    try:
        sample = network.names("source")
        assert len(sample) == 24
        wait_for(lambda: network.names("destination") == sample, timeout_seconds=400, what="both hops")
        wait_for(lambda: network.holders("central") == {"destination"}, timeout_seconds=120, what="the last report")
        assert network.holders("source") == {"central"}, "a site two hops away is not known"

        network.switch("--down", "central")
        (tmp_path / "while_it_was_away.txt").write_text("waits for central")
        network.ingest(tmp_path / "while_it_was_away.txt")
        network.switch("--up", "central")
        wait_for(
            lambda: network.names("destination") == sample | {"while_it_was_away.txt"},
            timeout_seconds=900,
            what="the file that had to wait",
        )
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
        assert psutil.wait_procs(below, timeout=20)[1] == []
    finally:
        stop_group(process, grace_seconds=60)

    process = network.start(tmp_path / "second.log")
    try:
        assert "Pairing" not in (tmp_path / "second.log").read_text()
        assert network.names("destination") == sample | {"while_it_was_away.txt"}
    finally:
        stop_group(process, grace_seconds=60)
