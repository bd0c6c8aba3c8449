"""The connection cut before and after each call, calls that come twice, late or out of order: all arrives, once."""

import random

import pytest

from tests.network.faults.cases import deliver_some
from tests.network.faults.proxy import ANSWER_LOST, CALL_LOST, DOUBLED, FAULTS, LATE, Line
from tests.network.members import Member, assert_arrived, settle

pytestmark = pytest.mark.xdist_group("transfers-calls-lost")

SEED = 4
MOST_CALLS = 60


def spoil_one(sender: Member, receiver: Member, *, line: Line, number: int, what: str) -> bool:
    """One case: a fault befalls a call; False if there were not so many calls."""
    names = deliver_some(sender)
    line.spoil(number, what)
    settle(sender, receiver)
    happened = not line.clear()
    if line.deliver():  # very late: the transfers have ended
        settle(sender, receiver)
    assert_arrived(sender, receiver, *names)
    return happened


def calls_of_a_run(sender: Member, receiver: Member) -> tuple[int, int]:
    """How many calls a run without a fault makes, to the receiver and to the sender."""
    before = len(receiver.line.calls), len(sender.line.calls)
    names = deliver_some(sender)
    settle(sender, receiver)
    assert_arrived(sender, receiver, *names)
    return len(receiver.line.calls) - before[0], len(sender.line.calls) - before[1]


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_befalls_a_call(pair: tuple[Member, Member], what: str) -> None:
    sender, receiver = pair
    to_receiver, to_sender = calls_of_a_run(sender, receiver)
    chance = random.Random(f"{SEED} {what}")
    assert spoil_one(sender, receiver, line=receiver.line, number=chance.randint(1, to_receiver), what=what)
    assert spoil_one(sender, receiver, line=sender.line, number=chance.randint(1, to_sender), what=what)


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_befalls_the_word_that_all_arrived(pair: tuple[Member, Member], what: str) -> None:
    sender, receiver = pair
    names = deliver_some(sender)
    sender.line.spoil_named("POST v2/clone/", what)
    settle(sender, receiver)
    assert not sender.line.clear()
    sender.line.deliver()
    settle(sender, receiver)
    assert_arrived(sender, receiver, *names)


def test_words_overtake_each_other(pair: tuple[Member, Member]) -> None:
    """ "On its way" and "there" of one batch come late, the second first, and once more when all is over."""
    sender, receiver = pair
    names = deliver_some(sender)
    for _ in range(2):
        receiver.line.spoil_named("POST v2/checkin/update", LATE)
    sender.run_through_death()
    sender.run_through_death()
    receiver.line.deliver(backwards=True)
    settle(sender, receiver)
    receiver.line.clear()
    assert_arrived(sender, receiver, *names)


def test_the_line_is_down_for_a_while_in_each_direction(pair: tuple[Member, Member]) -> None:
    sender, receiver = pair
    names = deliver_some(sender)
    for line in (receiver.line, sender.line):
        line.take_down()
        for member in (sender, receiver):
            member.run_through_death()
            member.audit("pass_time")
        line.take_down(on=False)
    settle(sender, receiver)
    assert_arrived(sender, receiver, *names)


@pytest.mark.soak
@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("direction", ["to the receiver", "to the sender"])
@pytest.mark.parametrize("provider", ["http", "local"])
def test_a_fault_befalls_every_call(request: pytest.FixtureRequest, provider: str, direction: str, what: str) -> None:
    sender, receiver = request.getfixturevalue("pair" if provider == "http" else "near_pair")
    line = receiver.line if direction == "to the receiver" else sender.line
    for number in range(1, MOST_CALLS):
        if not spoil_one(sender, receiver, line=line, number=number, what=what):
            break
    assert number > 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_many_faults_befall_many_calls(pair: tuple[Member, Member], seed: int) -> None:
    sender, receiver = pair
    chance = random.Random(seed)
    names = deliver_some(sender)
    for line in (sender.line, receiver.line):
        for number in range(1, 20):
            if chance.random() < 0.4:
                line.spoil(number, chance.choice((CALL_LOST, ANSWER_LOST, DOUBLED, LATE)))
    for _ in range(chance.randint(1, 4)):
        for member in (sender, receiver):
            member.run_through_death()
            member.audit("pass_time")
        for line in (sender.line, receiver.line):
            line.deliver(backwards=chance.random() < 0.5)
    for line in (sender.line, receiver.line):
        line.clear()
    settle(sender, receiver)
    assert_arrived(sender, receiver, *names)
