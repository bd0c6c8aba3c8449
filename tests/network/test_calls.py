"""Working calls to a peer: what comes back, each way in which it can go wrong, and what none of them leave behind."""

import json

import pytest
from pydantic import BaseModel, RootModel

from hera_librarian.models.clone import CloneStagedRequest, CloneStagedResponse
from librarian.common.models import ErrorRecord
from network import calling
from network.errors import (
    NotALibrarian,
    PeerAnswered,
    PeerProblem,
    PeerRefusesUs,
    PeerRemoved,
    PeerUnreachable,
)
from network.models import Peer
from network.services import set_transfers_enabled
from network.services.peering.calls import call_peer
from tests.make import make_peer

pytestmark = pytest.mark.django_db
PATH = "v2/clone/staged"
NOTED = {"source_transfer_id": 7, "destination_transfer_id": 9, "success": True}
MESSAGE = CloneStagedRequest(source_transfer_id=7, destination_transfer_id=9)


@pytest.fixture
def peer(standin):
    standin.answers[PATH] = (200, NOTED)
    return make_peer("north", port=standin.port, authenticator="test_librarian:right")


def said(peer, answer, standin, **options):
    standin.answers[PATH] = answer
    with pytest.raises(PeerAnswered) as refused:
        call_peer(peer, PATH, MESSAGE, CloneStagedResponse, **options)
    return refused.value


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_a_message_goes_over_and_its_answer_comes_back(peer, standin):
    answer = call_peer(peer, PATH, MESSAGE, CloneStagedResponse)
    assert (answer.source_transfer_id, answer.destination_transfer_id) == (7, 9)
    assert standin.messages == [{"source_transfer_id": 7, "destination_transfer_id": 9}]
    peer.refresh_from_db()
    assert peer.answers is True
    assert 0 < peer.latency_seconds < 5


def test_without_a_model_the_value_comes_as_it_is(peer, standin):
    assert call_peer(peer, PATH, {"a": 1}) == NOTED
    standin.answers[PATH] = (200, b"")
    assert call_peer(peer, PATH, None) == {}
    standin.answers[PATH] = (200, [1, 2])
    assert call_peer(peer, PATH, None) == [1, 2]
    assert standin.messages == [{"a": 1}, {}, {}]


def test_a_list_is_a_message_too(peer, standin):
    class Names(RootModel[list[str]]):
        pass

    standin.answers[PATH] = (200, ["a", "b"])
    assert call_peer(peer, PATH, None, Names).root == ["a", "b"]


@pytest.mark.parametrize("content", [{"success": True}, ["a"], b"", b"<html>secret of the intranet</html>", {}, 7])
def test_an_answer_that_is_not_the_message_is_no_traceback(peer, standin, content):
    standin.answers[PATH] = (200, content)
    with pytest.raises(NotALibrarian) as refused:
        call_peer(peer, PATH, MESSAGE, CloneStagedResponse)
    assert "secret" not in json.dumps(refused.value.as_answer())
    peer.refresh_from_db()
    assert peer.failures_in_a_row == 1
    assert peer.last_error == refused.value.reason


def test_an_answer_is_bounded_by_what_the_caller_expects(peer, standin):
    class Words(BaseModel):
        words: str

    standin.answers[PATH] = (200, {"words": "x" * 200_000})
    assert len(call_peer(peer, PATH, None, Words).words) == 200_000
    with pytest.raises(NotALibrarian, match="more than 1000 bytes"):
        call_peer(peer, PATH, None, Words, most_bytes=1000)


@pytest.mark.parametrize(("wrong", "said"), [(2_000, "in 2000 places"), (400_000, "more than 300000 values")])
def test_an_answer_of_countless_faults_is_not_put_into_words(peer, standin, wrong, said):
    class Ids(BaseModel):
        ids: list[int]

    standin.answers[PATH] = (200, {"ids": [""] * wrong})
    with pytest.raises(NotALibrarian, match=said):
        call_peer(peer, PATH, MESSAGE, Ids)


def test_a_slow_answer_is_waited_for_as_long_as_the_caller_says(peer, start_raw, monkeypatch):
    monkeypatch.setattr(calling, "WAIT_SECONDS", 0.3)

    def think(connected, stopped):
        stopped.wait(0.8)  # longer than a ping would be waited for
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    Peer.objects.update(port=start_raw(think).port)
    assert call_peer(peer, PATH, None, timeout_seconds=20) == {}
    with pytest.raises(PeerUnreachable, match="did not answer in time"):
        call_peer(peer, PATH, None, timeout_seconds=0.3)


# --- Failures, in each of the wrappings that servers use --------------------------------------------------------------

REFUSAL = {"reason": "File zen.uvh5 already exists on librarian.", "suggested_remedy": "Do not.", "code": "known"}


@pytest.mark.parametrize(
    "body", [REFUSAL, {"detail": json.dumps(REFUSAL)}, {"detail": REFUSAL}], ids=["plain", "text", "object"]
)
def test_a_refusal_is_unwrapped(peer, standin, body):
    problem = said(peer, (409, body), standin)
    assert (problem.http_status, problem.content, problem.said_code) == (409, REFUSAL, "known")
    assert problem.reason == f"Librarian north answers with status 409: {REFUSAL['reason']}"
    assert problem.suggested_remedy == "Do not."
    assert not problem.passing


def test_ids_of_a_refused_batch_survive_the_wrapping(peer, standin):
    body = {"detail": json.dumps({**REFUSAL, "source_transfer_ids": [1, 2], "destination_transfer_ids": [-1]})}
    problem = said(peer, (409, body), standin)
    assert problem.content["source_transfer_ids"] == [1, 2]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, {"detail": "Not Found"}, "Not Found"),
        (
            422,
            {"detail": [{"loc": ["body", "upload_size"], "msg": "Field required"}]},
            "body.upload_size: Field required",
        ),
        (400, {"success": False}, "it does not say why"),
        (400, [{"reason": "x"}], "the request: not as it should be"),
        (400, {"reason": {"a": 1}, "code": 7}, "it does not say why"),
        (400, {"detail": "[" * 100_000}, "[[["),
        (413, b"<html>Request Entity Too Large</html>", "it does not say why"),
        (500, b"Internal Server Error", "it does not say why"),
    ],
    ids=["text", "array", "model", "list", "types", "deep", "proxy", "traceback"],
)
def test_other_shapes_of_failure_give_words_too(peer, standin, status, body, reason):
    problem = said(peer, (status, body), standin)
    assert problem.http_status == status
    assert reason in problem.reason
    assert len(problem.reason) < 1200
    assert problem.passing == (status >= 500)
    assert problem.said_code == ""


def test_what_it_says_ends_in_no_row_as_something_that_no_row_holds(peer, standin):
    problem = said(peer, (500, {"reason": "a\x00b\nc"}), standin)
    peer.refresh_from_db()
    assert peer.last_error == problem.reason
    assert "\n" not in problem.reason
    problem = said(peer, (500, {"reason": "a\x1b[2Jb"}), standin)  # would clear the terminal of who reads the log
    assert problem.reason.isprintable()


def test_a_no_is_an_answer_and_no_failure(peer, standin):
    said(peer, (404, {"reason": "No files found."}), standin)
    peer.refresh_from_db()
    assert (peer.failures_in_a_row, peer.last_error, peer.answers) == (0, "", True)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_site_in_trouble_counts_as_failing(peer, standin, status):
    said(peer, (status, {"reason": "Busy."}), standin)
    peer.refresh_from_db()
    assert peer.failures_in_a_row == 1
    assert "Busy." in peer.last_error


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_told_but_are_no_outage(peer, standin, status):
    standin.answers[PATH] = (status, {"detail": "Incorrect username or password"})
    with pytest.raises(PeerRefusesUs):
        call_peer(peer, PATH, MESSAGE)
    peer.refresh_from_db()
    assert peer.failures_in_a_row == 0
    assert "does not accept our credentials" in peer.last_error


def test_nothing_is_sent_elsewhere(peer, standin, start_standin):
    other = start_standin()
    standin.answers[PATH] = (307, {}, {"Location": f"http://127.0.0.1:{other.port}/api/{PATH}"})
    with pytest.raises(NotALibrarian, match="leads elsewhere"):
        call_peer(peer, PATH, MESSAGE)
    assert other.asked == []


def test_a_page_of_something_else_is_a_failure(peer, standin):
    standin.answers[PATH] = (404, b"<html>Apache</html>")
    with pytest.raises(NotALibrarian):
        call_peer(peer, PATH, MESSAGE)
    peer.refresh_from_db()
    assert peer.failures_in_a_row == 1


# --- A peer that a person changes meanwhile ---------------------------------------------------------------------------


def test_what_a_person_corrects_counts_at_the_next_call(peer, start_standin):
    moved = start_standin()
    moved.answers[PATH] = (200, NOTED)
    Peer.objects.filter(pk=peer.pk).update(port=moved.port)
    set_transfers_enabled(peer=peer, enabled=False, actor=None)
    call_peer(peer, PATH, MESSAGE, CloneStagedResponse)
    assert moved.paths == [PATH]


def test_a_removed_peer_is_not_called_and_an_added_one_of_that_name_is(peer, standin):
    Peer.objects.all().delete()
    with pytest.raises(PeerRemoved) as removed:
        call_peer(peer, PATH, MESSAGE)
    assert removed.value.passing
    assert standin.asked == []
    make_peer("north", port=standin.port, authenticator="test_librarian:right")
    call_peer(peer, PATH, MESSAGE, CloneStagedResponse)


def test_credentials_that_cannot_be_read_are_one_of_its_problems(peer, settings):
    from cryptography.fernet import Fernet

    settings.LIBRARIAN_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(PeerProblem) as problem:
        call_peer(peer, PATH, MESSAGE)
    assert "LIBRARIAN_ENCRYPTION_KEYS" in problem.value.suggested_remedy
    assert not ErrorRecord.objects.exists()
