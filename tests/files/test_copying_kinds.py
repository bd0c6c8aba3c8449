"""Copies between stores of every kind, over a real sshd and a real S3-speaking server."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.utils import timezone

from files.models import File, Instance, Presence, StoreCopy
from files.services.copying import copy_files, want_copies
from files.services.offloading import run_offloads, start_offload
from stores.backends.ssh.pool import links
from stores.backends.ssh.sharing import end_sharing
from stores.models import Store
from tests.make import make_file, make_instance, make_store
from tests.rig import s3_server
from tests.rig.s3_server import S3Server
from tests.rig.sshd import HOST, Sshd
from tests.stores.ssh_stores import far_host

pytestmark = pytest.mark.django_db
CONTENTS = {
    "zen.2457561.1.uvh5": b"a night" * 200_000,
    "zen.2457561.2 with 'quotes' and ü.txt": b"",
    "zen.2457561.3.uv": {"header": b"head", "sub/visdata": b"data" * 50_000, "empty": None},
}


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: Any) -> Iterator[Sshd]:
    with far_host(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of these tests only, from the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


def make_far(kind: str, name: str, **configuration: object) -> Store:
    room = {"available": True, "measured_at": timezone.now(), "capacity_bytes": 10**12, "free_bytes": 9 * 10**11}
    store = Store.objects.create(name=name, kind=kind, configuration=configuration, **room)
    store.backend.initialise()
    return store


@pytest.fixture
def attic(sshd: Sshd, tmp_path: Path) -> Store:
    configuration = {"host": HOST, "ssh_config": str(sshd.config), "root": str(tmp_path / "attic")}
    return make_far("ssh", "attic", python=sys.executable, **configuration)


@pytest.fixture
def cloud(s3: S3Server, tmp_path: Path) -> Store:
    bucket = f"b{abs(hash(str(tmp_path)))}"
    boto3.client("s3", endpoint_url=s3.url, region_name="us-east-1").create_bucket(Bucket=bucket)
    return make_far("s3", "cloud", bucket=bucket, endpoint_url=s3.url, spool=str(tmp_path / "spool"))


def copy_on(files: list[File], target: Store) -> None:
    """Copy files to a store, from the one that got them last."""
    want_copies(file_ids=[file.pk for file in files], targets=[target.pk], group="person:ada")
    assert copy_files()["copied"] == len(files), list(StoreCopy.objects.values_list("code", "reason"))
    made = Instance.objects.filter(store=target).select_related("file")
    for instance in made:
        content = target.backend.digest(instance.path, ["sha256"])
        assert (content.kind, content.size_bytes, content.digest) == (
            instance.file.kind,
            instance.file.size_bytes,
            instance.file.digest,
        )
    assert list(target.backend.list_staging()) == []
    Instance.objects.exclude(store=target).update(presence=Presence.GONE)


def test_files_go_round_stores_of_every_kind(tmp_path: Path, attic: Store, cloud: Store) -> None:
    first, last = make_store(tmp_path, name="first"), make_store(tmp_path, name="last")
    files = [make_file(name, content=content, store=first) for name, content in CONTENTS.items()]
    for target in (attic, cloud, last):
        copy_on(files, target)
    StoreCopy.objects.all().delete()
    Instance.objects.filter(store__in=[attic, cloud]).delete()
    copy_on(files, make_far("s3", "other", **{**cloud.configuration, "prefix": "o", "spool": str(tmp_path / "o")}))
    copy_on(files, make_far("ssh", "cellar", **{**attic.configuration, "root": str(tmp_path / "cellar")}))


def test_a_far_host_that_goes_away_is_passed_over(tmp_path: Path, attic: Store, sshd: Sshd) -> None:
    here, second = make_store(tmp_path, name="here"), make_store(tmp_path, name="second")
    file = make_file(content=b"x" * 3_000_000, store=here)
    sshd.stop()
    links.close()
    end_sharing(attic.configuration)  # else the connection that is shared outlives the server
    try:
        want_copies(file_ids=[file.pk], targets=[attic.pk, second.pk], group="person:ada")
        assert copy_files()["copied"] == 1
    finally:
        sshd.start()
    assert Instance.objects.get(store=second).file == file
    attic.refresh_from_db()
    assert not attic.available


def test_a_bad_far_copy_becomes_known(tmp_path: Path, attic: Store) -> None:
    here, second = make_store(tmp_path, name="here"), make_store(tmp_path, name="second")
    file = make_file(content=b"right" * 100)
    far = make_instance(file, attic)
    path = Path(attic.configuration["root"]) / far.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"wrong" * 100)
    want_copies(file_ids=[file.pk], targets=[second.pk], group="person:ada")
    assert copy_files()["copied"] == 0
    far.refresh_from_db()
    assert far.condition == "different"
    assert not Instance.objects.filter(store__in=[here, second]).exists()


def test_what_a_bucket_holds_is_read_there_before_another_copy_may_go(
    tmp_path: Path, s3: S3Server, cloud: Store
) -> None:
    """Its service may have said yes and written something else."""
    old = make_store(tmp_path, name="old")
    names = {make_file(content=b"%d" % number * 1000, store=old).name for number in range(2)}
    start_offload(store=old, targets=[cloud], actor=None)
    run_offloads()
    assert copy_files()["copied"] == 2
    copies = {copy.file.name: copy for copy in Instance.objects.filter(store=cloud).select_related("file")}
    assert {copy.condition for copy in copies.values()} == {"never_checked"}
    spoilt = min(names)
    client = boto3.client("s3", endpoint_url=s3.url, region_name="us-east-1")
    key = cloud.backend.locate(copies[spoilt].path).partition("://")[2].partition("/")[2]
    client.put_object(
        Bucket=cloud.configuration["bucket"],
        Key=key,
        Body=b"x" * 1000,
        Metadata=client.head_object(Bucket=cloud.configuration["bucket"], Key=key)["Metadata"],
    )
    run_offloads()
    may_go = Instance.objects.filter(store=old, deletion_policy=1).values_list("file__name", flat=True)
    assert set(may_go) == names - {spoilt}
    copies[spoilt].refresh_from_db()
    assert copies[spoilt].condition == "different"
