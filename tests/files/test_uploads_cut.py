"""Resumable uploads to a real server while clients, servers and connections die: nothing is lost, sent twice or left.

The caller is a bare socket, so that it can stop after any byte; what it does not send again cannot have been needed.
"""

import hashlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import xxhash

from librarian.common.steps import ARRIVAL_STEPS, STEPS
from tests.rig.processes import wait_for
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site
from tests.test_faults import ABSENT, THERE, state_of
from tests.tus import creation, make_tar, piece

SIZE = 8_000_000


def xxh3(content: bytes) -> str:
    return f"xxh3:::{xxhash.xxh3_128(content).hexdigest()}"


class Caller:
    """One account that uploads, and counts what it sends."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.session = requests.Session()
        self.session.auth = (ADMIN, ADMIN_PASSWORD)
        self.session.headers["Tus-Resumable"] = "1.0.0"
        self.sent_bytes = 0

    def url(self, path: str) -> str:
        return path if path.startswith("http") else f"{self.site.url}/api/v3/{path}"

    def begin(self, length: int, **values: object) -> str:
        answer = self.session.post(self.url("uploads/"), headers=creation(length, **values), timeout=60)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def offset(self, location: str) -> int:
        answer = self.session.head(location, timeout=60)
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["Upload-Offset"])

    def send(self, location: str, offset: int, body: bytes) -> requests.Response:
        self.sent_bytes += len(body)
        return self.session.patch(location, data=body, headers=piece(offset), timeout=120)

    def send_and_stop(self, location: str, offset: int, body: bytes, stop_after: int) -> socket.socket:
        """Begin a PATCH and send only its first bytes; the connection stays open for the caller to do with."""
        address = urlsplit(location)
        request = requests.Request("PATCH", location, headers=piece(offset), auth=self.session.auth, data=body)
        prepared = self.session.prepare_request(request)
        lines = [f"PATCH {address.path} HTTP/1.1", f"Host: {address.netloc}"]
        lines += [f"{name}: {value}" for name, value in prepared.headers.items()]
        connection = socket.create_connection((address.hostname, address.port), timeout=60)
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.sendall(body[:stop_after])
        self.sent_bytes += stop_after
        return connection

    def shown(self, location: str) -> dict[str, Any]:
        return self.session.get(location, timeout=60).json()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site("karoo", tmp_path_factory.mktemp("uploads") / "karoo")
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()


def arrived(caller: Caller, location: str, wanted: int) -> None:
    """Wait until the server has written so much; looking does not disturb the request that writes."""
    wait_for(lambda: caller.shown(location)["offset_bytes"] >= wanted, timeout_seconds=60, what=f"{wanted} bytes")


def send_and_commit(caller: Caller, location: str, body: bytes) -> None:
    caller.send(location, 0, body)
    caller.session.post(f"{location}commit", json={}, timeout=60)


def bytes_on(site: Site, name: str) -> bytes:
    (path,) = [path for path in site.store_path.rglob(name) if ".librarian" not in path.parts]
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_an_upload_whose_connection_is_cut_goes_on_without_its_prefix(site: Site, share: float) -> None:
    caller, content = Caller(site), os.urandom(SIZE)
    name, stop = f"connection.{share}.dat", int(SIZE * share)
    location = caller.begin(SIZE, filename=name, checksum=xxh3(content))
    caller.send_and_stop(location, 0, content, stop).close()
    arrived(caller, location, stop)
    assert caller.offset(location) == stop
    assert caller.send(location, stop, content[stop:]).status_code == 204
    assert caller.sent_bytes == SIZE
    assert bytes_on(site, name) == content


def test_an_upload_whose_server_is_killed_goes_on_without_its_prefix(start_site: Callable[..., Site]) -> None:
    site = start_site()
    for share in (0.01, 0.5, 0.99):
        caller, content = Caller(site), os.urandom(SIZE)
        name, stop = f"server.{share}.dat", int(SIZE * share)
        location = caller.begin(SIZE, filename=name, checksum=xxh3(content))
        connection = caller.send_and_stop(location, 0, content, stop)
        # Blocks of a mebibyte are written once they are full; a killed server loses no more than the one between.
        whole_blocks = stop - stop % 2**20
        arrived(caller, location, whole_blocks)
        site.kill()
        connection.close()
        site.start()
        offset = caller.offset(location)
        assert whole_blocks <= offset <= stop
        assert caller.send(location, offset, content[offset:]).status_code == 204
        assert caller.sent_bytes <= SIZE + 2**20
        assert bytes_on(site, name) == content
        assert state_of(site, name) == THERE


def test_a_client_that_comes_back_does_not_wait_for_its_dead_connection(site: Site) -> None:
    """The old connection stays open and silent, as after a cut cable; the new request goes on at once."""
    caller, content = Caller(site), os.urandom(SIZE)
    location = caller.begin(SIZE, filename="back.dat", checksum=xxh3(content))
    silent = caller.send_and_stop(location, 0, content, SIZE // 2)
    arrived(caller, location, SIZE // 2 - 2**20)
    offset = caller.offset(location)
    assert caller.send(location, offset, content[offset:]).status_code == 204
    silent.sendall(b"late bytes of the old connection" * 100_000)
    silent.close()
    assert bytes_on(site, "back.dat") == content


def test_two_requests_that_write_at_once_do_not_mix(site: Site) -> None:
    caller, content = Caller(site), os.urandom(SIZE)
    location = caller.begin(SIZE, filename="mixed.dat", checksum=xxh3(content))
    statuses: list[int] = []

    def send() -> None:
        one = Caller(site)
        while True:
            try:
                offset = one.offset(location)
                if offset == SIZE:
                    return
                statuses.append(one.send(location, offset, content[offset:]).status_code)
            except requests.ConnectionError:
                continue  # refused before all of the body was read, which ends the connection
            if statuses[-1] == 204:
                return

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(statuses) <= {204, 409, 503}
    assert bytes_on(site, "mixed.dat") == content
    assert state_of(site, "mixed.dat") == THERE


def test_eight_uploads_of_one_name_make_one_file(site: Site) -> None:
    contents = [os.urandom(200_000) for _ in range(7)]
    contents.append(contents[0])
    callers = [Caller(site) for _ in contents]
    locations = [caller.begin(len(content), filename="one.dat", commit="asked")
                 for caller, content in zip(callers, contents, strict=True)]  # fmt: skip
    for caller, location, content in zip(callers, locations, contents, strict=True):
        assert caller.send(location, 0, content).status_code == 204
    answers: list[requests.Response] = []
    begin = threading.Barrier(len(callers))

    def commit(caller: Caller, location: str) -> None:
        begin.wait(30)
        while (answer := caller.session.post(f"{location}commit", json={}, timeout=120)).status_code == 503:
            begin_again.wait(0.05)
        answers.append(answer)

    begin_again = threading.Event()
    threads = [threading.Thread(target=commit, args=pair) for pair in zip(callers, locations, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    counts = Counter(answer.status_code for answer in answers)
    assert counts in ({200: 1, 409: 7}, {200: 2, 409: 6}), counts
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"name_taken"}
    assert bytes_on(site, "one.dat") in contents
    assert state_of(site, "one.dat") == THERE


def test_the_client_of_the_protocols_makers_works(site: Site, tmp_path: Path) -> None:
    from tusclient.client import TusClient

    from tests.asking import basic

    content = os.urandom(3_000_000)
    (tmp_path / "tuspy.dat").write_bytes(content)
    client = TusClient(f"{site.url}/api/v3/uploads/", headers={"Authorization": basic(ADMIN, ADMIN_PASSWORD)})
    options = {"chunk_size": 500_000, "metadata": {"filename": "2457561/tuspy.dat"}, "retries": 3, "retry_delay": 1}
    uploader = client.uploader(str(tmp_path / "tuspy.dat"), upload_checksum=True, **options)
    uploader.upload(stop_at=1_000_000)
    resumed = client.uploader(str(tmp_path / "tuspy.dat"), url=uploader.url, **options)
    assert resumed.offset == 1_000_000
    resumed.upload()
    assert bytes_on(site, "tuspy.dat") == content


@pytest.mark.parametrize("kind", ["file", "directory", "batch"])
def test_a_server_killed_between_any_two_steps_loses_nothing(
    start_site: Callable[..., Site], tmp_path: Path, kind: str
) -> None:
    killing = tmp_path / "kill-at"
    site = start_site(LIBRARIAN_KILL_AT=f"@{killing}")
    caller, names = Caller(site), []
    steps = [*ARRIVAL_STEPS[:2], *STEPS[1:], *(ARRIVAL_STEPS[2:] if kind == "batch" else ())]
    for step in steps:
        name = f"zen.{step}.{'uv' if kind == 'directory' else 'uvh5'}"
        body = {
            "file": hashlib.sha256(name.encode()).digest() * 1000,
            "directory": make_tar({f"{name}/header": b"h", f"{name}/vis/data": name.encode() * 99}),
            "batch": make_tar({name: name.encode(), f"second.{step}": b"2", f"{step}.uv/x": b"3"}),
        }[kind]
        location = caller.begin(len(body), filename=name, content=kind, commit="asked")
        killing.write_text(step)
        with pytest.raises(requests.ConnectionError):
            send_and_commit(caller, location, body)
        assert not killing.exists(), step
        offset = caller.offset(location)
        if offset < len(body):
            assert caller.send(location, offset, body[offset:]).status_code == 204
        answer = caller.session.post(f"{location}commit", json={"stream_checksum": xxh3(body)}, timeout=60)
        assert answer.status_code == 200, (step, answer.text)
        names.append(name)
        if kind == "batch":
            assert [p["outcome"] in ("new", "already here") for p in answer.json()["products"]] == [True] * 3, step
    audit = site.evaluate("__import__('tests.fault_audit').fault_audit.sweep_and_audit()")
    assert {name: audit["rows"][name] for name in names} == dict.fromkeys(names, THERE)
    assert audit["left"] == {"live uploads": 0, "staging": 0, "broken histories": [], "broken invariants": []}


def test_a_commit_that_goes_without_saying_is_finished_by_the_sweeper(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    """The server dies after the last byte; the client looks, sees that all is there, and goes home."""
    killing = tmp_path / "kill-at"
    site = start_site(LIBRARIAN_KILL_AT=f"@{killing}")
    caller, contents = Caller(site), {}
    for step in ("arrived", "complete", "staged", "placed"):
        content = os.urandom(50_000)
        location = caller.begin(len(content), filename=f"{step}.dat", checksum=xxh3(content))
        killing.write_text(step)
        with pytest.raises(requests.ConnectionError):
            caller.send(location, 0, content)
        assert caller.offset(location) == len(content)
        contents[step] = content
    site.manage("run_jobs", "finish_commits")
    for step, content in contents.items():
        assert bytes_on(site, f"{step}.dat") == content
    assert site.evaluate("File.objects.count()") == len(contents)


def test_nothing_of_an_upload_that_is_never_finished_stays(start_site: Callable[..., Site]) -> None:
    site = start_site(LIBRARIAN_UPLOAD_EXPIRES_DAYS="0")
    caller = Caller(site)
    location = caller.begin(1000, filename="never.dat")
    caller.send(location, 0, b"x" * 500)
    site.manage("run_jobs", "sweep_staging")
    assert caller.session.head(location, timeout=60).status_code == 410
    assert caller.shown(location)["code"] == "upload_expired"
    assert state_of(site, "never.dat") == ABSENT
    assert list((site.store_path / ".librarian" / "staging").iterdir()) == []
