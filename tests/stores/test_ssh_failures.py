"""The ssh kind when the far host, the way to it or its disk fails: what is said, and that all ends well afterwards."""

import fcntl
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from librarian.common.errors import StoreUnavailable
from stores.backends.base import RecordLine, TreeEntry, new_token
from stores.backends.ssh import links as link_limits
from stores.backends.ssh import sharing
from stores.backends.ssh.backend import SshBackend
from stores.backends.ssh.pool import links
from tests.rig.processes import free_port, wait_for
from tests.rig.sshd import Sshd
from tests.stores.contract import FACTS, LARGE, append, content_at, deliver, write_tree
from tests.stores.ssh_stores import BARE_PYTHON, far_host, ssh_store

pytestmark = pytest.mark.database_independent


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with far_host(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def backend(sshd: Sshd, tmp_path: Path) -> SshBackend:
    return ssh_store(sshd.config, tmp_path / "far")


class Source(io.RawIOBase):
    """A stream in whose midst something happens."""

    def __init__(self, content: bytes, *, at: int, act: Callable[[], None]) -> None:
        self._rest, self._at, self._act = io.BytesIO(content), at, act
        self._is_done = False

    def read(self, size: int = -1) -> bytes:
        if self._rest.tell() >= self._at and not self._is_done:
            self._is_done = True
            self._act()
        return self._rest.read(size)


# --- Beginning ---


def refused(backend: SshBackend) -> tuple[str, str]:
    """Reason and remedy, the same whether the store is looked at or used."""
    found = backend.check()
    assert not found.available
    with pytest.raises(StoreUnavailable, match=re.escape(found.reason)):
        backend.stat("1/f")
    with pytest.raises(StoreUnavailable):
        backend.carries_marker()
    return found.reason, found.remedy


def test_a_wrong_host_key_is_never_accepted(sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.write_config(host_key="other_key", name="ssh_config_wrong_host")
    reason, remedy = refused(ssh_store(config, tmp_path / "far", initialise=False))
    assert "ssh_host_key_refused" in reason
    assert "known_hosts" in remedy
    assert not (tmp_path / "far").exists()


def test_a_refused_key_is_said(sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.write_config(key="other_key", name="ssh_config_wrong_key")
    reason, remedy = refused(ssh_store(config, tmp_path / "far", initialise=False))
    assert "ssh_key_refused" in reason
    assert "authorized_keys" in remedy


def test_an_unknown_host_is_said(sshd: Sshd, tmp_path: Path) -> None:
    backend = ssh_store(sshd.config, tmp_path / "far", initialise=False, host="no-such-host.invalid")
    reason, _ = refused(backend)
    assert "ssh_unknown_host" in reason
    assert "no-such-host.invalid" in reason


def test_a_host_that_does_not_listen_is_said(sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.write_config(port=free_port(), name="ssh_config_nobody")
    assert "ssh_unreachable" in refused(ssh_store(config, tmp_path / "far", initialise=False))[0]


def test_a_host_without_python_is_said(sshd: Sshd, tmp_path: Path) -> None:
    backend = ssh_store(sshd.config, tmp_path / "far", initialise=False, python="/nonexistent/python")
    reason, remedy = refused(backend)
    assert "has no Python '/nonexistent/python'" in reason
    assert "'python'" in remedy


def test_an_old_python_is_said(sshd: Sshd, tmp_path: Path) -> None:
    old = tmp_path / "python2"
    pretend = "import sys; sys.version_info = (2, 7, 18); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec {BARE_PYTHON} -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    reason, remedy = refused(ssh_store(sshd.config, tmp_path / "far", initialise=False, python=old))
    assert "Python 2.7" in reason
    assert "3.11 or later" in reason
    assert "'python'" in remedy


# --- A line that breaks ---


@pytest.fixture
def mortal(sshd: Sshd) -> Iterator[Sshd]:
    """An sshd that the test may kill or freeze."""
    links.close()
    yield sshd
    sshd.kill()
    sshd.start()


def test_killed_in_the_midst_of_a_write(mortal: Sshd, tmp_path: Path) -> None:
    backend, content = ssh_store(mortal.config, tmp_path / "far"), os.urandom(LARGE)
    token = new_token()
    backend.stage(token)
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            backend.write_item(token, Source(content, at=3 * 2**20, act=mortal.kill), [])
        assert caught.value.passing
        mortal.start()
        assert not backend.has_item(token), "half of an item is none"
    found = backend.write_item(token, io.BytesIO(content), [])
    assert found.digest == hashlib.sha256(content).hexdigest()
    backend.place_item(token, "1/f")
    assert content_at(backend, "1/f") == content
    assert list((tmp_path / "far/.librarian/staging" / token).iterdir()) == [
        tmp_path / "far/.librarian/staging" / token / "item"
    ]


def test_killed_in_the_midst_of_a_tree(mortal: Sshd, tmp_path: Path) -> None:
    backend = ssh_store(mortal.config, tmp_path / "far")
    source = write_tree(tmp_path / "d", {f"sub/{number}": os.urandom(2**20) for number in range(6)})
    token, told = new_token(), []
    backend.stage(token)

    def kill(size: int) -> None:
        told.append(size)
        if len(told) == 3:
            mortal.kill()

    with pytest.raises(StoreUnavailable):
        backend.copy_in(token, str(source), [], kill)
    mortal.start()
    assert not backend.has_item(token)
    found = backend.copy_in(token, str(source), ["xxh3"])
    assert backend.adopt(token, ["xxh3"]).digest == found.digest


def test_killed_in_the_midst_of_a_read(mortal: Sshd, tmp_path: Path) -> None:
    backend, content = ssh_store(mortal.config, tmp_path / "far"), os.urandom(4 * LARGE)
    deliver(backend, content, "1/f")
    reading = backend.read("1/f")
    next(reading)
    mortal.kill()
    with pytest.raises(StoreUnavailable):
        list(reading)
    assert not backend.check().available
    mortal.start()
    assert content_at(backend, "1/f") == content


def test_killed_before_a_read(mortal: Sshd, tmp_path: Path) -> None:
    backend = ssh_store(mortal.config, tmp_path / "far")
    deliver(backend, b"bytes", "1/f")
    mortal.kill()
    with pytest.raises(StoreUnavailable):
        list(backend.read("1/f"))
    mortal.start()
    assert content_at(backend, "1/f") == b"bytes"
    mortal.kill()
    mortal.start()
    assert content_at(backend, "1/f") == b"bytes", "over a new line"


def test_killed_in_the_midst_of_a_piece(mortal: Sshd, tmp_path: Path) -> None:
    backend, content = ssh_store(mortal.config, tmp_path / "far"), os.urandom(LARGE)
    token = new_token()
    backend.stage(token, private=True)
    backend.take_over(token, "item", writer="first", durable_bytes=0)
    source = Source(content, at=5 * 2**20, act=mortal.kill)
    with pytest.raises(StoreUnavailable):
        backend.append(token, "item", source, writer="first", at_bytes=0, hashers={}, on_durable=lambda _: None)
    mortal.start()
    size = backend.take_over(token, "item", writer="second", durable_bytes=0)
    assert size <= 5 * 2**20
    append(backend, token, content[size:], at=size, writer="second", take_over=False)
    assert backend.keep_item(token) == LARGE
    backend.place_item(token, "1/f")
    assert content_at(backend, "1/f") == content


def test_killed_between_and_in_the_steps_of_a_commit(mortal: Sshd, tmp_path: Path) -> None:
    backend, token = ssh_store(mortal.config, tmp_path / "far"), new_token()
    line = RecordLine("1/f", FACTS)
    backend.stage(token)
    backend.write_item(token, io.BytesIO(b"content"), [])
    steps: list[Callable[[], Any]] = [
        lambda: backend.sync_items([token]),
        lambda: backend.place_item(token, "1/f"),
        lambda: backend.sync_places(["1/f"]),
    ]
    for step in steps:
        mortal.kill()
        with pytest.raises(StoreUnavailable):
            step()
        mortal.start()
        step()
        step()

    def lines() -> Iterator[tuple[RecordLine, tuple[()]]]:
        yield line, ()
        mortal.kill()
        yield line, ()

    with pytest.raises(StoreUnavailable):
        backend.append_record(lines())
    mortal.start()
    assert backend.is_placed(token, "1/f")
    backend.append_record([(line, ())])
    assert [(told, list(members)) for told, members in backend.read_record()] == [(line, [])]
    assert backend.record_problems == []
    assert content_at(backend, "1/f") == b"content"


def test_nothing_is_left_over_there_when_we_die(backend: SshBackend, sshd: Sshd, tmp_path: Path) -> None:
    """Killed in the midst of a write, as a worker is: the far end ends too."""
    program = (
        "import django, os; django.setup()\n"
        "from pathlib import Path\n"
        "from tests.stores.ssh_stores import ssh_store\n"
        "from tests.stores.test_ssh_failures import Source\n"
        f"backend = ssh_store(Path({str(sshd.config)!r}), Path({str(tmp_path / 'far2')!r}))\n"
        "backend.stage('abcdefghijkl')\n"
        "kill = lambda: (print('now', flush=True), os.kill(os.getpid(), 9))\n"
        f"backend.write_item('abcdefghijkl', Source(bytes({LARGE}), at={3 * 2**20}, act=kill), [])\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "librarian.settings"}
    before = _far_ends(sshd)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
    assert done.stdout == b"now\n", done.stderr.decode()
    wait_for(lambda: _far_ends(sshd) <= before, timeout_seconds=30, what="the end of the far process")
    assert not (tmp_path / "far2/.librarian/staging/abcdefghijkl/item").exists()


def _far_ends(sshd: Sshd) -> int:
    return sum(b"PYTHONUTF8" in _environment(pid) for pid in sshd.sessions())


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


# --- A line on which nothing moves ---


@pytest.fixture
def give_up_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """How long a line may be silent; far ends speak every half second."""
    links.close()
    monkeypatch.setattr(link_limits, "ALIVE_SECONDS", 0.5)
    yield lambda seconds: monkeypatch.setattr(link_limits, "SILENCE_SECONDS", seconds)
    links.close()


def test_frozen_sessions_are_given_up(
    give_up_after: Callable[[float], None], mortal: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, content, token = ssh_store(mortal.config, tmp_path / "far"), os.urandom(3 * LARGE), new_token()
    deliver(backend, content, "1/f")
    backend.stage(token)
    reading = backend.read("1/f")
    next(reading)
    give_up_after(2)
    mortal.freeze()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="nothing moved"):
        list(reading)
    assert time.monotonic() - begun < 20
    give_up_after(60)
    assert content_at(backend, "1/f") == content, "a new connection was made, past the frozen one"

    def freeze() -> None:
        give_up_after(2)
        mortal.freeze()

    with pytest.raises(StoreUnavailable, match="nothing moved"):
        backend.write_item(token, Source(bytes(30 * 2**20), at=2**20, act=freeze), [])
    give_up_after(60)
    mortal.thaw()
    assert not backend.has_item(token)


def test_a_far_end_that_is_only_slow_is_waited_for(
    give_up_after: Callable[[float], None], mortal: Sshd, tmp_path: Path
) -> None:
    backend, token = ssh_store(mortal.config, tmp_path / "far"), new_token()
    backend.stage(token, private=True)
    append(backend, token, b"x", at=0)
    give_up_after(4)
    with _held_up(tmp_path / "far", token, seconds=7):
        assert backend.take_over(token, "item", writer="w", durable_bytes=0) == 1


def test_a_far_end_that_is_stuck_is_given_up(
    give_up_after: Callable[[float], None], mortal: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, token = ssh_store(mortal.config, tmp_path / "far"), new_token()
    backend.stage(token, private=True)
    append(backend, token, b"x", at=0)
    monkeypatch.setattr(link_limits, "BUSY_SECONDS", 2.0)
    with _held_up(tmp_path / "far", token, seconds=60), pytest.raises(StoreUnavailable, match="busy for too long"):
        backend.take_over(token, "item", writer="w", durable_bytes=0)


@contextmanager
def _held_up(root: Path, token: str, *, seconds: float) -> Iterator[None]:
    """The far end has to wait for a lock, for so long at most."""
    with open(root / ".librarian/staging" / token / "writer", "rb") as note:
        timer = threading.Timer(seconds, lambda: fcntl.flock(note, fcntl.LOCK_UN))
        fcntl.flock(note, fcntl.LOCK_EX)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def test_a_shared_connection_that_hangs_is_replaced(
    mortal: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ssh_store(mortal.config, tmp_path / "far")
    deliver(backend, b"x", "1/f")
    links.close()
    said = subprocess.run(
        sharing._words(backend.store.configuration, "-O", "check"), capture_output=True, text=True, timeout=20
    )
    master = int(re.search(r"pid=(\d+)", said.stderr + said.stdout).group(1))
    monkeypatch.setattr(sharing, "_ASK_SECONDS", 1.0)
    os.kill(master, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        assert content_at(backend, "1/f") == b"x"
        assert time.monotonic() - begun < 30
    finally:
        os.kill(master, signal.SIGKILL)
    assert content_at(backend, "1/f") == b"x"


# --- Bytes that change on the way ---


def test_what_arrives_otherwise_than_it_was_sent_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    """By every way in; and the next attempt is judged by itself."""
    faulty = tmp_path / "python"
    faulty.write_text(_FAULTY.format(shebang=sys.executable, python=sys.executable))
    faulty.chmod(0o755)
    backend = ssh_store(sshd.config, tmp_path / "far", python=faulty)
    bad, token = os.urandom(500) + b"to be CHANGED on the way" + os.urandom(LARGE), new_token()
    backend.stage(token, private=True)
    (tmp_path / "file").write_bytes(bad)
    write_tree(tmp_path / "tree", {"a": b"good", "b/c": bad})
    entry = TreeEntry("c", "file", open=lambda: nullcontext(io.BytesIO(bad)))
    for act in (
        lambda: backend.write_item(token, io.BytesIO(bad), []),
        lambda: backend.copy_in(token, str(tmp_path / "file"), []),
        lambda: backend.copy_in(token, str(tmp_path / "tree"), []),
        lambda: backend.write_tree(token, [entry], []),
        lambda: append(backend, token, bad, at=0, part="received"),
        lambda: append(backend, token, bad, at=0, part="received", accept=lambda _: True),
    ):
        with pytest.raises(StoreUnavailable, match="not what was sent"):
            act()
        assert not backend.has_item(token)
        assert backend.part_size(token, "received") == 0
    good = bad.replace(b"CHANGED", b"changed")
    assert backend.write_item(token, io.BytesIO(good), []).size_bytes == len(good)


_FAULTY = """#!{shebang}
import os, subprocess, sys
child = subprocess.Popen(["{python}", *sys.argv[1:]], stdin=subprocess.PIPE)
while block := os.read(0, 65536):
    child.stdin.write(block.replace(b"CHANGED", b"CHANGEd"))
    child.stdin.flush()
child.stdin.close()
sys.exit(child.wait())
"""
