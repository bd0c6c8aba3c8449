"""A disk of ours taken in by the real command at a Librarian that is not ours: one file at a time, nothing failed."""

from pathlib import Path

import pytest

from tests.hera_librarian.cli.running import environment_of, run_command
from tests.network.members import Member, assert_bytes
from tests.network.test_carried_disks import COURIER, FILL, KIB, add_disk, check, interrupt, pack
from tests.network.test_foreign_peers import OURS, THEIRS, introduce_us
from tests.rig.foreign import ForeignSite
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.xdist_group("foreign-peers")

NIGHT = {
    "zen.2457561.1.uvh5": b"one" * 20 * KIB,
    "zen.2457561.2 it's.uv": {"header": b"head", "sub/visdata": b"data" * 20 * KIB},
    "zen.2457561.3.uvh5": b"three" * 20 * KIB,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign-disks")
    ours, foreign = Member(OURS, folder), ForeignSite(THEIRS, folder / THEIRS, store_id=7)
    try:
        ours.start()
        foreign.start()
        for name in (OURS, COURIER):
            foreign.control("make_user", name=name, password=f"the secret of {name}", level=3)
        introduce_us(foreign, ours, ours.admit(THEIRS))
        ours.know(THEIRS, foreign.port, f"{OURS}:the secret of {OURS}")
        yield ours, foreign
    finally:
        ours.stop()
        foreign.stop()


@pytest.fixture
def librarian(world, tmp_path):
    ours, foreign = world
    accounts = {
        "north": {"url": ours.site.url, "authenticator": f"{ADMIN}:{ADMIN_PASSWORD}"},
        "theirs": {"url": foreign.url, "authenticator": f"{COURIER}:the secret of {COURIER}"},
    }
    home = tmp_path / "home"
    home.mkdir()
    env = environment_of(home, accounts)

    def run(*words):
        return run_command(*words, cwd=tmp_path, env=env)

    run.env, run.home = env, home
    return run


def states_of(foreign):
    return [row["status"] for row in foreign.state["incoming"]]


def test_a_disk_is_taken_in_elsewhere_however_often_it_is_begun(world, librarian, tmp_path):
    ours, foreign = world
    for name, content in NIGHT.items():
        ours.deliver(name, content)
    disk = add_disk(ours, "disk1", '{"name-matches": "zen.2457561.%"}', peer=THEIRS)
    ours.jobs.execute(FILL)
    manifest = pack(librarian, tmp_path, "disk1", peer=THEIRS)
    assert check(disk)[0] == 0
    words = ["ingest-manifest", "theirs", "--manifest", str(manifest), "--store-root", str(disk)]
    interrupt(librarian, *words, "--bandwidth", "40kB", at="begun")
    assert states_of(foreign) in ([0], [1])  # it dies before or after saying that the bytes come
    ran = librarian(*words, "--json")
    assert ran.code == 0, ran.out + ran.err
    assert [each["outcome"] for each in ran.records] == ["new"] * 3
    # Offered again now, each staged copy would be failed over there.
    ran = librarian(*words, "--json")
    assert ran.code == 0, ran.out + ran.err
    assert [each["outcome"] for each in ran.records] == ["already here"] * 3
    assert states_of(foreign) == [2, 2, 2]
    assert {call["status"] for call in foreign.calls("clone/stage")} == {201}
    foreign.run("recieve_clone")
    for name, content in NIGHT.items():
        assert_bytes(foreign.store_path / name, content)
    sent = ours.audit("sent", THEIRS)
    assert {name: (sent[name]["state"], sent[name]["copies"]) for name in NIGHT} == dict.fromkeys(
        NIGHT, ("completed", 1)
    )
    # Without a journal the attempt that is staged gives way to another one, and nothing is lost.
    ran = librarian(*words, "--anew", "--json")
    assert [each["outcome"] for each in ran.records] == ["already here"] * 3


def test_without_its_journal_a_staged_copy_is_brought_anew(world, librarian, tmp_path):
    ours, foreign = world
    ours.deliver("zen.2457562.1.uvh5", b"again" * KIB)
    disk = add_disk(ours, "disk2", '{"name-matches": "zen.2457562.%"}', peer=THEIRS)
    ours.jobs.execute(FILL)
    pack(librarian, tmp_path, "disk2", peer=THEIRS)
    words = ["ingest-manifest", "theirs", "--store-root", str(disk), "--json"]
    for more in ([], ["--anew"]):
        ran = librarian(*words, *more)
        assert (ran.code, ran.records[0]["outcome"]) == (0, "new"), ran.out
    assert sorted(states_of(foreign)[-2:]) == [2, 4]
    foreign.run("recieve_clone")
    assert_bytes(foreign.store_path / "zen.2457562.1.uvh5", b"again" * KIB)
    assert ours.audit("sent", THEIRS)["zen.2457562.1.uvh5"]["state"] == "completed"
    assert Path(disk).exists()
