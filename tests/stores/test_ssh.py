"""The ssh kind over a real sshd: the contract, its configuration, and names that a shell would stumble over."""

import io
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from librarian.common.children import running_child
from librarian.common.errors import StoreFull
from librarian.common.identity import boot_id
from stores.backends.base import StoreBackend, new_token
from stores.backends.ssh import calling
from stores.backends.ssh.backend import SshBackend
from stores.backends.ssh.calling import far_command
from stores.backends.ssh.pool import links
from stores.backends.ssh.sharing import end_sharing
from tests.rig.sshd import HOST, Sshd, write_shared_config
from tests.stores.contract import LARGE, StoreContract, content_at, deliver, deliver_tree, write_tree
from tests.stores.ssh_stores import BARE_PYTHON, far_host, ssh_store

pytestmark = pytest.mark.database_independent
ODD = "-rf 'q' \"d\" $(touch pwned) `x` *;&|<> é\u00fc\\ %h~"  # as one component of a path


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with far_host(tmp_path_factory.mktemp("sshd"), LogLevel="VERBOSE") as server:
        yield server


@pytest.fixture
def backend(sshd: Sshd, tmp_path: Path) -> SshBackend:
    return ssh_store(sshd.config, tmp_path / "far")


class SshContract(StoreContract):
    @pytest.fixture
    def power_cut(self, tmp_path: Path) -> Callable[[], None]:
        """What is noted over there was noted before that machine was started anew."""

        def cut() -> None:
            for note in tmp_path.glob("**/writer"):
                note.write_text(note.read_text().replace(boot_id(), "another"))

        return cut


class TestContract(SshContract):
    pass


class TestContractWithStagingOfItsOwnAndNoPackagesThere(SshContract):
    @pytest.fixture
    def backend(self, sshd: Sshd, tmp_path: Path) -> StoreBackend:
        return ssh_store(sshd.config, tmp_path / "root", staging=tmp_path / "staging", python=BARE_PYTHON)


# --- Configuration ---


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "'host' is missing"),
        ({"host": "node", "port": 22}, "'port' is not a setting of an ssh store"),
        ({"host": "-oProxyCommand=touch /tmp/x"}, "'host' must be"),
        ({"host": "a b"}, "'host' must be"),
        ({"host": "who@-node"}, "'host' must be"),
        ({"host": "node", "python": "-c"}, "'python' must be"),
        ({"host": "node", "python": "bin/python"}, "absolute"),
        ({"host": "node", "python": "A=B"}, "'python' must be"),
        ({"host": "node", "ssh_config": "config"}, "'ssh_config' must be"),
        ({"host": "node", "root": "data"}, "'root' must be an absolute path"),
        ({"host": "node", "root": ""}, "'root' must be"),
        ({"host": "node", "staging": "/data"}, "'staging' must not be the root"),
    ],
)
def test_wrong_configuration_is_said(settings: dict[str, object], word: str) -> None:
    assert word in " ".join(SshBackend.check_configuration({"root": "/data", **settings}))


@pytest.mark.parametrize("home", ["with a blank", "with%hpercent"])
def test_a_socket_whose_path_ssh_would_not_understand_is_not_used(
    home: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(calling, "LONGEST_SOCKET", 1000)
    settings.LIBRARIAN_HOME = str(tmp_path / home)
    assert calling.control_path({"host": "node"}) == ""
    settings.LIBRARIAN_HOME = str(tmp_path)
    assert calling.control_path({"host": "node"}).startswith(str(tmp_path))


def test_right_configuration_needs_no_host_to_be_seen() -> None:
    whole = {
        "host": "who@node-2.example",
        "root": "/d/a",
        "staging": "/d/s",
        "python": "python3.12",
        "ssh_config": "/c",
    }
    assert SshBackend.check_configuration(whole) == []


def test_addresses_are_those_of_scp(backend: SshBackend) -> None:
    root = backend.store.configuration["root"]
    assert backend.locate("1/f") == f"{HOST}:{root}/1/f"
    for location in (f"{root}/1/f", f"elsewhere:{root}/1/f", f"{HOST}:{root}", f"{HOST}:{root}/../x", f"{HOST}:1/f"):
        assert backend.place_of(location) is None
    assert backend.item_location("abcdefghijkl") == f"{root}/.librarian/staging/abcdefghijkl/item"


# --- Names ---


def test_names_arrive_exactly(sshd: Sshd, tmp_path: Path) -> None:
    backend = ssh_store(sshd.config, tmp_path / ODD)
    deliver(backend, b"odd", f"{ODD}/{ODD}")
    deliver_tree(backend, write_tree(tmp_path / "d", {ODD: b"1", f"sub/{ODD}": b"2"}), f"{ODD}/tree")
    assert (tmp_path / ODD / ODD / ODD).read_bytes() == b"odd"
    assert content_at(backend, f"{ODD}/tree", f"sub/{ODD}") == b"2"
    assert sorted(entry.place for entry in backend.list()) == sorted(
        [f"{ODD}/{ODD}", f"{ODD}/tree/{ODD}", f"{ODD}/tree/sub/{ODD}"]
    )
    assert backend.place_of(backend.locate(f"{ODD}/{ODD}")) == f"{ODD}/{ODD}"
    assert not list(tmp_path.glob("**/pwned"))


def test_names_that_are_no_utf8_are_listed_as_the_disk_has_them(backend: SshBackend, tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path / "far") + b"/bad\xff", "wb"):
        pass
    assert [os.fsencode(entry.place) for entry in backend.list()] == [b"bad\xff"]


# --- Connections ---


def test_many_calls_of_several_threads_share_one_connection(sshd: Sshd, backend: SshBackend) -> None:
    before, failures = sshd.count_connections(), []
    contents = {f"t/{number}": os.urandom(300_000) for number in range(6)}

    def work(place: str) -> None:
        try:
            deliver(backend, contents[place], place)
            assert content_at(backend, place) == contents[place]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sshd.count_connections() == before, "the fixture's own connection carries all"


def test_calls_one_after_the_other_use_one_far_process(sshd: Sshd, backend: SshBackend) -> None:
    deliver(backend, os.urandom(LARGE), "1/f")
    sessions = _sessions(sshd)
    for _ in range(30):
        backend.stat("1/f")
        next(backend.read("1/f"))  # left off in the middle
    with backend.holding():
        reading = backend.read("1/f")
        next(reading)
        assert backend.stat("1/f")[1] == LARGE  # by another line, while this one is read
        del reading
        assert len(list(backend.list())) == 1
    assert _sessions(sshd) - sessions <= 1


def _sessions(sshd: Sshd) -> int:
    return sshd.log.read_text(errors="replace").count("Starting session: command")


def test_reading_that_is_never_begun_gives_its_line_back(sshd: Sshd, backend: SshBackend) -> None:
    deliver(backend, b"x" * LARGE, "1/f")
    sessions = _sessions(sshd)
    for _ in range(10):
        backend.read("1/f")
    assert _sessions(sshd) == sessions


def test_a_fork_has_a_line_of_its_own_and_leaves_its_parents_alone(sshd: Sshd, backend: SshBackend) -> None:
    for size in (1, 2):
        deliver(backend, b"x" * size, f"1/{size}")
    sessions = _sessions(sshd)
    child = os.fork()
    if child == 0:
        os._exit(0 if all(backend.stat("1/1") == ("flat", 1) for _ in range(50)) else 1)
    assert all(backend.stat("1/2") == ("flat", 2) for _ in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.stat("1/2") == ("flat", 2)
    assert _sessions(sshd) == sessions + 1


def test_a_batch_sees_at_its_beginning_that_the_store_is_away(backend: SshBackend, tmp_path: Path) -> None:
    (tmp_path / "far").rename(tmp_path / "away")
    assert "does not exist" in backend.check().reason
    with pytest.raises(Exception, match="does not exist"), backend.holding():
        pytest.fail("held a store that is not there")
    (tmp_path / "away").rename(tmp_path / "far")
    with backend.holding(), backend.holding():
        deliver(backend, b"x", "1/f")
    assert content_at(backend, "1/f") == b"x"


def test_the_shared_connection_holds_nobody_up(sshd: Sshd, tmp_path: Path) -> None:
    """It goes on in the background, and must not keep open what the command that began it was to write to."""
    configuration = {"host": HOST, "ssh_config": str(sshd.write_config(name="ssh_config_alone"))}
    try:
        for _ in range(2):
            said = subprocess.run(far_command(configuration, ["echo", "a  b"]), capture_output=True, timeout=30)
            assert said.stdout == b"a  b\n"
    finally:
        end_sharing(configuration)


def test_aliases_and_jumps_of_the_ssh_configuration_hold(sshd: Sshd, tmp_path: Path) -> None:
    """A line that ends with its whole process group leaves the way through the other host to those who use it too."""
    with far_host(tmp_path / "inner") as inner:
        hosts = {"gateway": sshd, "node": inner}
        config = write_shared_config(tmp_path / "config", hosts, through={"node": "gateway"})
        before = sshd.count_connections()
        links.close()
        backend = ssh_store(config, tmp_path / "store", host="node")
        try:
            content = os.urandom(LARGE)
            deliver(backend, content, "1/f")
            first, second = backend.read("1/f"), backend.read("1/f")
            blocks = [next(second)]
            del first
            links.close()
            with running_child(far_command(backend.store.configuration, ["sleep", "60"])):
                pass
            assert b"".join([*blocks, *second]) == content
            assert sshd.count_connections() == before + 1
            assert inner.count_connections() == 1
        finally:
            links.close()
            end_sharing(backend.store.configuration)


def test_what_a_login_shell_says_first_is_passed_over(sshd: Sshd, tmp_path: Path) -> None:
    chatty = tmp_path / "python"
    chatty.write_text(f'#!/bin/sh\necho "Welcome to node 2"\nprintf "no newline "\nexec {BARE_PYTHON} "$@"\n')
    chatty.chmod(0o755)
    assert ssh_store(sshd.config, tmp_path / "far", python=chatty).check().available


# --- Papers, and a full disk ---


def test_papers_of_a_disk_are_written_and_read(backend: SshBackend, tmp_path: Path) -> None:
    assert backend.read_paper("index.html", limit_bytes=100) is None
    backend.write_paper("index.html", [b"<p>", b"x" * LARGE])
    assert backend.read_paper("index.html", limit_bytes=10) == b"<p>xxxxxxx"
    backend.write_paper("index.html", [b"new"])
    assert (tmp_path / "far" / "index.html").read_bytes() == b"new"
    with pytest.raises(ValueError, match="papers"):
        backend.write_paper("../x", [b"x" * LARGE])


def test_full_far_disk_is_said_to_be_full_and_leaves_no_item(sshd: Sshd, mounted: Path, tmp_path: Path) -> None:
    backend = ssh_store(sshd.config, mounted / "r")
    deliver(backend, b"kept", "1/kept")
    (tmp_path / "large").write_bytes(bytes(20 * 2**20))
    token = new_token()
    backend.stage(token)
    for act in (
        lambda: backend.write_item(token, io.BytesIO(bytes(20 * 2**20)), []),
        lambda: backend.copy_in(token, str(tmp_path / "large"), []),
    ):
        with pytest.raises(StoreFull):
            act()
        assert not backend.has_item(token)
    assert backend.check().available
    deliver(backend, b"small", "1/small")
    assert content_at(backend, "1/kept") == b"kept"
