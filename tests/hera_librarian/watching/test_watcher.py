"""A watcher and a real site: nothing lost, nothing doubled, whatever dies in between."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from hera_librarian.client import LibrarianClient
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.uploading import Pace
from hera_librarian.watching import journal as journal_module
from hera_librarian.watching import read_status
from tests.rig.databases import ROOT
from tests.rig.processes import wait_for
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

MIB = 2**20
SIZE = 24 * MIB
IN_FLIGHT = 6 * MIB


@pytest.fixture
def put(watched):
    """`put("a", b"bytes")`: a file in the watched directory."""

    def write(name, data):
        (watched / name).parent.mkdir(parents=True, exist_ok=True)
        (watched / name).write_bytes(data)
        return watched / name

    return write


def counts(status):
    return {state: number for state, number in status["products"].items() if number}


def snapshot(directory):
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_everything_is_delivered_exactly_once_and_kept(make_watcher, put, watched, archived, proxy, spool, site):
    for number in range(30):
        put(f"2459122/once-{number}", os.urandom(100))
    put("once-large", os.urandom(9 * MIB))
    for member in ("header", "vartable", "visdata"):
        put(f"once-miriad/{member}", member.encode())
    before, told = snapshot(watched), []
    status = make_watcher(tell=told.append).run(once=True)
    assert counts(status) == {"delivered": 32}
    assert status["waiting_bytes"] == 0
    assert {result.outcome for result in told} == {"new"}
    found = archived("once-")
    assert len(found) == 32
    assert {copies for copies, _ in found.values()} == {1}
    assert site.evaluate("Instance.objects.get(file__name='once-7').path") == "2459122/once-7"
    sent = proxy.sent
    assert counts(make_watcher().run(once=True)) == {"delivered": 32}
    assert proxy.sent == sent
    shutil.rmtree(spool)
    told.clear()
    assert counts(make_watcher(tell=told.append).run(once=True)) == {"delivered": 32}
    assert {result.outcome for result in told} == {"already here"}
    assert proxy.sent - sent < MIB
    assert archived("once-") == found
    assert snapshot(watched) == before


def test_what_appears_while_it_runs_is_delivered(running, put, archived):
    watcher = running()
    put("appears-1", b"1")
    watcher.until(lambda status: counts(status) == {"delivered": 1})
    put("appears-2", b"2")
    status = watcher.until(lambda status: counts(status) == {"delivered": 2})
    assert status["is_running"]
    assert status["trouble"] is None
    assert archived("appears-") == {"appears-1": [1, 1], "appears-2": [1, 1]}
    watcher.stop()
    assert not watcher.status()["is_running"]


def test_a_site_that_is_away_for_long(running, put, archived, proxy, clock):
    """Products go on being found; the journal stays a row for each; all is delivered when the site is back."""
    proxy.refuse()
    watcher = running()
    for day in range(5):
        put(f"away-{day}", os.urandom(1000))
        tries = watcher.until(lambda status: (status["trouble"] or {}).get("at"))["trouble"]
        assert tries["code"] == "not_reached" or "broke" in tries["code"]
        clock.ahead += 86400
        watcher.until(lambda status, day=day: sum(counts(status).values()) == day + 1 and status["trouble"])
    assert watcher.status()["waiting_bytes"] == 5000
    proxy.refuse(False)
    clock.ahead += 600
    status = watcher.until(lambda status: counts(status) == {"delivered": 5})
    assert status["trouble"] is None
    assert archived("away-") == {f"away-{day}": [1, 1] for day in range(5)}


def test_once_tells_when_the_site_is_away(make_watcher, put, proxy, spool):
    put("unreachable", b"1")
    proxy.refuse()
    with pytest.raises(LibrarianTimeoutError):
        make_watcher().run(once=True)
    assert counts(read_status(spool)) == {"settled": 1}
    assert read_status(spool)["trouble"]["reason"]


def test_a_site_that_is_killed_in_the_middle(running, put, archived, proxy, site, clock):
    path = put("killed-server", os.urandom(SIZE))

    def restart():
        site.kill()
        site.start()
        clock.ahead += 600

    proxy.cut_after(SIZE // 2, then=restart)
    watcher = running(pace=Pace(40e6))
    watcher.until(lambda status: counts(status) == {"delivered": 1}, timeout_seconds=120)
    assert archived("killed-server") == {path.name: [1, 1]}
    assert proxy.sent < SIZE + IN_FLIGHT


def test_the_date_that_steps_back_loses_and_doubles_nothing(running, put, archived, proxy, monkeypatch):
    watcher = running()
    put("stepped-1", b"1")
    watcher.until(lambda status: counts(status) == {"delivered": 1})
    monkeypatch.setattr(journal_module, "now_text", lambda: "1980-01-06T00:00:00+00:00")
    os.utime(put("stepped-2", b"2"), (315_964_800, 315_964_800))
    watcher.until(lambda status: counts(status) == {"delivered": 2})
    watcher.stop()
    sent = proxy.sent
    again = running()
    put("stepped-3", b"3")
    again.until(lambda status: counts(status) == {"delivered": 3})
    assert archived("stepped-") == {f"stepped-{number}": [1, 1] for number in (1, 2, 3)}
    assert proxy.sent - sent < 10_000


WATCH = """
import json, sys
from hera_librarian.client import LibrarianClient
from hera_librarian.uploading import Pace
from hera_librarian.watching import Watcher
port, user, password, directory, spool, once = sys.argv[1:]
def new_client():
    return LibrarianClient("http://127.0.0.1", int(port), user, password)
watcher = Watcher(directory, new_client, spool, settle_seconds=0, interval_seconds=0.02, way="http", pace=Pace(40e6))
print(json.dumps(watcher.run(once=once == "once")["products"]))
"""


@pytest.fixture
def watching(proxy, watched, spool):
    """`watching(once=True)`: a watcher in a process of its own, which can be killed."""
    started = []

    def start(*, once=False, largest_file_bytes=resource.RLIM_INFINITY):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, resource.RLIM_INFINITY))

        words = [str(proxy.port), ADMIN, ADMIN_PASSWORD, str(watched), str(spool), "once" if once else "on"]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", WATCH, *words],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=limit,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_client_that_is_killed_twice_in_the_middle_of_a_file(watching, put, archived, proxy, spool):
    path = put("killed-client", os.urandom(SIZE))
    for share in (0.3, 0.7):
        process = watching()
        proxy.wait_until_sent(int(SIZE * share))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    told, complaints = watching(once=True).communicate(timeout=120)
    assert complaints == ""
    assert json.loads(told)["delivered"] == 1
    assert archived("killed-client") == {path.name: [1, 1]}
    assert proxy.sent < SIZE + 2 * IN_FLIGHT


def test_a_signal_ends_it_in_good_order_in_the_middle_of_a_file(watching, put, archived, proxy, spool):
    path = put("terminated", os.urandom(SIZE))
    process = watching()
    proxy.wait_until_sent(SIZE // 2)
    process.send_signal(signal.SIGTERM)
    told, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    assert json.loads(told)["delivered"] == 0
    assert not read_status(spool)["is_running"]
    watching(once=True).communicate(timeout=120)
    assert archived("terminated") == {path.name: [1, 1]}
    assert proxy.sent < SIZE + IN_FLIGHT


def test_one_bad_product_never_blocks_the_others(make_watcher, put, watched, archived, site, spool):
    put("bad-taken", b"first")
    make_watcher().run(once=True)
    put("bad-taken", b"second, other bytes")
    put(os.fsdecode(b"bad-\xff"), b"no name")
    put("bad-" + "x" * 251, b"a name as long as a disk takes").rename(watched / ("bad-" + "x" * 250))
    (watched / "bad-link").symlink_to("/etc/passwd")
    put("bad-good", b"good")
    status = make_watcher().run(once=True)
    assert counts(status) == {"delivered": 2, "conflict": 1, "failed": 2}
    assert {each["code"] for each in status["failed"]} == {"invalid_name", "unsafe_product"}
    assert [each["code"] for each in status["conflicts"]] == ["name_taken"]
    assert all(each["reason"] and each["suggested_remedy"] for each in status["failed"] + status["conflicts"])
    assert site.evaluate("File.objects.get(name='bad-taken').size_bytes") == 5
    assert set(archived("bad-")) == {"bad-taken", "bad-good", "bad-" + "x" * 250}


def test_a_product_that_fails_is_tried_again_after_a_while(running, put, clock):
    put("no-such-obsid", b"1")
    watcher = running(obsid=-1)
    status = watcher.until(lambda status: counts(status) == {"failed": 1})
    assert status["trouble"] is None
    attempts = status["failed"][0]["attempts"]
    clock.ahead += 7200
    watcher.until(lambda status: status["failed"] and status["failed"][0]["attempts"] > attempts)


def test_an_instruments_own_disk_that_is_full(watching, put, proxy, spool, archived):
    """No file may grow beyond what the journal needs at first; then there is room again."""
    process = watching(largest_file_bytes=256 * 1024)
    for number in range(400):
        put(f"full-{number}-{'x' * 200}", b"1")
    assert process.stderr.readline().startswith("The watcher of")
    assert process.poll() is None
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wait_for(lambda: counts(read_status(spool)) == {"delivered": 400}, timeout_seconds=60, what="the deliveries")
    assert len(archived("full-")) == 400


def test_what_vanishes_before_it_is_delivered_is_told(running, put, proxy, clock):
    proxy.refuse()
    path = put("vanishing", b"1")
    watcher = running()
    watcher.until(lambda status: status["trouble"])
    path.unlink()
    proxy.refuse(False)
    clock.ahead += 600
    status = watcher.until(lambda status: counts(status) == {"vanished": 1})
    assert status["vanished"][0]["path"] == "vanishing"


def test_credentials_that_no_longer_hold_are_read_again(running, put, proxy, clock, archived):
    password = ["wrong"]

    def new_client():
        return LibrarianClient("http://127.0.0.1", proxy.port, ADMIN, password[0], retries=0)

    put("renewed", b"1")
    watcher = running(new_client=new_client)
    status = watcher.until(lambda status: status["trouble"])
    assert status["trouble"]["code"] == "authentication_required"
    assert status["trouble"]["suggested_remedy"]
    password[0] = ADMIN_PASSWORD
    clock.ahead += 600
    watcher.until(lambda status: counts(status) == {"delivered": 1})
    assert archived("renewed") == {"renewed": [1, 1]}


def test_once_tells_of_credentials_that_do_not_hold(make_watcher, put, proxy):
    put("refused", b"1")

    def new_client():
        return LibrarianClient("http://127.0.0.1", proxy.port, ADMIN, "wrong", retries=0)

    with pytest.raises(LibrarianHTTPError) as refused:
        make_watcher(new_client=new_client).run(once=True)
    assert refused.value.status_code == 401


def test_a_directory_that_is_not_mounted_is_waited_for(running, put, watched):
    put("mounted", b"1")
    watched.rename(watched.with_name("elsewhere"))
    watcher = running()
    status = watcher.until(lambda status: status["trouble"])
    assert status["trouble"]["code"] == "directory_missing"
    watched.with_name("elsewhere").rename(watched)
    status = watcher.until(lambda status: counts(status) == {"delivered": 1})
    assert watcher.until(lambda status: status["trouble"] is None)


def test_a_second_watcher_on_the_same_spool_is_refused(running, make_watcher):
    running().until(lambda status: status["is_running"])
    with pytest.raises(LibrarianError) as refused:
        make_watcher().run(once=True)
    assert refused.value.code == "spool_in_use"
