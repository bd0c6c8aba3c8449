"""Uploads cut by killing the line, the server and the client: each goes on without sending its prefix again."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from hera_librarian.exceptions import LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.uploading import Pace, Patience, upload_many, upload_path
from hera_librarian.uploading import tus as tus_module
from tests.rig.databases import ROOT
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

MIB = 2**20
SIZE = 24 * MIB
SHARES = [0.01, 0.5, 0.99]
IN_FLIGHT = 6 * MIB  # what lies in buffers of sockets when a line is cut, and goes again
RATE = 40e6


@pytest.fixture
def make_tree(tmp_path, make_bytes):
    def make(name):
        top = tmp_path / f"{make_bytes('t', 0).name}-{name}"
        for number in range(12):
            (top / f"part-{number % 3}").mkdir(parents=True, exist_ok=True)
            (top / f"part-{number % 3}" / f"{number}.dat").write_bytes(os.urandom(SIZE // 12))
        return top

    return make


@pytest.mark.parametrize("share", SHARES)
def test_a_line_that_breaks(proxy, client_of, memory, make_bytes, held, share):
    path, told = make_bytes("a", SIZE), []
    proxy.cut_after(int(SIZE * share))
    result = upload_path(
        client_of(proxy), path, path.name, way="http", memory=memory, progress=told.append, pace=Pace(RATE)
    )
    assert (result.outcome, result.code) == ("new", "")
    assert held(path.name) == path.read_bytes()
    assert proxy.lines > 1
    assert proxy.sent < SIZE + IN_FLIGHT
    assert sum(told) == SIZE


def test_a_line_that_breaks_again_and_again_under_a_directory(proxy, client_of, memory, make_tree, held):
    product = make_tree("zen.any")
    proxy.cut_after(*[3 * MIB] * 7)
    result = upload_path(client_of(proxy), product, product.name, way="http", memory=memory, pace=Pace(RATE))
    assert (result.outcome, result.code) == ("new", "")
    assert held(product.name) == {str(p.relative_to(product)): p.read_bytes() for p in product.rglob("*.dat")}
    assert proxy.lines >= 7


def test_a_line_that_breaks_under_a_batch(proxy, client_of, memory, tmp_path, held):
    items = []
    for number in range(20):
        path = tmp_path / f"cut-batch-{number}"
        path.write_bytes(os.urandom(MIB - number))
        items.append((path, path.name))
    proxy.cut_after(5 * MIB, 8 * MIB)
    results = list(upload_many(client_of(proxy), items, way="http", memory=memory, pace=Pace(RATE)))
    assert {result.outcome for result in results} == {"new"}
    assert len(results) == 20
    assert held("cut-batch-13") == items[13][0].read_bytes()
    assert proxy.sent < 20 * MIB + 2 * IN_FLIGHT


@pytest.mark.parametrize("share", SHARES)
def test_a_server_that_is_killed(site, proxy, client_of, memory, make_bytes, held, share):
    path = make_bytes("a", SIZE)
    back = threading.Event()

    def kill():
        site.kill()
        site.start()
        back.set()

    proxy.cut_after(int(SIZE * share), then=kill)
    result = upload_path(client_of(proxy), path, path.name, way="http", memory=memory, pace=Pace(RATE))
    assert back.is_set()
    assert (result.outcome, result.code) == ("new", "")
    assert held(path.name) == path.read_bytes()
    assert proxy.sent < SIZE + IN_FLIGHT


SEND = """
import sys
from hera_librarian.client import LibrarianClient
from hera_librarian.uploading import Memory, Pace, upload_path
port, user, password, memory, path, name = sys.argv[1:]
client = LibrarianClient("http://127.0.0.1", int(port), user, password)
print(upload_path(client, path, name, way="http", memory=Memory(memory), pace=Pace(RATE)).outcome)
""".replace("RATE", str(RATE))


def sender(proxy, memory, path):
    """An upload in a process of its own, which can be killed."""
    words = [str(proxy.port), ADMIN, ADMIN_PASSWORD, str(memory.folder), str(path), path.name]
    return subprocess.Popen(
        [sys.executable, "-c", SEND, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("what", ["file", "directory"])
@pytest.mark.parametrize("shares", [(0.01, 0.4), (0.5, 0.9)])
def test_a_client_that_is_killed_twice(proxy, memory, make_bytes, make_tree, held, what, shares):
    path = make_bytes("a", SIZE) if what == "file" else make_tree("zen.any")
    for share in shares:
        running = sender(proxy, memory, path)
        proxy.wait_until_sent(int(SIZE * share))
        running.send_signal(signal.SIGKILL)
        running.communicate()
    told, complaints = sender(proxy, memory, path).communicate(timeout=120)
    assert (told, complaints) == ("new\n", "")
    if what == "file":
        assert held(path.name) == path.read_bytes()
    else:
        assert held(path.name) == {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*.dat")}
    assert proxy.sent < SIZE + 2 * IN_FLIGHT
    assert not list(memory.folder.glob("*.json"))


def test_a_file_that_changed_between_two_processes_begins_anew(proxy, client_of, memory, make_bytes, held):
    path = make_bytes("a", SIZE)
    running = sender(proxy, memory, path)
    proxy.wait_until_sent(SIZE // 2)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    path.write_bytes(os.urandom(SIZE))
    assert upload_path(client_of(proxy), path, path.name, way="http", memory=memory).outcome == "new"
    assert held(path.name) == path.read_bytes()


def stop_after(count):
    """A progress that ends the process's part in it after so many bytes, as Ctrl-C does."""
    sent = 0

    def tell(more):
        nonlocal sent
        sent += more
        if sent >= count:
            raise KeyboardInterrupt

    return tell


def test_credentials_that_no_longer_hold_stop_it_and_good_ones_go_on(
    proxy, client_of, memory, make_bytes, held, monkeypatch
):
    monkeypatch.setattr(tus_module, "PIECE_BYTES", 4 * MIB)
    path, client = make_bytes("a", SIZE), client_of(proxy)

    def revoke(_count):
        client.transport.set_credentials(ADMIN, "no longer right")

    with pytest.raises(LibrarianHTTPError) as refused:
        upload_path(client, path, path.name, way="http", memory=memory, progress=revoke)
    assert refused.value.status_code == 401
    assert upload_path(client_of(proxy), path, path.name, way="http", memory=memory).outcome == "new"
    assert held(path.name) == path.read_bytes()
    assert proxy.sent < SIZE + 5 * MIB, "the piece that was refused came twice, what came before it did not"


def test_an_upload_that_the_server_gave_up_begins_anew(site, client, memory, make_bytes, held):
    path = make_bytes("a", SIZE)
    for end in ("expired", "gone"):
        with pytest.raises(KeyboardInterrupt):
            upload_path(client, path, path.name, way="http", memory=memory, progress=stop_after(2 * MIB))
        (left,) = memory.folder.glob("*.json")
        number = site.evaluate(f"Upload.objects.filter(destination={path.name!r}).latest('id').pk")
        if end == "expired":
            client.transport.request("DELETE", f"v3/uploads/{number}/", headers={"Tus-Resumable": "1.0.0"})
        else:
            left.write_text(left.read_text().replace(f"uploads/{number}/", "uploads/999999/"))
    assert upload_path(client, path, path.name, way="http", memory=memory).outcome == "new"
    assert held(path.name) == path.read_bytes()


def test_what_was_committed_while_the_line_was_dead_is_not_sent_again(proxy, client_of, memory, make_bytes, held):
    """The answer to the commit is lost; another process finds the upload finished."""
    path, client = make_bytes("a", SIZE), client_of(proxy)
    request = client.transport.request

    def lose_commit(method, where, **options):
        answer = request(method, where, **options)
        if where.endswith("commit"):
            raise KeyboardInterrupt
        return answer

    client.transport.request = lose_commit
    with pytest.raises(KeyboardInterrupt):
        upload_path(client, path, path.name, way="http", memory=memory)
    before = proxy.sent
    assert upload_path(client_of(proxy), path, path.name, way="http", memory=memory).outcome == "new"
    assert proxy.sent - before < 10_000
    assert held(path.name) == path.read_bytes()


def test_a_server_that_stays_away_is_given_up_and_the_upload_remembered(proxy, client_of, memory, make_bytes):
    path, client = make_bytes("a", SIZE), client_of(proxy)
    proxy.cut_after(SIZE // 2, then=proxy.refuse)
    with pytest.raises(LibrarianTimeoutError):
        upload_path(client, path, path.name, way="http", memory=memory, new_patience=lambda: Patience(1))
    proxy.refuse(False)
    before = proxy.sent
    assert upload_path(client, path, path.name, way="http", memory=memory).outcome == "new"
    assert proxy.sent - before < SIZE // 2 + IN_FLIGHT


def test_a_busy_site_says_when_to_come_back(start_site, client_of, memory, make_bytes):
    """One place for uploads, taken by another client that does not go on; it leaves while ours waits."""
    site = start_site("busy", LIBRARIAN_WEB_THREADS="2")
    client, path = client_of(site), make_bytes("a", 2 * MIB)
    other = client_of(site).transport
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000", "Upload-Metadata": "filename b3RoZXI="}
    location = other.request("POST", "v3/uploads/", headers=headers).headers["Location"]
    arriving, leave = threading.Event(), threading.Event()

    def stall():
        yield b"x"
        arriving.set()
        leave.wait(60)
        raise RuntimeError("this client dies")

    class Stalled:
        def __iter__(self):
            return stall()

        def __len__(self):
            return 1000

    body = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", "Tus-Resumable": "1.0.0"}

    def occupy():
        with pytest.raises(RuntimeError):
            other.request("PATCH", location, headers=body, data=Stalled())

    thread = threading.Thread(target=occupy, daemon=True)
    thread.start()
    assert arriving.wait(30)
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        leave.set()
        thread.join(30)

    result = upload_path(client, path, path.name, way="http", memory=memory, new_patience=lambda: Patience(sleep=pause))
    assert result.outcome == "new"
    assert pauses[0] >= 2
