"""Our site and a foreign Librarian with all its faults, in both directions: files arrive, once, and each side knows."""

import socket
import threading
import urllib.error
from itertools import count
from pathlib import Path

import pytest

from tests.network.members import Member, assert_bytes, assert_clean
from tests.rig.foreign import ForeignSite
from tests.rig.processes import RigError, wait_for
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.xdist_group("foreign-peers")

OURS, THEIRS = "ours", "foreign"
FIRST, SECOND, THIRD = b"the first file" * 100, b"the second file" * 200, b"the third" * 10
TREE = {"header": b"head", "vartable": b"vars", "sub/visdata": b"data" * 5000}
_numbers = count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Our site, and a foreign one whose staging we mount; each the other's peer. Ours sends what is called `out…`."""
    folder = tmp_path_factory.mktemp("foreign")
    ours, foreign = Member(OURS, folder), ForeignSite(THEIRS, folder / THEIRS, store_id=7)
    try:
        ours.start()
        foreign.start()
        account = ours.admit(THEIRS)
        foreign.control("make_user", name=OURS, password="their secret", level=3)
        introduce_us(foreign, ours, account)
        shared = [str(foreign.staging_path.resolve())]
        ours.know(THEIRS, foreign.port, f"{OURS}:their secret", shared_directories=shared)
        ours.order(THEIRS, '{"name-matches": "out%"}')
        yield ours, foreign
    finally:
        ours.stop()
        foreign.stop()


@pytest.fixture
def both(world):
    """The same, the foreign one behaving; afterwards nothing may be left over at ours."""
    ours, foreign = world
    behave(foreign)
    yield ours, foreign
    behave(foreign)
    assert_clean(ours)


def behave(foreign):
    from tests.foreign_librarian import KNOBS

    foreign.turn(**KNOBS)


def introduce_us(foreign, ours, authenticator):
    address = {"url": "http://127.0.0.1", "port": ours.port}
    foreign.control("make_peer", name=OURS, authenticator=authenticator, **address)


def fresh(prefix, suffix=""):
    """A name that no other test has."""
    return f"{prefix}.2457561.{next(_numbers):05}{suffix}"


def outgoing_of(foreign, name):
    """The foreign site's transfers of a file, by state."""
    return [row["status"] for row in foreign.state["outgoing"] if row["file_name"] == name]


def copies_of(foreign, name):
    return [row["librarian_name"] for row in foreign.state["remote_instances"] if row["file_name"] == name]


def receive(ours, foreign):
    """Take in what came and, the foreign site's patience over, say so."""
    ours.run("receive_transfers")
    ours.audit("pass_time")
    ours.run("report_transfers")


def exchange(ours, foreign, rounds=10):
    """Run the jobs of both until nothing of ours moves."""
    for _ in range(rounds):
        ours.run(check=False)
        try:
            foreign.run("recieve_clone")
        except RigError:
            pass  # the task died, as it does
        if not (moving := ours.audit("moving")):
            return
        ours.audit("pass_time")
    raise AssertionError(f"still moving: {moving}")


def sent(ours, name):
    return ours.audit("sent", THEIRS)[name]


# --- They push to us --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [FIRST, b"", TREE], ids=["flat", "empty", "directory"])
@pytest.mark.parametrize("where", ["", "2457561/", "deep/er/"])
def test_what_they_push_arrives_and_they_know_it_once(both, content, where):
    ours, foreign = both
    filed = fresh("in", ".uv" if content is TREE else ".uvh5")
    foreign.put_file(where + filed, content)
    foreign.push(OURS)
    receive(ours, foreign)
    (path,) = ours.audit("held")[filed]
    assert_bytes(Path(path), content)
    assert outgoing_of(foreign, where + filed) == [3]
    assert copies_of(foreign, where + filed) == [OURS]
    assert foreign.run("send_clone", destination=OURS) == {"sent": 0}


def test_the_word_that_it_arrived_never_races_with_their_own_note(both):
    """Rule 9: they write STAGED after our answer, over whatever we said meanwhile."""
    ours, foreign = both
    name = fresh("in")
    foreign.put_file(name, FIRST)
    foreign.turn(pause_before_staged_seconds=2)
    foreign.run("send_clone", destination=OURS)
    foreign.run("consume_queue")
    told = len(foreign.calls("clone/complete"))
    telling = threading.Thread(target=foreign.run, args=("check_consumed_queue",))
    telling.start()
    staged = f"IncomingTransfer.objects.filter(name={name!r}, state='staged').exists()"
    wait_for(lambda: ours.jobs.evaluate(staged), timeout_seconds=20, what="their word that all is there")
    ours.run("receive_transfers", "report_transfers")
    assert len(foreign.calls("clone/complete")) == told
    telling.join(20)
    assert outgoing_of(foreign, name) == [2]

    def reported():
        ours.run("report_transfers")
        return len(foreign.calls("clone/complete")) > told

    wait_for(reported, timeout_seconds=20, what="our word that it arrived, in its own time")
    assert outgoing_of(foreign, name) == [3]
    assert copies_of(foreign, name) == [OURS]
    assert foreign.run("outgoing_transfer_hypervisor") == {"settled": []}


@pytest.mark.parametrize("account", ["their own", "an administrator's", "a courier's"])
def test_a_manifest_that_names_a_person_as_source_is_called_back(both, account):
    """Rule 11: we tell the Librarian that wrote it. Of a courier's word we do not, since it would compare nothing."""
    ours, foreign = both
    name = fresh("in")
    # Files of earlier tests are known to both; only the new one is carried.
    foreign.put_file(name, FIRST, source="a person")
    if account == "an administrator's":
        introduce_us(foreign, ours, f"{ADMIN}:{ADMIN_PASSWORD}")
    if account == "a courier's":
        introduce_us(foreign, ours, ours.admit("courier"))
    try:
        foreign.run("ingest_manifest", destination=OURS, names=[name])
        receive(ours, foreign)
    finally:
        introduce_us(foreign, ours, f"{THEIRS}:the secret of {THEIRS}")
    (path,) = ours.audit("held")[name]
    assert_bytes(Path(path), FIRST)
    is_told = account != "a courier's"
    assert outgoing_of(foreign, name) == [3 if is_told else 1]
    assert copies_of(foreign, name) == ([OURS] if is_told else [])


def test_a_manifest_brought_twice_before_it_is_taken_in_arrives_once(both):
    ours, foreign = both
    name = fresh("in")
    foreign.put_file(name, FIRST)
    foreign.run("ingest_manifest", destination=OURS, names=[name])
    with pytest.raises(RigError, match="406"):
        foreign.run("ingest_manifest", destination=OURS, names=[name])
    foreign.run("ingest_manifest", destination=OURS, names=[name])
    receive(ours, foreign)
    assert len(ours.audit("held")[name]) == 1


def test_a_batch_that_names_a_file_twice_poisons_nothing(both):
    """Flat names: two of their names are one of ours, in one batch and afterwards."""
    ours, foreign = both
    name = fresh("in")
    foreign.put_file(f"a/{name}", FIRST)
    foreign.put_file(f"b/{name}", FIRST)
    other = fresh("in")
    foreign.put_file(other, SECOND)
    for _ in range(4):
        foreign.run("send_clone", destination=OURS, batch_size=1)
        while foreign.run("consume_queue")["items"]:
            pass
        foreign.run("check_consumed_queue")
        receive(ours, foreign)
    assert [len(ours.audit("held")[each]) for each in (name, other)] == [1, 1]
    assert copies_of(foreign, f"a/{name}") == copies_of(foreign, f"b/{name}") == copies_of(foreign, other) == [OURS]


def test_two_files_of_one_name_in_one_call_are_refused_with_the_reason(both):
    """Flat names: all or nothing is what they understand, so their people must be told; nothing breaks of it."""
    ours, foreign = both
    name = fresh("in")
    for folder in ("a", "b"):
        foreign.put_file(f"{folder}/{name}", FIRST)
    before = ours.site.web_log.read_text()
    assert foreign.run("send_clone", destination=OURS) == {"sent": 0, "refused": 2}
    log = ours.site.web_log.read_text().removeprefix(before)
    assert '" 500 ' not in log, log
    assert '" 400 ' in log, log
    foreign.run("forget_file", name=f"b/{name}")
    foreign.push(OURS)
    receive(ours, foreign)
    assert copies_of(foreign, f"a/{name}") == [OURS]


def test_bytes_that_are_not_what_they_declared_are_refused_and_kept_aside(both):
    ours, foreign = both
    name = fresh("in")
    foreign.put_file(name, FIRST)
    (foreign.store_path / name).write_bytes(b"X" + FIRST[1:])
    foreign.push(OURS)
    receive(ours, foreign)
    assert name not in ours.audit("held")
    assert outgoing_of(foreign, name) == [4]
    (row,) = ours.jobs.evaluate(
        f"list(IncomingTransfer.objects.filter(name={name!r}).values('state', 'code', 'reason', 'kept_aside_at'))"
    )
    assert row["state"] == "failed"
    assert row["code"]
    aside = ours.site.store_path / row["kept_aside_at"].lstrip("/")
    kept = [aside, Path(row["kept_aside_at"])]
    assert any(each.is_file() and each.read_bytes() == b"X" + FIRST[1:] for each in kept), row
    # They mend it, and send again.
    (foreign.store_path / name).write_bytes(FIRST)
    foreign.push(OURS)
    receive(ours, foreign)
    assert len(ours.audit("held")[name]) == 1


def test_a_forged_source_gets_nowhere(both, tmp_path):
    ours, foreign = both
    victim = ForeignSite("victim", tmp_path / "victim")
    victim.start()
    try:
        account = ours.admit("victim")
        victim.control("make_user", name=OURS, password="their secret", level=3)
        introduce_us(victim, ours, account)
        ours.know("victim", victim.port, f"{OURS}:their secret")
        name = fresh("in")
        foreign.put_file(name, FIRST)
        foreign.turn(pretends_to_be="victim")
        foreign.push(OURS)
        receive(ours, foreign)
        assert victim.calls("clone/complete") == victim.calls("checkin/update") == []
        # And it moves nobody's transfers but its own.
        victim.put_file(name + ".theirs", SECOND)
        victim.run("send_clone", destination=OURS)
        (transfer,) = [row["remote_transfer_id"] for row in victim.state["outgoing"]]
        body = {"source_transfer_ids": [], "destination_transfer_ids": [transfer], "new_status": 4}
        answer = ours.ask("checkin/update", body, f"{THEIRS}:the secret of {THEIRS}")
        assert answer["unmodified_destination_transfer_ids"] == [transfer]
        victim.run("consume_queue")
        victim.run("check_consumed_queue")
        receive(ours, victim)
        assert outgoing_of(victim, name + ".theirs") == [3]
    finally:
        victim.stop()


def test_a_sender_that_died_for_good_leaves_nothing_staged(both):
    ours, foreign = both
    name = fresh("in")
    foreign.put_file(name, FIRST)
    foreign.run("send_clone", destination=OURS)
    assert foreign.run("give_up_in_silence", name=name) == {"given_up": 1}
    exchange(ours, foreign)
    states = ours.jobs.evaluate(f"list(IncomingTransfer.objects.filter(name={name!r}).values_list('state', flat=True))")
    assert states == ["failed"]


# --- We push to them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [FIRST, b"", TREE], ids=["flat", "empty", "directory"])
def test_what_we_push_arrives_and_we_know_it_once(both, content):
    ours, foreign = both
    name = fresh("out", ".uv" if content is TREE else ".uvh5")
    ours.deliver(name, content)
    exchange(ours, foreign)
    assert_bytes(foreign.store_path / name, content)
    assert (sent(ours, name)["state"], sent(ours, name)["copies"]) == ("completed", 1)
    assert ours.jobs.evaluate(f"RemoteInstance.objects.get(file__name={name!r}).peer_store_id") == 7


def test_a_callback_that_was_lost_is_healed_by_asking(both):
    """Rule 19: they call once; with us away they take in one file a run."""
    ours, foreign = both
    names = [fresh("out") for _ in range(3)]
    for name in names:
        ours.deliver(name, name.encode())
    ours.run()
    ours.site.kill()
    for _ in names:
        with pytest.raises(RigError, match="NoAnswer"):
            foreign.run("recieve_clone")
    ours.site.start()
    assert foreign.run("recieve_clone") == {"taken": 0, "failed": 0}
    exchange(ours, foreign)
    assert [(sent(ours, name)["state"], sent(ours, name)["copies"]) for name in names] == [("completed", 1)] * 3


@pytest.mark.parametrize("what", ["cut_before", "cut_after", "garbage", "fail"])
@pytest.mark.parametrize("endpoint", ["clone/batch_stage", "checkin/update", "search/file"])
def test_what_befalls_a_call_to_them_is_healed(both, endpoint, what):
    """An offer whose answer is lost is refused with 406 and taken, in turn; so it goes on until it is known."""
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    foreign.misbehave(endpoint, what, times=2)
    exchange(ours, foreign)
    assert_bytes(foreign.store_path / name, FIRST)
    assert (sent(ours, name)["state"], sent(ours, name)["copies"]) == ("completed", 1)
    assert foreign.state["staged"] == []


def test_a_batch_with_refused_files_is_split(both):
    ours, foreign = both
    same, different, moving, good = (fresh("out") for _ in range(4))
    foreign.put_file(same, FIRST)
    foreign.put_file(different, SECOND)
    for name in (same, different, moving, good):
        ours.deliver(name, FIRST)
    exchange(ours, foreign)
    assert [sent(ours, name)["copies"] for name in (same, different, moving, good)] == [1, 0, 1, 1]
    refused = sent(ours, different)
    assert (refused["state"], refused["next_try_at"]) == ("failed", None)
    assert refused["code"]
    assert refused["reason"]
    assert refused["remedy"]


def test_a_file_that_they_fail_to_take_in_is_sent_again(both):
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    ours.run()
    for path in foreign.staging_path.rglob(name):
        path.write_bytes(b"X" + FIRST[1:])
    assert foreign.run("recieve_clone") == {"taken": 0, "failed": 1}
    assert sent(ours, name)["state"] == "failed"
    exchange(ours, foreign)
    assert_bytes(foreign.store_path / name, FIRST)
    assert sent(ours, name)["copies"] == 1


def test_a_lie_about_a_digest_is_not_believed(both):
    """Their call is lost, and asked what they hold they name another checksum."""
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    ours.run()
    foreign.turn(lie_about_checksum=True)
    ours.site.kill()
    with pytest.raises(RigError, match="NoAnswer"):
        foreign.run("recieve_clone")
    ours.site.start()
    exchange(ours, foreign)
    refused = sent(ours, name)
    assert (refused["state"], refused["copies"], refused["next_try_at"]) == ("failed", 0, None)
    assert "0" * 32 in refused["reason"]
    assert refused["remedy"]


def test_a_copy_that_they_never_had_is_found_out_and_sent_again(both):
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    foreign.turn(completes_without_bytes=True)
    exchange(ours, foreign)
    assert sent(ours, name)["copies"] == 1
    foreign.turn(completes_without_bytes=False)
    ours.audit("pass_time")
    ours.jobs.execute(
        "from datetime import timedelta; from django.utils import timezone; "
        "RemoteInstance.objects.update(confirmed_at=timezone.now() - timedelta(days=400))"
    )
    ours.run("confirm_remote_instances")
    assert sent(ours, name)["copies"] == 0
    exchange(ours, foreign)
    assert_bytes(foreign.store_path / name, FIRST)
    assert sent(ours, name)["copies"] == 1


def test_of_what_they_offer_the_way_that_works_is_taken(both):
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    local = {"hostnames": [socket.gethostname()]}
    foreign.turn(offers={"globus": {"destination_endpoint": "0f0e"}, "rsync": {"hostname": "no"}, "local": local})
    exchange(ours, foreign)
    assert sent(ours, name)["copies"] == 1


@pytest.mark.parametrize("offers", [{}, {"pigeon": {"loft": 3}}], ids=["none", "unknown"])
def test_without_a_way_the_reason_is_told_and_a_way_heals_it(both, offers):
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    foreign.turn(offers=offers)
    for _ in range(3):
        ours.run(check=False)
        ours.audit("pass_time")
    waiting = sent(ours, name)
    assert waiting["reason"]
    assert waiting["remedy"]
    foreign.turn(offers=None)
    exchange(ours, foreign)
    assert sent(ours, name)["copies"] == 1


def test_they_are_killed_on_the_way(both):
    ours, foreign = both
    name = fresh("out")
    ours.deliver(name, FIRST)
    ours.run("choose_files", "offer_files")
    foreign.kill()
    for _ in range(2):
        ours.run("send_batches", "tell_peers", "follow_transfers", check=False)
        ours.audit("pass_time")
    foreign.start()
    exchange(ours, foreign)
    assert_bytes(foreign.store_path / name, FIRST)
    assert sent(ours, name)["copies"] == 1


def test_words_that_come_twice_or_from_others_change_nothing(both):
    """A completion repeated is harmless; one by another account is refused."""
    ours, foreign = both
    name, stranger = fresh("out"), fresh("stranger")
    ours.deliver(name, FIRST)
    ours.run()
    transfers = f"OutgoingTransfer.objects.filter(file__name={name!r})"
    row = ours.jobs.evaluate(f"{transfers}.values('id', 'remote_transfer_id')[0]")
    ids = {"source_transfer_id": row["id"], "destination_transfer_id": row["remote_transfer_id"], "store_id": 7}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ours.ask("clone/complete", ids, ours.admit(stranger))
    assert sent(ours, name)["copies"] == 0
    foreign.run("recieve_clone")
    for _ in range(2):
        ours.ask("clone/complete", ids, f"{THEIRS}:the secret of {THEIRS}")
    assert (sent(ours, name)["state"], sent(ours, name)["copies"]) == ("completed", 1)
