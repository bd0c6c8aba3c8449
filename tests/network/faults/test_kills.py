"""Kill -9 of either side at every durable step of a transfer: afterwards everything arrives, once."""

import random

import pytest

from librarian.common.steps import ARRIVAL_STEPS, STEPS, TRANSFER_STEPS
from tests.network.faults.cases import deliver_some
from tests.network.members import Member, assert_arrived, settle

pytestmark = pytest.mark.xdist_group("transfers-killed")

SENDER_STEPS = TRANSFER_STEPS[: TRANSFER_STEPS.index("offer_taken")]
RECEIVER_STEPS = TRANSFER_STEPS[TRANSFER_STEPS.index("offer_taken") :]
# Of other ways in: "staged" of what is copied in, the closing of a batch in one tar.
RECEIVER_COMMIT_STEPS = tuple(step for step in STEPS if step != "staged")
RECEIVER_ARRIVAL_STEPS = tuple(step for step in ARRIVAL_STEPS if step != "batch_closed")
SEED = 4


def kill_and_recover(sender: Member, receiver: Member, *, victim: Member, step: str) -> None:
    """One case: the process of `victim` that passes the step dies there."""
    names = deliver_some(sender)
    victim.kill_at.write_text(step)
    settle(sender, receiver)
    assert not victim.kill_at.exists(), f"nobody passed {step}"
    assert_arrived(sender, receiver, *names)


def some(steps: tuple[str, ...], number: int) -> list[str]:
    return sorted(random.Random(SEED).sample(steps, number), key=steps.index)


@pytest.mark.parametrize("step", some(SENDER_STEPS, 3))
def test_the_sender_is_killed(pair: tuple[Member, Member], step: str) -> None:
    kill_and_recover(*pair, victim=pair[0], step=step)


@pytest.mark.parametrize("step", ["intent", *some(RECEIVER_STEPS, 2), *some(RECEIVER_COMMIT_STEPS[1:], 1)])
def test_the_receiver_is_killed(pair: tuple[Member, Member], step: str) -> None:
    kill_and_recover(*pair, victim=pair[1], step=step)


@pytest.mark.soak
@pytest.mark.parametrize("step", SENDER_STEPS)
@pytest.mark.parametrize("provider", ["http", "local"])
def test_the_sender_is_killed_at_every_step(request: pytest.FixtureRequest, provider: str, step: str) -> None:
    sender, receiver = request.getfixturevalue("pair" if provider == "http" else "near_pair")
    kill_and_recover(sender, receiver, victim=sender, step=step)


@pytest.mark.soak
@pytest.mark.parametrize("step", [*RECEIVER_STEPS, *RECEIVER_COMMIT_STEPS])
@pytest.mark.parametrize("provider", ["http", "local"])
def test_the_receiver_is_killed_at_every_step(request: pytest.FixtureRequest, provider: str, step: str) -> None:
    sender, receiver = request.getfixturevalue("pair" if provider == "http" else "near_pair")
    kill_and_recover(sender, receiver, victim=receiver, step=step)


@pytest.mark.soak
@pytest.mark.parametrize("step", RECEIVER_ARRIVAL_STEPS)
def test_the_receiver_is_killed_while_bytes_arrive(pair: tuple[Member, Member], step: str) -> None:
    kill_and_recover(*pair, victim=pair[1], step=step)
