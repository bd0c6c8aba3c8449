"""The foreign Librarian itself, one against another: it keeps the protocol, and has the faults it is meant to have."""

import base64
import http.client
import json
import threading

import pytest

from tests.rig.foreign import ForeignSite, know_each_other
from tests.rig.processes import RigError, wait_for
from tests.wire.caller import HELLO, HELLO_CHECKSUM, TREE, TREE_CHECKSUM

pytestmark = pytest.mark.database_independent


@pytest.fixture
def pair(tmp_path):
    """A source and a destination, both foreign, that know each other."""
    sites = [ForeignSite(name, tmp_path / name) for name in ("source", "destination")]
    try:
        for site in sites:
            site.start()
        know_each_other(*sites)
        yield sites
    finally:
        for site in sites:
            site.stop()


def ask(site, endpoint, body, user="source", password="source secret", raw=None):
    """(status, value) of one call, as a stranger makes it."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    headers = {"Content-Type": "application/json"}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    connection.request("POST", f"/api/v2/{endpoint}", raw or json.dumps(body).encode(), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content else None


def item(number, name="2459122/hello.txt", **changes):
    return {
        "upload_size": 18,
        "upload_checksum": HELLO_CHECKSUM,
        "upload_name": name,
        "destination_location": name,
        "uploader": "a person",
        "source_transfer_id": number,
        **changes,
    }


def batch(*items, source="source"):
    return {"uploads": list(items), "source": source, "total_size": 18 * len(items)}


def statuses(site, side):
    return [row["status"] for row in site.state[side]]


def test_files_travel_in_the_normal_sequence(pair):
    source, destination = pair
    source.put_file("hello.txt", HELLO)
    source.put_file("obs", {name: part for name, part in TREE.items() if part is not None})
    source.push("destination")
    assert statuses(source, "outgoing") == statuses(destination, "incoming") == [2, 2]
    assert destination.run("recieve_clone") == {"taken": 2, "failed": 0}
    assert (destination.store_path / "hello.txt").read_bytes() == HELLO
    assert {file["name"]: file["checksum"] for file in destination.state["files"]} == {
        "hello.txt": HELLO_CHECKSUM,
        "obs": TREE_CHECKSUM,
    }
    assert statuses(source, "outgoing") == [3, 3]
    copies = [(copy["file_name"], copy["librarian_name"]) for copy in source.state["remote_instances"]]
    assert copies == [("hello.txt", "destination"), ("obs", "destination")]
    assert destination.state["staged"] == []
    assert source.run("send_clone", destination="destination") == {"sent": 0}


def test_its_rows_survive_a_kill(pair):
    source, destination = pair
    source.put_file("hello.txt", HELLO)
    source.push("destination")
    destination.kill()
    destination.start()
    assert destination.run("recieve_clone")["taken"] == 1


def test_fault_8_the_first_provider_is_taken_and_one_level_made(pair):
    source, _ = pair
    source.put_file("a/hello.txt", HELLO)
    source.push("destination")
    source.put_file("a/b/hello.txt", HELLO)
    source.run("send_clone", destination="destination")
    with pytest.raises(RigError, match="FileNotFoundError"):
        source.run("consume_queue")
    with pytest.raises(RigError, match="FileNotFoundError"):
        source.run("consume_queue")  # first in the queue for ever


def test_fault_8_rsync_first_raises_and_an_unknown_provider_spoils_the_answer(pair):
    source, destination = pair
    local = {"hostnames": ["here"]}
    source.put_file("hello.txt", HELLO)
    destination.turn(offers={"http": {"upload_path": "v3/uploads/"}, "local": local})
    with pytest.raises(RigError, match="validation error"):
        source.run("send_clone", destination="destination")
    assert statuses(source, "outgoing") == [0]
    source.put_file("other.txt", HELLO)
    destination.turn(offers={"rsync": {"hostname": "here"}, "local": local})
    source.run("send_clone", destination="destination")
    with pytest.raises(RigError, match="sysrsync"):
        source.run("consume_queue")


def test_fault_9_an_early_completion_is_overwritten(pair):
    source, destination = pair
    source.put_file("hello.txt", HELLO)
    source.turn(pause_before_staged_seconds=2)
    source.run("send_clone", destination="destination")
    source.run("consume_queue")
    telling = threading.Thread(target=source.run, args=("check_consumed_queue",))
    telling.start()
    wait_for(lambda: statuses(destination, "incoming") == [2], timeout_seconds=20, what="the word that all is there")
    destination.run("recieve_clone")
    assert statuses(source, "outgoing") == [3]
    telling.join(20)
    assert statuses(source, "outgoing") == [2]
    assert source.run("outgoing_transfer_hypervisor") == {"settled": ["completed"]}
    assert len(source.state["remote_instances"]) == 2
    assert source.run("duplicate_remote_instance_hypervisor") == {"removed": 1}


def test_fault_11_a_manifest_names_the_person_as_source(pair):
    source, destination = pair
    source.put_file("hello.txt", HELLO, source="a person")
    assert source.run("ingest_manifest", destination="destination", names=["hello.txt"]) == {"brought": 1}
    (asked,) = destination.calls("clone/stage")
    assert (asked["body"]["source"], asked["body"]["uploader"]) == ("a person", "source")
    destination.run("recieve_clone")
    assert source.calls("clone/complete") == []
    assert statuses(source, "outgoing") == [1]


def test_fault_19_one_transfer_a_run_and_its_callback_lost(pair):
    source, destination = pair
    source.put_file("one.txt", HELLO)
    source.put_file("two.txt", b"another")
    source.push("destination")
    source.kill()
    with pytest.raises(RigError, match="NoAnswer"):
        destination.run("recieve_clone")
    assert statuses(destination, "incoming") == [3, 2]
    source.start()
    destination.run("recieve_clone")
    assert statuses(source, "outgoing") == [2, 3]


def test_fault_20_only_the_exact_text_means_that_nothing_is_there(pair):
    source, destination = pair
    source.put_file("hello.txt", HELLO)
    source.push("destination")
    assert ask(destination, "search/file", {"name": "hello.txt"}) == (
        404,
        {"reason": "No files found.", "suggested_remedy": "Ask the people who run this site."},
    )
    destination.turn(nothing_found_reason="Nothing there.")
    assert source.run("outgoing_transfer_hypervisor") == {"settled": ["skipped"]}
    destination.turn(nothing_found_reason="No files found.")
    assert source.run("outgoing_transfer_hypervisor") == {"settled": ["failed"]}
    assert statuses(destination, "incoming") == [4]


def test_a_batch_is_refused_as_a_whole_by_precedence(pair):
    _, destination = pair
    destination.put_file("here", HELLO)
    status, staged = ask(destination, "clone/batch_stage", batch(item(1, "moving"), item(2, "waiting")))
    assert status == 201
    assert ask(
        destination,
        "clone/ongoing",
        {"source_transfer_id": 1, "destination_transfer_id": staged["uploads"][0]["destination_transfer_id"]},
    ) == (200, {"source_transfer_id": 1, "destination_transfer_id": 1})
    offered = batch(item(3, "here"), item(4, "moving"), item(5, "waiting"), item(6, "new"))
    status, refused = ask(destination, "clone/batch_stage", offered)
    assert (status, refused["reason"], refused["source_transfer_ids"]) == (425, "Transfer is ongoing.", [4])
    status, refused = ask(destination, "clone/batch_stage", batch(item(3, "here"), item(6, "new")))
    assert (status, refused["source_transfer_ids"], refused["destination_transfer_ids"]) == (409, [3], [-1])
    assert statuses(destination, "incoming") == [1, 4]  # the 406 took its effect although 425 was said


def test_an_offer_that_waits_is_refused_and_taken_in_turn(pair):
    _, destination = pair
    answers = [ask(destination, "clone/batch_stage", batch(item(number)))[0] for number in range(1, 5)]
    assert answers == [201, 406, 201, 406]


def test_failures_come_in_every_shape(pair):
    _, destination = pair
    destination.put_file("here", HELLO)
    status, text = ask(destination, "clone/stage", {**item(1, "here"), "source": "source"})
    assert (status, json.loads(text["detail"])["reason"]) == (409, "File already exists on librarian.")
    status, text = ask(destination, "clone/batch_stage", {**batch(), "total_size": -1})
    assert (status, json.loads(text["detail"])["source_transfer_id"]) == (400, -1)
    status, found = ask(destination, "corrupt/prepare", {"file_name": "here", "librarian_name": "source"})
    assert (status, found["detail"]["reason"]) == (409, "We are not able to send you files")
    status, found = ask(destination, "clone/ongoing", {"source_transfer_id": "x"})
    assert status == 422
    assert [each["loc"] for each in found["detail"]] == [
        ["body", "destination_transfer_id"],
        ["body", "source_transfer_id"],
    ]
    assert ask(destination, "clone/ongoing", None, raw=b"{")[0] == 422
    assert ask(destination, "elsewhere", {}) == (404, {"detail": "Not Found"})


def test_who_may_do_what(pair):
    _, destination = pair
    assert ask(destination, "ping/", {}, password="wrong")[0] == 200
    assert ask(destination, "ping/", {}, user="") == (401, {"detail": "Not authenticated"})
    assert ask(destination, "ping/logged", {}, password="wrong")[0] == 401
    assert ask(destination, "search/instance_remote", {})[0] == 401


def test_every_step_must_come_in_its_turn_and_once(pair):
    source, destination = pair
    ask(destination, "clone/batch_stage", batch(item(1)))
    ids = {"source_transfer_id": 1, "destination_transfer_id": 1}
    assert ask(destination, "clone/staged", ids)[1]["reason"] == "Transfer is not in ONGOING status."
    assert [ask(destination, "clone/ongoing", ids)[0] for _ in range(2)] == [200, 406]
    assert [ask(destination, "clone/staged", ids)[0] for _ in range(2)] == [200, 406]
    update = {"source_transfer_ids": [], "destination_transfer_ids": [1, 77], "new_status": 1}
    assert ask(destination, "checkin/update", update)[1] == {
        "modified_source_transfer_ids": [],
        "unmodified_source_transfer_ids": [],
        "modified_destination_transfer_ids": [],
        "unmodified_destination_transfer_ids": [1, 77],
        "reasons": [
            "No destination transfer with the appropriate ID was found.",
            "Transition from TransferStatus.STAGED to TransferStatus.ONGOING is not permitted.",
        ],
    }
    states = {"source_transfer_ids": [9], "destination_transfer_ids": [1]}
    assert ask(destination, "checkin/status", states)[1] == {
        "source_transfer_status": {"9": None},
        "destination_transfer_status": {"1": 2},
    }
    assert ask(destination, "clone/complete", {**ids, "store_id": 1})[1]["reason"] == "Could not find transfer."
    assert [ask(destination, "clone/fail", {**ids, "reason": "x"})[0] for _ in range(2)] == [200, 200]
    source.put_file("hello.txt", HELLO)
    source.push("destination")
    done = {**ids, "destination_transfer_id": 2, "store_id": 1}
    credentials = {"user": "destination", "password": "destination secret"}
    assert [ask(source, "clone/complete", done, **credentials)[0] for _ in range(2)] == [200, 406]


def test_it_misbehaves_when_told(pair):
    source, destination = pair
    source.put_file("hello.txt", HELLO)
    destination.put_file("here", HELLO)
    destination.turn(lie_about_checksum=True)
    assert ask(destination, "search/file", {"name": "here"})[1][0]["checksum"] == f"xxh3:::{'0' * 32}"
    for what, outcome in (
        ("cut_before", http.client.RemoteDisconnected),
        ("cut_after", http.client.RemoteDisconnected),
    ):
        destination.misbehave("ping/", what)
        with pytest.raises(outcome):
            ask(destination, "ping/", {})
    destination.misbehave("ping/", "garbage")
    with pytest.raises(json.JSONDecodeError):
        ask(destination, "ping/", {})
    assert ask(destination, "ping/", {})[0] == 200
    destination.turn(completes_without_bytes=True)
    source.push("destination")
    destination.run("recieve_clone")
    assert statuses(source, "outgoing") == [3]
    assert not (destination.store_path / "hello.txt").exists()
