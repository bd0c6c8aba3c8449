"""What a person is told of a store that does not work: each fault named, with what mends it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from librarian.common import ssh_trying
from librarian.common.findings import Finding
from stores.models import Store
from stores.services.testing import ground, s3, soil, ssh, test_store
from tests.make import make_store
from tests.rig import s3_server
from tests.rig.processes import free_port
from tests.rig.sshd import HOST, Sshd

pytestmark = pytest.mark.django_db


def named(findings: list[Finding], subject: str) -> Finding:
    """The finding about a subject; the last, where there are several."""
    found = [finding for finding in findings if finding.subject == subject]
    assert found, [str(finding) for finding in findings]
    return found[-1]


def failing(findings: list[Finding]) -> dict[str, Finding]:
    failed = {finding.subject: finding for finding in findings if not finding.works}
    assert all(finding.reason and finding.remedy for finding in failed.values())
    return failed


# --- A directory of this machine --------------------------------------------------------------------------------------


class TestDirectory:
    def test_all_of_a_good_one_works(self, tmp_path: Path) -> None:
        findings = test_store(make_store(tmp_path))
        assert not failing(findings)
        assert {"mount", "marker", "root", "staging area", "inodes", "space", "staging"} <= {
            finding.subject for finding in findings
        }

    def test_nothing_is_mounted(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, initialise=False)
        assert "Mount the disk" in named(test_store(store), "directory").remedy
        Path(store.configuration["root"]).mkdir(parents=True)
        failed = failing(test_store(store))
        assert "nothing of its own is mounted there" in failed["mount"].reason
        assert "no marker" in failed["marker"].reason

    def test_read_only_mount(self, mounted: Path) -> None:
        store = make_store(mounted)
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        found = failing(test_store(store))["mount"]
        assert str(mounted) in found.reason
        assert "read-only" in found.reason
        assert "remount,rw" in found.remedy

    def test_foreign_marker(self, tmp_path: Path) -> None:
        store, other = make_store(tmp_path), make_store(tmp_path)
        store.configuration = other.configuration
        found = failing(test_store(store))["marker"]
        assert other.name in found.reason
        assert store.name in found.remedy

    def test_damaged_marker(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        Path(store.configuration["root"], ".librarian", "store.json").write_text("{")
        assert "damaged" in failing(test_store(store))["marker"].reason

    def test_group_cannot_get_to_staging_that_it_is_to_write(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        store = make_store(tmp_path)
        folder = Path(store.configuration["staging"])
        folder.chmod(0o700)
        # what lies above belongs to the run of the suite
        seen = {**ground.directory(str(folder)), "closed_to_group": str(folder)}
        facts = {**ground.look(*soil.directories_of(store)), "staging": seen}
        found = named(list(soil.tell(store, facts)), "group")
        assert found.doubtful
        assert f"chmod g+x {folder}" in found.remedy
        assert ground.directory(str(folder))["closed_to_group"]
        store.group_writable_staging = False
        assert "group" not in {finding.subject for finding in soil.tell(store, facts)}

    def test_everybody_may_write_to_the_root(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        Path(store.configuration["root"]).chmod(0o777)
        assert "chmod o-w" in named(test_store(store), "root").remedy

    def test_disk_without_inodes(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        facts = ground.look(*soil.directories_of(store))
        for free, verdict in ((0, "FAILS"), (5, "doubtful"), (10**6, "works")):
            root = {**facts["root"], "inodes": 10**7, "free_inodes": free}
            assert named(list(soil.tell(store, {**facts, "root": root})), "inodes").verdict == verdict

    def test_full_store_is_doubtful(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, fullness_limit=0.01)
        assert named(test_store(store), "space").doubtful


# --- A storage node ---------------------------------------------------------------------------------------------------

Start = Callable[..., Sshd]


@pytest.fixture(scope="module")
def start_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    servers: list[Sshd] = []

    def start(**options: str) -> Sshd:
        servers.append(Sshd(tmp_path_factory.mktemp("sshd"), options=options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def node(start_sshd: Start) -> Sshd:
    return start_sshd()


@pytest.fixture
def make_ssh_store(tmp_path: Path, settings: Any) -> Callable[..., Store]:
    settings.LIBRARIAN_HOME = tmp_path / "home"

    def make(config: Path, **configuration: str) -> Store:
        """A store of kind ssh whose directories lie below the test's own, seen through an sshd."""
        ground = make_store(tmp_path)
        Store.objects.filter(pk=ground.pk).update(
            kind=Store.Kind.SSH,
            configuration={"host": HOST, "ssh_config": str(config), **ground.configuration, **configuration},
        )
        ground.refresh_from_db()
        return ground

    return make


def look(store: Store) -> list[Finding]:
    return list(ssh.look(store))


class TestStorageNode:
    def test_all_of_a_good_one_works(self, node: Sshd, make_ssh_store: Any) -> None:
        findings = look(make_ssh_store(node.config))
        assert not failing(findings)
        for subject in ("ssh port", "ssh host key", "ssh login", "python over there", "rsync over there", "marker"):
            assert named(findings, subject).verdict == "works"
        assert named(findings, "clock over there").reason == "as ours"

    def test_small_file_goes_there_and_back(self, node: Sshd, make_ssh_store: Any) -> None:
        store = make_ssh_store(node.config)
        findings = test_store(store)
        assert not failing(findings)
        assert "read again" in findings[-1].reason
        assert list(Path(store.configuration["staging"]).iterdir()) == []

    def test_nothing_more_is_tried_where_nobody_gets_in(self, node: Sshd, make_ssh_store: Any) -> None:
        findings = test_store(make_ssh_store(node.write_config(key="other_key", name="refused")))
        assert list(failing(findings)) == [findings[-1].subject] == ["ssh login"]

    @pytest.mark.parametrize(
        ("fault", "subject", "reason", "remedy"),
        [
            ({"host_key": "other_key"}, "ssh host key", "another host key", "ssh-keygen -R"),
            ({"key": "other_key"}, "ssh login", "refuses our key", "authorized_keys"),
        ],
    )
    def test_wrong_key(
        self, node: Sshd, make_ssh_store: Any, fault: dict[str, str], subject: str, reason: str, remedy: str
    ) -> None:
        found = look(make_ssh_store(node.write_config(name="wrong", **fault)))
        assert list(failing(found)) == [subject]
        assert reason in found[-1].reason
        assert remedy in found[-1].remedy

    def test_shared_connection_does_not_hide_a_closed_door(self, node: Sshd, make_ssh_store: Any) -> None:
        store = make_ssh_store(node.config)
        assert not failing(look(store))
        allowed = node.folder / "authorized_keys"
        before = allowed.read_text()
        allowed.write_text((node.folder / "other_key.pub").read_text())
        try:
            assert list(failing(look(store))) == ["ssh login"]
        finally:
            allowed.write_text(before)

    def test_silent_sshd(self, start_sshd: Start, make_ssh_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        silent = start_sshd()
        monkeypatch.setattr(ssh_trying, "LOGIN_SECONDS", 2.0)
        os.kill(silent._process.pid, signal.SIGSTOP)
        try:
            assert "within 2 s" in failing(look(make_ssh_store(silent.config)))["ssh login"].reason
        finally:
            os.kill(silent._process.pid, signal.SIGCONT)

    def test_unknown_host_key(self, node: Sshd, make_ssh_store: Any) -> None:
        config = node.write_config(name="unknown_key")
        (node.folder / "unknown_key.known_hosts").write_text("")
        found = failing(look(make_ssh_store(config)))["ssh host key"]
        assert "not known here" in found.reason
        assert f"ssh-keyscan -p {node.port} 127.0.0.1" in found.remedy

    def test_closed_port(self, node: Sshd, make_ssh_store: Any) -> None:
        found = failing(look(make_ssh_store(node.write_config(port=free_port(), name="closed"))))["ssh port"]
        assert "refused" in found.reason
        assert "sshd" in found.remedy

    def test_unknown_host(self, node: Sshd, make_ssh_store: Any) -> None:
        found = failing(look(make_ssh_store(node.config, host="nowhere.invalid")))["host name"]
        assert "nowhere.invalid" in found.reason
        assert "~/.ssh/config" in found.remedy

    def test_broken_configuration(self, node: Sshd, make_ssh_store: Any, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text("Hosst x\n")
        found = failing(look(make_ssh_store(config)))["ssh configuration"]
        assert "Hosst" in found.reason or "Bad configuration" in found.reason
        assert str(config) in found.remedy

    def test_key_file_that_others_may_read(self, node: Sshd, make_ssh_store: Any, tmp_path: Path) -> None:
        key = tmp_path / "user_key"
        key.write_bytes((node.folder / "user_key").read_bytes())
        key.chmod(0o644)
        config = tmp_path / "config"
        config.write_text(node.config.read_text().replace(str(node.folder / "user_key"), str(key)))
        found = failing(look(make_ssh_store(config)))
        assert found["ssh keys"].remedy == f"chmod 600 {key}"

    def test_no_programs_over_there(self, start_sshd: Start, make_ssh_store: Any, tmp_path: Path) -> None:
        bare = start_sshd(SetEnv=f"PATH={tmp_path}/nothing")
        found = failing(look(make_ssh_store(bare.config)))
        assert "has no python3" in found["python over there"].reason
        assert "`python`" in found["python over there"].remedy
        assert "Install rsync" in found["rsync over there"].remedy

    def test_python_that_is_named_and_no_rsync(
        self, start_sshd: Start, make_ssh_store: Any, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        programs = tmp_path_factory.mktemp("programs")
        os.symlink(os.path.realpath(sys.executable), programs / "snake")
        found = look(make_ssh_store(start_sshd(SetEnv=f"PATH={programs}").config, python="snake"))
        assert list(failing(found)) == ["rsync over there"]

    def test_talkative_login_shell(self, start_sshd: Start, make_ssh_store: Any) -> None:
        loud = start_sshd(ForceCommand='echo Welcome; sh -c "$SSH_ORIGINAL_COMMAND"')
        found = failing(look(make_ssh_store(loud.config)))
        assert "silent" in found["ssh shell"].remedy

    def test_faults_of_the_disk_over_there(self, node: Sshd, make_ssh_store: Any, mounted: Path) -> None:
        store = make_ssh_store(node.config)
        root = store.configuration["root"]
        store.marker = "00000000-0000-4000-8000-000000000000"
        assert "foreign" in self.disk(store)["marker"].reason
        store.refresh_from_db()
        subprocess.run(["mount", "--bind", root, mounted], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        store.configuration["root"] = str(mounted)
        assert "read-only" in self.disk(store)["mount"].reason
        subprocess.run(["umount", mounted], check=True)
        assert "no marker" in self.disk(store)["marker"].reason
        store.configuration["root"] = str(mounted / "gone")
        assert "no such file" in self.disk(store)["directory"].reason

    def disk(self, store: Store) -> dict[str, Finding]:
        return failing(list(soil.tell(store, ssh._facts(store))))

    def test_clock_that_differs(self) -> None:
        assert ssh._clock(1000.0, 990.0, 1010.0).verdict == "works"
        found = ssh._clock(2000.0, 990.0, 1010.0)
        assert found.doubtful
        assert "990 s" in found.reason


# --- A bucket ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> Iterator[s3_server.S3Server]:
    with s3_server.running() as running:
        yield running


@pytest.fixture
def make_s3_store(service: s3_server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """A store in a bucket of its own; `initialise` makes the bucket and its marker."""
    keys = tmp_path / "credentials"
    keys.write_text(f"[tests]\naws_access_key_id={s3_server.KEY_ID}\naws_secret_access_key={s3_server.SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def make(*, initialise: bool = True, **configuration: str) -> Store:
        spool, bucket = tmp_path / "spool", f"bucket-{uuid.uuid4()}"
        spool.mkdir(exist_ok=True)
        usual = {"bucket": bucket, "spool": str(spool), "endpoint_url": service.url, "profile": "tests"}
        store = Store.objects.create(
            name="cloud", kind=Store.Kind.S3, configuration={**usual, "region": "us-east-1", **configuration}
        )
        if initialise:
            session = boto3.session.Session(profile_name="tests", region_name="us-east-1")
            session.client("s3", endpoint_url=service.url).create_bucket(Bucket=bucket)
            store.backend.initialise()
        return store

    return make


class TestBucket:
    def test_all_of_a_good_one_works(self, make_s3_store: Any) -> None:
        findings = test_store(make_s3_store())
        assert not failing(findings)
        assert {"spool", "credentials", "account", "clock over there"} <= {finding.subject for finding in findings}
        assert findings[-1].subject == "staging"
        assert s3_server.SECRET not in " ".join(map(str, findings))

    @pytest.mark.parametrize(
        ("fault", "subject", "reason", "remedy"),
        [
            ({"bucket": "nobody-made-it"}, "account", "no such bucket", "`bucket`"),
            ({"profile": "nobody"}, "account", "nobody", "~/.aws"),
            ({"endpoint_url": "http://127.0.0.1:9"}, "endpoint", "127.0.0.1:9", "endpoint_url"),
            ({"spool": "/nowhere/spool"}, "spool", "no such file", "Make the directory"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, make_s3_store: Any, fault: dict[str, str], subject: str, reason: str, remedy: str
    ) -> None:
        found = failing(list(s3.look(make_s3_store(initialise=False, **fault))))[subject]
        assert reason in found.reason
        assert remedy in found.remedy

    def test_unknown_key(self, service: s3_server.S3Server, make_s3_store: Any) -> None:
        store = make_s3_store(initialise=False)
        with service.checking_credentials():
            found = failing(list(s3.look(store)))["account"]
        assert "does not know this access key" in found.reason
        assert s3_server.KEY_ID not in str(found)

    def test_marker_of_another_store(self, make_s3_store: Any) -> None:
        store = make_s3_store()
        store.marker = uuid.uuid4()
        assert "marker" in failing(test_store(store))["mounted, ours and writable"].reason
