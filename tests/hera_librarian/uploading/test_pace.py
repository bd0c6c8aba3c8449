"""A limit of bandwidth, on a clock of the test's own."""

import pytest

from hera_librarian.exceptions import LibrarianTimeoutError
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import Patience, next_pause

pytestmark = pytest.mark.database_independent


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_bytes_go_at_the_rate_on_average(clock):
    pace = Pace(1000, clock=clock, sleep=clock.sleep)
    for _ in range(50):
        pace.wait(100)
    assert clock.now == pytest.approx(100 + 4.9)


def test_what_was_not_used_is_not_saved_up(clock):
    pace = Pace(1000, clock=clock, sleep=clock.sleep)
    pace.wait(1000)
    clock.now += 60
    pace.wait(1000)
    pace.wait(1000)
    assert clock.now == pytest.approx(161)


def test_blocks_are_small_when_the_line_is_slow():
    assert Pace(10_000).block_bytes == 16 * 1024
    assert Pace(10**9).block_bytes == 2**20


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_is_positive(rate):
    with pytest.raises(ValueError, match="positive"):
        Pace(rate)


def test_patience_ends_with_the_trouble_itself(clock):
    patience = Patience(60, clock=clock, sleep=clock.sleep)
    trouble = TimeoutError("away")
    with pytest.raises(TimeoutError, match="away"):  # noqa: PT012 - nobody knows how often it waits
        while True:
            patience.wait(trouble)
    assert 130 < clock.now <= 160


def test_patience_tells_why_it_waits_and_for_how_long(clock):
    told = []
    patience = Patience(300, clock=clock, sleep=clock.sleep, tell=told.append)
    with pytest.raises(LibrarianTimeoutError):  # noqa: PT012 - nobody knows how often it waits
        while True:
            patience.wait(LibrarianTimeoutError("http://karoo"))
    assert len(told) > 3
    assert told[0].startswith("No answer from http://karoo. What has arrived is kept; trying again in ")


def test_patience_begins_again_when_something_went_on(clock):
    patience = Patience(60, clock=clock, sleep=clock.sleep)
    for _ in range(20):
        patience.wait(TimeoutError(), retry_after=50)
        patience.renew()
    assert clock.now >= 100 + 20 * 50


def test_the_server_says_how_long_to_wait_at_least(clock):
    Patience(60, clock=clock, sleep=clock.sleep).wait(TimeoutError(), retry_after=17)
    assert clock.now == 117


def test_a_long_wait_for_the_commit_counts_by_itself(clock):
    patience = Patience(60, clock=clock, sleep=clock.sleep)
    patience.renew(at_least=600)
    clock.now += 500
    patience.wait(TimeoutError())
    patience.renew()
    clock.now += 500
    with pytest.raises(TimeoutError):
        patience.wait(TimeoutError())


def test_pauses_grow_up_to_the_longest_and_differ():
    assert next_pause(100_000, longest=30) <= 30
    assert len({next_pause(3, longest=30) for _ in range(20)}) > 1
