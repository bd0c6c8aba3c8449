"""`manage.py doctor`: a healthy site exits with 0; each fault is named with its remedy, and then it exits with 1."""

import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import Schedule

from accounts.levels import Level
from librarian.common.findings import Look, works
from librarian.common.heartbeat import HEARTBEATS
from librarian.common.models import JobRun, JobSetting, RunOutcome
from librarian.common.timetable import sync_schedules
from librarian.common.triggers import drop_triggers, install_triggers
from librarian.doctor.running import run_looks
from network.models import Peer, Shipment, ShipmentState
from stores.models import Store
from tests.make import make_peer, make_queue_item, make_store, make_user
from tests.network.standin import StandIn
from tests.rig.sshd import HOST, Sshd

pytestmark = pytest.mark.django_db

SECRET = "test_librarian:a very secret word"
Told = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(autouse=True)
def healthy(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A site at which nothing fails: a home, a store, schedules, and clusters that beat."""
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True, mode=0o700)
    (home / "keys" / "secret_key").write_text("never shown")
    (home / "keys" / "secret_key").chmod(0o600)
    settings.LIBRARIAN_HOME = home
    settings.LIBRARIAN_SSH_CONFIG = ""
    settings.ALLOWED_HOSTS = ["localhost"]  # that of the tests counts as public
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    (tmp_path / "person").mkdir()
    sync_schedules()
    now = timezone.now()
    for cluster, job in HEARTBEATS.items():
        done = {"outcome": RunOutcome.SUCCEEDED, "started_at": now, "finished_at": now}
        JobRun.objects.create(job=job, cluster=cluster, trigger="schedule", **done)
    return make_store(tmp_path, name="main")


def doctor(*arguments: str) -> tuple[int, Told]:
    """Exit code, and what is told by group and subject."""
    out = io.StringIO()
    try:
        call_command("doctor", "--json", *arguments, stdout=out, stderr=out)
        code = 0
    except CommandError as error:
        code = error.returncode
        if not out.getvalue():
            raise
    told = json.loads(out.getvalue())
    assert told["healthy"] is (code == 0)
    for finding in told["findings"]:
        assert finding["verdict"] == "works" or (finding["reason"] and finding["remedy"]), finding
    return code, {(finding["group"], finding["subject"]): finding for finding in told["findings"]}


def failing(*arguments: str) -> Told:
    """What fails; the exit code says so too."""
    code, told = doctor(*arguments)
    assert code == 1
    return {key: finding for key, finding in told.items() if finding["verdict"] == "fails"}


# --- The site ---------------------------------------------------------------------------------------------------------


def test_healthy_site_exits_with_0() -> None:
    code, told = doctor()
    assert code == 0, [finding for finding in told.values() if finding["verdict"] == "fails"]
    assert {"settings", "home", "secrets", "database", "jobs", "store main"} == {group for group, _ in told}
    out = io.StringIO()
    call_command("doctor", stdout=out)
    assert "Nothing fails" in out.getvalue().splitlines()[-1]


def test_lines_for_people_say_what_to_do(healthy: Store) -> None:
    shutil.rmtree(healthy.configuration["root"])
    out = io.StringIO()
    with pytest.raises(CommandError) as refusal:
        call_command("doctor", stdout=out)
    assert refusal.value.returncode == 1
    lines = out.getvalue().splitlines()
    assert "store main" in lines
    assert any(line.startswith("  FAILS: directory - ") and "Mount the disk" in line for line in lines)


def test_it_changes_nothing(healthy: Store) -> None:
    before = list(Store.objects.values()), list(Schedule.objects.values()), list(JobSetting.objects.values())
    make_peer("north")
    peers = list(Peer.objects.values())
    doctor()
    assert before == (
        list(Store.objects.values()), list(Schedule.objects.values()), list(JobSetting.objects.values())
    )  # fmt: skip
    assert list(Peer.objects.values()) == peers
    assert list(healthy.backend.list_staging()) == []


def test_unknown_names_are_refused() -> None:
    for option, name in (("--store", "attic"), ("--peer", "south")):
        with pytest.raises(CommandError, match=name) as refusal:
            call_command("doctor", option, name, stdout=io.StringIO())
        assert refusal.value.returncode == 2


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    make_store(tmp_path, name="attic")
    make_peer("north")
    assert {group for group, _ in doctor("--store", "attic")[1]} == {"store attic"}
    assert {group for group, _ in doctor("--peer", "north")[1]} == {"peer north"}


def test_quick_writes_nothing_to_stores() -> None:
    assert ("store main", "staging") in doctor()[1]
    assert ("store main", "staging") not in doctor("--quick")[1]


def test_modes_of_secret_files(tmp_path: Path, settings: Any) -> None:
    key = settings.LIBRARIAN_HOME / "keys" / "secret_key"
    key.chmod(0o640)
    client = tmp_path / "person" / ".hl_client.cfg"
    client.write_text('{"password": "never shown"}')
    client.chmod(0o644)
    (tmp_path / "person" / ".ssh").mkdir()
    hosts = tmp_path / "person" / ".ssh" / "known_hosts"
    hosts.write_text("")
    hosts.chmod(0o666)
    found = failing()
    assert found["secrets", str(key)]["remedy"].endswith(f"chmod 600 {key}")
    assert found["secrets", str(client)]["remedy"].endswith(f"chmod 600 {client}")
    assert found["secrets", str(hosts)]["remedy"].endswith(f"chmod 644 {hosts}")
    assert "never shown" not in json.dumps(list(found.values()))


def test_clusters_without_a_sign_of_life() -> None:
    JobRun.objects.all().delete()
    found = failing()
    assert {("jobs", "cluster default"), ("jobs", "cluster bulk")} <= found.keys()
    assert "run_site" in found["jobs", "cluster bulk"]["remedy"]


def test_schedules_that_somebody_changed() -> None:
    Schedule.objects.filter(name="write_root").delete()
    Schedule.objects.filter(name="measure_stores").update(minutes=7)
    found = failing()["jobs", "schedules"]
    assert "measure_stores, write_root" in found["reason"]
    assert "sync_schedules" in found["remedy"]


def test_missing_triggers() -> None:
    from django.db import connection

    drop_triggers(connection)
    try:
        assert "migrate" in failing()["database", "common.W001"]["remedy"]
    finally:
        install_triggers(connection)


def test_settings_that_check_refuses(settings: Any) -> None:
    settings.LIBRARIAN_FILE_NAMES = "other"
    assert "LIBRARIAN_FILE_NAMES" in failing()["settings", "librarian.E002"]["reason"]


def test_home_that_is_gone(settings: Any, tmp_path: Path) -> None:
    settings.LIBRARIAN_HOME = tmp_path / "nowhere"
    assert "nowhere" in failing()["home", "directory"]["reason"]


# --- Looks that hang or break -----------------------------------------------------------------------------------------


def test_hanging_look_is_named_and_keeps_nobody() -> None:
    over = threading.Event()

    def hang() -> Iterator[Any]:
        yield works("first")
        over.wait(60)
        yield works("late")

    def broken() -> Iterator[Any]:
        raise RuntimeError("a fault of ours")
        yield

    looks = [Look("dead", hang, "its mount", 0.5), Look("broken", broken), Look("well", lambda: [works("all")])]
    begun = time.monotonic()
    told = dict(run_looks(looks))
    assert time.monotonic() - begun < 30
    over.set()
    assert [finding.subject for finding in told["dead"]] == ["first", "its mount"]
    assert "no answer within 0.5 s after 'first'" in told["dead"][-1].reason
    assert "a fault of ours" in told["broken"][0].reason
    assert told["well"][0].works


# --- Stores -----------------------------------------------------------------------------------------------------------


def test_each_store_is_told_apart(tmp_path: Path, healthy: Store) -> None:
    other = make_store(tmp_path, name="attic")
    Store.objects.filter(pk=other.pk).update(configuration=healthy.configuration, hosts=["elsewhere"])
    code, told = doctor()
    assert code == 0
    assert told["store attic", "reach"]["verdict"] == "doubtful"
    assert "elsewhere" in told["store attic", "reach"]["reason"]
    Store.objects.filter(pk=other.pk).update(hosts=[])
    assert "main" in failing()["store attic", "marker"]["reason"]


def test_store_that_is_switched_off_may_be_gone(tmp_path: Path) -> None:
    old = make_store(tmp_path, name="attic", enabled=False)
    shutil.rmtree(old.configuration["root"])
    code, told = doctor()
    assert code == 0
    assert told["store attic", "enabled"]["verdict"] == "doubtful"
    assert ("store attic", "directory") in failing("--store", "attic")


def test_disk_on_a_trip_is_no_fault(tmp_path: Path) -> None:
    disk = make_store(tmp_path, name="disk1", travelling=True)
    shutil.rmtree(disk.configuration["root"])
    assert ("store disk1", "directory") in failing()
    Shipment.objects.create(store=disk, peer_name="north", state=ShipmentState.HANDED_OVER, seal="a" * 64)
    code, told = doctor()
    assert code == 0
    assert "handed over to north" in told["store disk1", "trip"]["reason"]


# --- Storage nodes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ssh_store(tmp_path: Path) -> Callable[..., Store]:
    """A store `node` whose directories are seen through an sshd."""

    def make(config: Path, **configuration: str) -> Store:
        store = make_store(tmp_path, name="node")
        configuration = {"host": HOST, "ssh_config": str(config), **store.configuration, **configuration}
        Store.objects.filter(pk=store.pk).update(kind=Store.Kind.SSH, configuration=configuration)
        store.refresh_from_db()
        return store

    return make


def test_storage_node_at_which_all_is_well(sshd: Sshd, ssh_store: Any) -> None:
    ssh_store(sshd.config)
    code, told = doctor()
    assert code == 0
    for subject in ("ssh login", "python over there", "rsync over there", "marker", "staging"):
        assert told["store node", subject]["verdict"] == "works"


@pytest.mark.parametrize(
    ("wrong", "subject", "remedy"),
    [
        ({"host_key": "other_key"}, "ssh host key", "ssh-keygen -R"),
        ({"key": "other_key"}, "ssh login", "authorized_keys"),
        ({"port": 1}, "ssh port", "sshd"),
    ],
)
def test_storage_node_that_cannot_be_reached(
    sshd: Sshd, ssh_store: Any, wrong: dict[str, Any], subject: str, remedy: str
) -> None:
    ssh_store(sshd.write_config(name="wrong", **wrong))
    found = failing()
    assert list(found) == [("store node", subject)]
    assert remedy in found["store node", subject]["remedy"]


def test_storage_node_whose_disk_is_not_mounted(sshd: Sshd, ssh_store: Any) -> None:
    store = ssh_store(sshd.config)
    root = Path(store.configuration["root"])
    root.rename(root.with_name("elsewhere"))
    root.mkdir()
    found = failing("--store", "node")
    assert "Mount the disk" in found["store node", "mount"]["remedy"]
    assert "Write the marker" in found["store node", "marker"]["remedy"]
    assert ("store node", "staging") not in doctor("--store", "node")[1]


# --- Peers ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def standin() -> Iterator[StandIn]:
    running = StandIn(SECRET)
    yield running
    running.stop()


def test_good_peer(standin: StandIn) -> None:
    make_user("north", level=Level.CALLBACK)
    make_peer("north", port=standin.port, authenticator=SECRET)
    code, told = doctor("--peer", "north")
    assert code == 0
    assert told["peer north", "their account here"]["verdict"] == "works"
    assert standin.paths[:2] == ["v2/ping/", "v2/ping/logged"]


def test_peer_that_refuses_us_or_is_away(standin: StandIn) -> None:
    make_peer("north", port=standin.port, authenticator=f"{SECRET}!")
    make_peer("south")
    make_user("south", level=Level.READONLY)
    told = failing()
    assert "does not accept our credentials" in told["peer north", "answer"]["reason"]
    assert "cannot be reached" in told["peer south", "answer"]["reason"]
    assert told["peer south", "their account here"]["remedy"]
    assert SECRET.partition(":")[2] not in json.dumps(list(told.values()))


def test_resting_peer_and_provider() -> None:
    later = timezone.now() + timezone.timedelta(minutes=5)
    rests = {"rsync": {"until": later.isoformat(), "reason": "no rsync there", "times": 1}}
    make_peer("north", failures_in_a_row=4, rests_until=later, last_error="It was away.", last_error_at=timezone.now(),
              provider_rests=rests)  # fmt: skip
    told = failing("--quick")
    assert "4 calls in a row failed. It was away" in told["peer north", "circuit"]["reason"]
    assert "no rsync there" in told["peer north", "provider rsync"]["reason"]


def test_why_no_provider_can_be_used() -> None:
    make_peer("north", provider_order=["local", "rsync"])
    make_queue_item(
        peer="north", offers={"a": {"hostnames": ["elsewhere"]}, "b": {"hostname": "far", "ssh_host": "far"}}
    )
    code, told = doctor("--peer", "north", "--quick")
    assert code == 1
    assert "none of those that mount" in told["peer north", "provider local"]["reason"]
    assert "none of the hosts that north may name" in told["peer north", "provider rsync"]["reason"]
    assert told["peer north", "providers"]["verdict"] == "fails"


def test_shared_directory_that_is_not_mounted(tmp_path: Path) -> None:
    make_peer("north", shared_directories=[str(tmp_path / "gone")])
    assert "gone" in failing("--quick")["peer north", "shared directory"]["reason"]


def test_ssh_hosts_from_here_and_from_the_storage_node(
    sshd: Sshd, settings: Any, tmp_path: Path, standin: StandIn, ssh_store: Any
) -> None:
    settings.LIBRARIAN_SSH_CONFIG = str(sshd.config)
    make_peer("north", port=standin.port, authenticator=SECRET, ssh_hosts=[HOST, "nowhere.invalid"])
    ssh_store(sshd.config)
    told = failing("--peer", "north")
    assert told.keys() == {
        ("peer north", "nowhere.invalid: host name"),
        ("peer north", f"{HOST} from the storage node of node"),  # which knows no such name
        ("peer north", "nowhere.invalid from the storage node of node"),
    }
    assert "Log in to" in told["peer north", f"{HOST} from the storage node of node"]["remedy"]
    assert ("peer north", f"{HOST}: rsync over there") in doctor("--peer", "north")[1]
