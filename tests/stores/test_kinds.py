"""What the kind of a store decides, by rows alone: what may lie beside it, who may use it, how long it may take."""

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from librarian.common.errors import NoStore
from stores import services
from stores.models import Store
from stores.services import measuring
from stores.services.overlaps import overlap
from tests.make import make_store


def ssh(host: str = "hpot1", root: str = "/data", **more: Any) -> Store:
    return Store(kind="ssh", configuration={"host": host, "root": root, **more})


def s3(bucket: str = "night", prefix: str = "", **more: Any) -> Store:
    return Store(kind="s3", configuration={"bucket": bucket, "prefix": prefix, "spool": "/spool", **more})


def posix(root: str, **more: Any) -> Store:
    return Store(kind="posix", configuration={"root": root}, **more)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ssh(), ssh()),
        (ssh(), ssh("archive@HPOT1", "/data/below")),
        (ssh(root="/data/a/"), ssh(root="/data/./a")),
        (ssh(staging="/scratch"), ssh(root="/scratch/x")),
        (s3(), s3(prefix="a")),
        (s3(prefix="a/"), s3(prefix="/a/b")),
        (s3(endpoint_url="https://S3.example.org/"), s3(endpoint_url="https://s3.example.org")),
        (posix("/data"), posix("/data/a")),
        (posix("/"), posix("/data")),
        (posix("/spool"), s3()),
    ],
)
def test_stores_that_would_lie_in_each_others_place_are_seen(one: Store, other: Store) -> None:
    assert overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ssh(), ssh("hpot2")),
        (ssh(), ssh(root="/data2")),
        (ssh(), posix("/data")),
        (s3(prefix="a"), s3(prefix="ab", spool="/spool2")),
        (s3(), s3("day", spool="/spool2")),
        (s3(), s3(endpoint_url="http://minio:9000", spool="/spool2")),
        (posix("/data", hosts=["a"]), posix("/data", hosts=["b"])),
        (posix("/data"), posix("/database")),
    ],
)
def test_others_may_stand_beside_each_other(one: Store, other: Store) -> None:
    assert not overlap(one, other)


@pytest.mark.django_db
def test_a_caller_says_which_stores_its_bytes_cannot_come_to(tmp_path: Path) -> None:
    measured = {"available": True, "measured_at": timezone.now(), "capacity_bytes": 10**15, "free_bytes": 10**15}
    Store.objects.create(name="pot", kind="ssh", configuration={"host": "hpot1", "root": "/data"}, **measured)
    options = {"size_bytes": 10, "reserved": {}, "remedy": "Come another way."}

    def unsuited(store: Store) -> str:
        return "" if store.kind == "posix" else "is no directory"

    with pytest.raises(NoStore, match="pot is no directory") as refusal, transaction.atomic():
        services.choose_store(unsuited=unsuited, **options)
    assert refusal.value.suggested_remedy == "Come another way."
    small = make_store(tmp_path)
    with transaction.atomic():
        assert services.choose_store(unsuited=unsuited, **options) == small
        assert services.choose_store(**options).name == "pot"
    small.ingestable = False
    small.save()
    Store.objects.filter(name="pot").update(enabled=False)
    with pytest.raises(NoStore, match="switched off") as refusal, transaction.atomic():
        services.choose_store(unsuited=unsuited, **options)
    assert refusal.value.suggested_remedy != "Come another way."


@pytest.mark.django_db
def test_a_distant_kind_is_given_longer_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes longer than a mount may is no silence of a host that ssh still tries to reach."""
    asked = threading.Event()
    monkeypatch.setattr(measuring, "LOOK_SECONDS", {**measuring.LOOK_SECONDS, "posix": 0.05, "ssh": 30.0})

    def slowly(store: Store, answers: list[Any]) -> None:
        asked.wait(0.5)
        answers.append((measuring.Availability(True), None))

    monkeypatch.setattr(measuring, "_look_here", slowly)
    near = make_store(tmp_path)
    far = Store.objects.create(name="pot", kind="ssh", configuration={"host": "hpot1", "root": "/data"})
    assert not services.measure_store(near).available
    assert services.measure_store(far).available
    assert measuring.LOOK_SECONDS["s3"] > 30
