"""Three real sites: files go hop by hop, and who sends learns of the next hop alone."""

import pytest

from tests.network.members import Member, assert_arrived, introduce, network, settle

BYTES = b"a night" * 1000
TREE = {"header": b"head", "vartable": b"vars", "sub/visdata": b"data" * 5000}


@pytest.fixture
def start(tmp_path):
    """`start("source")` starts a site of one test."""
    with network(tmp_path) as starter:
        yield starter


def traces_of(member: Member, name: str) -> list[str]:
    """Columns of a site's tables, of every row, in which a name appears."""
    return member.audit("traces_of", name)


def test_files_go_hop_by_hop_and_the_source_never_learns_of_the_last(start):
    source, central, last = (start(name) for name in ("karoo", "central", "philadelphia"))
    for sender, receiver in ((source, central), (central, last)):
        introduce(sender, receiver)
        sender.order(receiver)
    source.deliver("zen.2457561.1.uvh5", BYTES)
    source.deliver("zen.2457561.1.uv", TREE)
    settle(source, central, last)
    assert_arrived(source, central)
    central.given = source.given
    assert_arrived(central, last)
    assert traces_of(central, "philadelphia")
    assert traces_of(source, "philadelphia") == []
    assert traces_of(last, "karoo") == []

    # With the middle away both ends wait, and nothing is forgotten.
    source.deliver("zen.2457561.2.uvh5", BYTES * 2)
    source.run()
    central.site.kill()
    source.deliver("zen.2457561.3.uvh5", BYTES * 3)
    for member in (source, last):
        member.run(check=False)
        member.audit("pass_time")
    central.site.start()
    settle(source, central, last)
    assert_arrived(source, central)
    assert_arrived(central, last)


def test_a_centre_serves_two_destinations_of_which_one_is_away(start):
    central, near, far = (start(name) for name in ("central", "near", "far"))
    for receiver in (near, far):
        introduce(central, receiver)
        central.order(receiver)
    far.site.kill()
    central.deliver("zen.2457561.1.uvh5", BYTES)
    for _ in range(3):
        central.run(check=False)
        near.run()
        central.audit("pass_time")
    assert_arrived(central, near)
    far.site.start()
    settle(central, near, far)
    assert_arrived(central, far)


def test_a_ring_of_three_comes_to_rest(start):
    ring = [start(name) for name in ("east", "south", "west")]
    for sender, receiver in zip(ring, ring[1:] + ring[:1], strict=True):
        introduce(sender, receiver)
        sender.order(receiver)
    for number, member in enumerate(ring):
        member.deliver(f"zen.2457561.{number}.uvh5", BYTES * (number + 1))
    settle(*ring, rounds=20)
    given = {name: content for member in ring for name, content in member.given.items()}
    for sender, receiver in zip(ring, ring[1:] + ring[:1], strict=True):
        sender.given = given
        assert_arrived(sender, receiver)
