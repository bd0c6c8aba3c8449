"""`checkin/update` and `checkin/status`: two sites compare where transfers stand."""

import pytest
from django_q.models import OrmQ

from network.models import TransferState
from tests.make import make_file, make_store
from tests.network.clones import BYTES, make_incoming, make_outgoing, make_site, state_of

pytestmark = pytest.mark.django_db
INITIATED, ONGOING, STAGED, COMPLETED, FAILED, CANCELLED = TransferState


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def north(cast):
    return make_site("north")


@pytest.fixture
def update(wire, north):
    def say(status, *, incoming=(), outgoing=(), user="north", **extensions):
        body = {
            "source_transfer_ids": [each if isinstance(each, int) else each.pk for each in outgoing],
            "destination_transfer_ids": [each if isinstance(each, int) else each.pk for each in incoming],
            "new_status": int(status.on_wire),
            **extensions,
        }
        return wire.ok("checkin/update", body, user=user)

    return say


@pytest.fixture
def ask(wire, north):
    def say(*, incoming=(), outgoing=(), user="north", **extensions):
        body = {"source_transfer_ids": list(outgoing), "destination_transfer_ids": list(incoming), **extensions}
        return wire.ok("checkin/status", body, user=user)

    return say


def one_in(state, store, **fields):
    if state == COMPLETED:
        fields |= {"file": make_file(store=store), "store_id_told": store.pk}
    if state in (FAILED, CANCELLED):
        fields |= {"reason": "It was so."}
    return make_incoming(store, state=state, **fields)


# --- A sender speaks --------------------------------------------------------------------------------------------------


def test_update_as_in_the_reference(update, store):
    first, second = make_incoming(store, name="1", source_id=1), make_incoming(store, name="2", source_id=2)
    assert update(ONGOING, incoming=[first, second]) == {
        "modified_source_transfer_ids": [],
        "modified_destination_transfer_ids": [first.pk, second.pk],
        "unmodified_source_transfer_ids": [],
        "unmodified_destination_transfer_ids": [],
        "reasons": [],
    }
    done = one_in(COMPLETED, store)
    answer = update(ONGOING, outgoing=[7], incoming=[first, done, 9999])
    assert answer["modified_destination_transfer_ids"] == []
    assert answer["unmodified_source_transfer_ids"] == [7]
    assert answer["unmodified_destination_transfer_ids"] == [first.pk, done.pk, 9999]
    assert set(answer["reasons"]) == {
        "No source transfer with the appropriate ID was found.",
        "No destination transfer with the appropriate ID was found.",
        "Transition from TransferStatus.ONGOING to TransferStatus.ONGOING is not permitted.",
        "Transition from TransferStatus.COMPLETED to TransferStatus.ONGOING is not permitted.",
    }


ALLOWED = {
    INITIATED: {ONGOING, STAGED, FAILED, CANCELLED},
    ONGOING: {STAGED, FAILED, CANCELLED},
    STAGED: {FAILED, CANCELLED},
}


@pytest.mark.parametrize("before", list(TransferState))
def test_transitions_are_those_of_the_protocol(update, store, before):
    for to in TransferState:
        transfer = one_in(before, store, name=f"{before}-{to}", source_id=5)
        answer = update(to, incoming=[transfer])
        changed = to in ALLOWED.get(before, ())
        assert (answer["modified_destination_transfer_ids"] == [transfer.pk]) is changed
        assert state_of(transfer) == (to if changed else before)
        assert bool(answer["reasons"]) is not changed


def test_a_sender_that_ends_its_transfer_is_not_told_what_it_knows(update, store):
    for to in (FAILED, CANCELLED):
        transfer = make_incoming(store, state=STAGED, written=BYTES)
        said = {"code": "peer_says", "reason": "The copy was bad.", "suggested_remedy": "", "passing": False}
        update(to, incoming=[transfer], failures={transfer.pk: said}, counterparts={transfer.pk: 1})
        transfer.refresh_from_db()
        assert (transfer.state, transfer.report, transfer.reason) == (to, "done", "The copy was bad.")
        assert transfer.upload.state == "failed"


def test_saying_it_again_is_confirmed_to_a_site_of_our_kind(update, store):
    transfer = make_incoming(store)
    for _ in range(2):
        answer = update(STAGED, incoming=[transfer], counterparts={transfer.pk: 1})
        assert answer["modified_destination_transfer_ids"] == [transfer.pk]
        assert answer["reasons"] == []


def test_many_that_are_staged_ask_for_one_run(update, store):
    transfers = [make_incoming(store, name=f"{number}", source_id=number) for number in range(5)]
    update(STAGED, incoming=transfers[:3])
    update(STAGED, incoming=transfers[3:])
    assert OrmQ.objects.count() == 1
    assert {state_of(each) for each in transfers} == {STAGED}


def test_only_the_account_of_a_transfer_moves_it(update, store):
    make_site("west")
    transfer = make_incoming(store, source="west", uploader="west")
    answer = update(STAGED, incoming=[transfer], user="west")
    assert answer["unmodified_destination_transfer_ids"] == [transfer.pk]
    assert answer["reasons"] == ["You are not authorized to modify the transfer."]
    assert state_of(transfer) == INITIATED
    update(STAGED, incoming=[transfer], user="admin")
    assert state_of(transfer) == STAGED


def test_an_id_given_out_anew_is_unknown(update, ask, store):
    transfer = make_incoming(store, source_id=1)
    answer = update(FAILED, incoming=[transfer], counterparts={transfer.pk: 2})
    assert answer["unmodified_destination_transfer_ids"] == [transfer.pk]
    assert answer["reasons"] == ["No destination transfer with the appropriate ID was found."]
    assert state_of(transfer) == INITIATED
    told = ask(incoming=[transfer.pk], counterparts={transfer.pk: 2})
    assert told["destination_transfer_status"] == {str(transfer.pk): None}


# --- A receiver speaks ------------------------------------------------------------------------------------------------


def failure(**said):
    return {"code": "", "reason": "", "suggested_remedy": "", "passing": False, **said}


@pytest.mark.parametrize(
    ("said", "attempt", "tried_again"),
    [
        (None, 1, True),  # a foreign receiver gives no reason
        (None, 5, False),  # and LIBRARIAN_TRANSFER_ATTEMPTS is 5
        (failure(code="content_mismatch", reason="Other bytes."), 1, True),
        (failure(code="content_mismatch", reason="Other bytes."), 5, False),
        (failure(code="store_full", reason="Full.", passing=True), 5, True),
        (failure(code="name_taken", reason="Taken."), 1, False),
        (failure(code="cancelled", reason="A person did."), 1, False),
    ],
)
def test_a_receiver_reports_a_failure(update, said, attempt, tried_again):
    transfer = make_outgoing(peer="north", attempt=attempt, spoilt_attempts=attempt - 1)
    extensions = {"failures": {transfer.pk: said}, "counterparts": {transfer.pk: 7}} if said else {}
    answer = update(FAILED, outgoing=[transfer], **extensions)
    assert answer["modified_source_transfer_ids"] == [transfer.pk]
    transfer.refresh_from_db()
    assert (transfer.state, transfer.told_state) == (FAILED, FAILED)
    assert transfer.reason == (said["reason"] if said else transfer.reason)
    assert "north" in transfer.reason or said
    assert (transfer.next_try_at is not None) is tried_again
    again = update(FAILED, outgoing=[transfer], **extensions)
    assert (again["modified_source_transfer_ids"] == [transfer.pk]) is bool(said)


def test_a_receiver_moves_nothing_else(update):
    for to in (ONGOING, STAGED, COMPLETED):
        transfer = make_outgoing(peer="north", state=INITIATED)
        answer = update(to, outgoing=[transfer])
        assert answer["unmodified_source_transfer_ids"] == [transfer.pk]
        assert state_of(transfer) == INITIATED


def test_what_arrived_is_not_failed_by_a_late_word(update):
    transfer = make_outgoing(peer="north", state=COMPLETED)
    answer = update(FAILED, outgoing=[transfer])
    assert answer["reasons"] == ["Transition from TransferStatus.COMPLETED to TransferStatus.FAILED is not permitted."]
    assert state_of(transfer) == COMPLETED


def test_nobody_fails_the_transfer_to_another_or_an_older_one_of_that_id(update):
    make_site("west")
    transfer = make_outgoing(peer="north")
    assert update(FAILED, outgoing=[transfer], user="west")["unmodified_source_transfer_ids"] == [transfer.pk]
    answer = update(FAILED, outgoing=[transfer], counterparts={transfer.pk: 8})
    assert answer["reasons"] == ["No source transfer with the appropriate ID was found."]
    assert state_of(transfer) == STAGED


# --- Where they stand -------------------------------------------------------------------------------------------------


def test_status_as_in_the_reference(ask, store):
    ongoing = make_incoming(store, state=ONGOING)
    done = one_in(COMPLETED, store, name="done")
    incoming = [ongoing.pk, done.pk, 9999]
    answer = ask(outgoing=[4242], incoming=incoming)
    assert answer["source_transfer_status"] == {"4242": None}
    assert answer["destination_transfer_status"] == {str(ongoing.pk): 1, str(done.pk): 3, "9999": None}


def test_status_says_why_one_failed(ask, store):
    transfer = make_incoming(store, state=FAILED, code="content_mismatch", reason="Other bytes.", remedy="Send again.")
    told = ask(incoming=[transfer.pk])["failures"][str(transfer.pk)]
    assert told == failure(code="content_mismatch", reason="Other bytes.", suggested_remedy="Send again.")


def test_status_of_what_is_not_the_callers_is_unknown(ask, store):
    make_site("west")
    incoming, outgoing = make_incoming(store), make_outgoing(peer="north")
    answer = ask(outgoing=[outgoing.pk], incoming=[incoming.pk], user="west")
    assert answer["source_transfer_status"] == {str(outgoing.pk): None}
    assert answer["destination_transfer_status"] == {str(incoming.pk): None}
    own = ask(outgoing=[outgoing.pk], incoming=[incoming.pk])
    assert own["source_transfer_status"] == {str(outgoing.pk): 2}
    assert own["destination_transfer_status"] == {str(incoming.pk): 0}


# --- Messages that are too much ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["counterparts", "failures"])
def test_a_table_of_countless_faults_is_refused_before_it_is_read(wire, north, table):
    body = {"source_transfer_ids": [], "destination_transfer_ids": [], "new_status": 1}
    status, answer = wire.refused("checkin/update", body | {table: dict.fromkeys(range(100_001), "x")}, user="north")
    assert (status, answer["fields"]) == (422, {table: "must have at most 100000 entries"})
    status, answer = wire.refused("checkin/update", body | {table: dict.fromkeys(range(2_000), "x")}, user="north")
    assert (status, answer["fields"]) == (422, {})
    assert answer["reason"] == "2000 values of the message are not as they should be."
