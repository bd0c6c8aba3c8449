"""Resumable uploads to a real site, and to servers that answer strangely."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from files.models import File
from hera_librarian.checksums import combine_directory_digests
from network.providers.base import CouldNotStart, Outcome, Parcel
from network.providers.http import HttpProvider
from network.providers.streams import stream_bytes_of
from tests.hera_librarian.proxy import Proxy
from tests.make import make_peer
from tests.network.providers.checks import ODD_NAMES, tree_at
from tests.rig.processes import free_port
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

HTTP = HttpProvider()
OFFER = {"upload_path": "v3/uploads/"}
BIG = os.urandom(2**20) * 16
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site("far", tmp_path_factory.mktemp("http") / "far")
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def line(site: Site) -> Iterator[Proxy]:
    """A line to the site that can be counted and cut."""
    with Proxy(site.port) as proxy:
        yield proxy


def send(port: int, parcels: list[Parcel], watched: Any, authenticator: str = "") -> list[Outcome]:
    peer = make_peer(port=port, authenticator=authenticator or f"{ADMIN}:{ADMIN_PASSWORD}")
    outcomes = list(HTTP.send(peer, OFFER, parcels, watched.sending))
    assert sorted(outcome.transfer_id for outcome in outcomes) == sorted(parcel.transfer_id for parcel in parcels)
    return sorted(outcomes, key=lambda outcome: outcome.transfer_id)


def begin(site: Site, *parcels: Parcel) -> list[Parcel]:
    """Have the site begin the uploads, as its answer to an offer does."""
    offers = []
    for parcel in parcels:
        file = File.objects.get(name=parcel.file_name)
        stream_bytes = stream_bytes_of(file) if file.is_directory else 0
        offers.append(
            {
                "destination": file.name,
                "size_bytes": file.size_bytes,
                "checksum": _declared(parcel, file),
                "digest": file.digest,
                "kind": file.kind,
                "stream_bytes": stream_bytes,
                "uploader": "a tester",
                "source": "here",
            }
        )
    uploads = "__import__('files.services.uploads', fromlist=['x'])"
    ids = site.evaluate(
        f"(lambda m: [u.pk for u in m.stage_clones(owner=User.objects.get(username={ADMIN!r}), deletion_policy=0, "
        f"private=True, offers=[m.CloneOffer(**o) for o in json.loads({json.dumps(offers)!r})])[1]])({uploads})"
    )
    return [replace(parcel, upload_id=upload_id) for parcel, upload_id in zip(parcels, ids, strict=True)]


def _declared(parcel: Parcel, file: File) -> str:
    """The checksum by the wire's rule, which for a directory is not its tree digest."""
    if not parcel.is_directory:
        return file.checksum
    files = [member.sha256 for member in parcel.members if member.kind == "file"]
    return f"sha256:::{combine_directory_digests('sha256', files)}"


def received(site: Site, parcels: list[Parcel]) -> list[Path]:
    """Have the site take the uploads in, and say where they lie then."""
    ids = [parcel.upload_id for parcel in parcels]
    receiving = "__import__('files.services.receiving', fromlist=['x'])"
    errors = site.evaluate(f"[str(r.error or '') for r in {receiving}.receive_staged({ids}).values()]")
    assert errors == [""] * len(parcels)
    names = [parcel.file_name for parcel in parcels]
    held = f"Instance.objects.filter(file__name__in={names})"
    places = site.evaluate(f"{{i.file.name: i.store.backend.locate(i.path) for i in {held}}}")
    return [Path(places[name]) for name in names]


def test_files_and_directories_arrive(site, make_parcel, watched):
    contents = [b"small", b"", BIG, ODD_NAMES, {"empty": None}]
    parcels = begin(site, *[make_parcel(content, name=f"x{at}.uvh") for at, content in enumerate(contents)])
    assert [outcome.code for outcome in send(site.port, parcels, watched)] == [""] * 5
    places = received(site, parcels)
    assert [place.read_bytes() for place in places[:3]] == contents[:3]
    assert [tree_at(place) for place in places[3:]] == contents[3:]
    assert watched.told[parcels[2].transfer_id][-1] == len(BIG)
    assert watched.told[parcels[3].transfer_id][-1] == parcels[3].size_bytes


def test_small_files_are_one_request_each_over_few_connections(site, line, make_parcel, watched, settings):
    settings.LIBRARIAN_HTTP_STREAMS = 3
    parcels = begin(site, *[make_parcel(b"%d" % number) for number in range(120)])
    before = site.web_log.read_text().count("/api/v3/uploads/")
    assert all(outcome.ok for outcome in send(line.port, parcels, watched))
    assert site.web_log.read_text().count("/api/v3/uploads/") - before == 120
    assert line.lines <= 3
    assert [place.read_bytes() for place in received(site, parcels)] == [b"%d" % number for number in range(120)]


def test_a_line_cut_several_times_sends_hardly_a_byte_twice(site, line, make_parcel, watched):
    parcels = begin(site, make_parcel(BIG), make_parcel({"a": BIG[: 2**22], "b": b"1"}, name="cut.uvh"))
    line.cut_after(6 * 2**20, 10 * 2**20, 14 * 2**20)
    assert all(outcome.ok for outcome in send(line.port, parcels, watched))
    # Begun anew each time it would be 2.5 times as much; what a cut loses lay in the buffers on the way.
    assert line.sent < 2 * (len(BIG) + 2**22)
    flat, tree = received(site, parcels)
    assert flat.read_bytes() == BIG
    assert tree_at(tree) == {"a": BIG[: 2**22], "b": b"1"}


def test_what_another_process_began_is_gone_on_with(site, line, make_parcel, make_watched):
    parcels = begin(site, make_parcel(BIG), make_parcel({"a": BIG}, name="stop.uvh"), make_parcel())
    line.bytes_per_second = 4 * 2**20
    first = make_watched()

    def stop(_: int, count: int) -> None:
        if count >= 12 * 2**20:
            first.going, line.bytes_per_second = False, 2**19  # the rest would take longer than a stop does

    first.on_progress = stop
    stopped = send(line.port, parcels, first)
    assert {(outcome.code, outcome.passing) for outcome in stopped[:2]} == {("sending_stopped", True)}
    line.bytes_per_second, before = None, line.sent
    assert all(outcome.ok for outcome in send(line.port, parcels, make_watched()))
    assert line.sent - before < 2 * len(BIG) - 2**20  # what lay in the buffers of a slow line was lost, not the rest
    assert all(outcome.ok for outcome in send(line.port, parcels, make_watched()))  # and once more
    assert received(site, parcels)[0].read_bytes() == BIG


def test_a_site_that_goes_away_is_passing(site, line, make_parcel, make_watched):
    parcels = begin(site, make_parcel(BIG), make_parcel(BIG))
    line.bytes_per_second = 8 * 2**20
    watched = make_watched()
    watched.on_progress = lambda _, count: line.refuse() if count > 4 * 2**20 else None
    outcomes = send(line.port, parcels, watched)
    assert {(outcome.code, outcome.passing) for outcome in outcomes} == {("connection_cut", True)}
    line.refuse(False)
    line.bytes_per_second = None
    assert all(outcome.ok for outcome in send(line.port, parcels, make_watched()))
    assert [place.read_bytes() for place in received(site, parcels)] == [BIG, BIG]


def test_one_lost_upload_does_not_hold_up_the_others(site, make_parcel, watched):
    parcels = begin(site, make_parcel(), make_parcel(), make_parcel({"a": b"12"}, name="short.uvh"), make_parcel())
    parcels[0] = replace(parcels[0], upload_id=2**30)
    parcels[1] = replace(parcels[1], upload_id=None)
    Path(parcels[2].source.location, "a").write_bytes(b"1")
    outcomes = send(site.port, parcels, watched)
    assert [outcome.code for outcome in outcomes] == ["destination_gone", "destination_refused", "copy_short", ""]


def test_a_refused_account_keeps_it_from_starting(site, make_parcel, watched):
    for authenticator in (f"{ADMIN}:wrong", "no-such-token"):
        with pytest.raises(CouldNotStart) as refused:
            send(site.port, begin(site, make_parcel()), watched, authenticator)
        assert (refused.value.code, refused.value.passing) == ("http_refused", False)


def test_a_site_that_nobody_answers_for_keeps_it_from_starting(make_parcel, watched):
    with pytest.raises(CouldNotStart) as refused:
        send(free_port(), [replace(make_parcel(), upload_id=1)], watched)
    assert (refused.value.code, refused.value.passing) == ("http_unreachable", True)


# --- Strange answers --------------------------------------------------------------------------------------------------


class Strange:
    """A server whose answers to PATCH and HEAD are taken from a list, the last one for ever."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers, self.asked = list(answers), []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        strange = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PATCH(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                strange.asked.append((self.command, self.path))
                status, headers, body = strange.answers.pop(0) if len(strange.answers) > 1 else strange.answers[0]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_PATCH

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def strange() -> Iterator[Callable[..., Strange]]:
    running: list[Strange] = []

    def start(*answers: tuple[int, dict[str, str], bytes]) -> Strange:
        running.append(Strange(*answers))
        return running[-1]

    yield start
    for each in running:
        each.server.shutdown()
        each.server.server_close()


DONE = (204, {"Upload-Offset": "10"}, b"")
AT_START = (200, {"Upload-Offset": "0", "Upload-Length": "10"}, b"")


def test_a_busy_site_is_left_alone_as_long_as_it_asks(strange, make_parcel, watched, monkeypatch):
    waits = []
    wait = threading.Event.wait
    monkeypatch.setattr(threading.Event, "wait", lambda event, seconds=None: waits.append(seconds) or wait(event, 0))
    server = strange((503, {"Retry-After": "17"}, b"{}"), AT_START, DONE)
    assert send(server.port, [replace(make_parcel(), upload_id=7)], watched)[0].ok
    assert 17 in waits
    assert [command for command, _ in server.asked] == ["PATCH", "HEAD", "PATCH"]
    assert server.asked[0][1] == "/api/v3/uploads/7/"


@pytest.mark.parametrize(
    ("answer", "code", "passing"),
    [
        ((413, {}, b'{"reason": "full"}'), "destination_full", True),
        ((410, {}, b"{}"), "destination_gone", False),
        ((400, {}, b'{"reason": "no"}'), "peer_answers_no", False),
        ((204, {"Upload-Offset": "11"}, b""), "peer_answers_no", False),
        ((204, {}, b""), "peer_answers_no", False),
        ((302, {"Location": "http://elsewhere.invalid/"}, b""), None, None),
        ((503, {"Retry-After": "100000"}, b"{}"), "connection_cut", True),
        ((500, {}, b"<html>oh dear</html>"), "connection_cut", True),
        ((204, {"Upload-Offset": "0"}, b""), "connection_cut", True),
    ],
)
def test_an_answer_means_what_it_says(strange, make_parcel, watched, monkeypatch, answer, code, passing):
    monkeypatch.setattr("network.providers.http_stream.next_pause", lambda *_, **__: 0.01)
    server = strange(answer, AT_START, answer, AT_START, answer, AT_START, answer, AT_START, answer)
    parcels = [replace(make_parcel(), upload_id=7)]
    if code is None:
        with pytest.raises(CouldNotStart):
            send(server.port, parcels, watched)
        return
    (outcome,) = send(server.port, parcels, watched)
    assert (outcome.code, outcome.passing) == (code, passing), outcome
    assert outcome.reason
    assert outcome.remedy


def test_a_site_that_goes_back_and_forth_is_given_up(strange, make_parcel, watched, monkeypatch):
    monkeypatch.setattr("network.providers.http_stream.next_pause", lambda *_, **__: 0.01)
    monkeypatch.setattr("network.providers.http_stream.PIECE_BYTES", 4)
    server = strange(*[(204, {"Upload-Offset": "4"}, b""), (204, {"Upload-Offset": "0"}, b""), AT_START] * 6)
    (outcome,) = send(server.port, [replace(make_parcel(), upload_id=7)], watched)
    assert (outcome.code, outcome.passing) == ("connection_cut", True)
    assert len(server.asked) < 18


def test_an_endless_answer_is_not_read_to_its_end(strange, make_parcel, watched):
    server = strange((200, {"Upload-Offset": "10", "Content-Length": str(10**12)}, b"x" * 2**17))
    assert send(server.port, [replace(make_parcel(), upload_id=7)], watched)[0].ok


def test_an_upload_of_another_length_is_not_filled(strange, make_parcel, watched):
    server = strange((200, {"Upload-Offset": "0", "Upload-Length": "5"}, b""))
    (outcome,) = send(server.port, [replace(make_parcel(BIG), upload_id=7)], watched)
    assert outcome.code == "peer_answers_no"
    assert len(server.asked) == 1
