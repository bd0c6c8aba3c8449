"""Choosing, measuring, keeping and testing stores."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.levels import Level
from librarian.common.errors import Conflict, InvalidRequest, NoStore, Refused
from librarian.common.models import AuditEntry, ErrorRecord
from stores import services
from stores.backends import BACKENDS
from stores.backends.base import Availability
from stores.backends.posix import PosixBackend
from stores.models import SpaceReading, Store
from tests.make import make_store, make_user


def choose(**options: object) -> Store:
    with transaction.atomic():
        return services.choose_store(**{"size_bytes": 10, "reserved": {}, **options})


@pytest.mark.django_db
class TestChoosing:
    def test_most_room_wins(self, tmp_path: Path) -> None:
        small = make_store(tmp_path, free_bytes=8 * 10**11)
        large = make_store(tmp_path, free_bytes=9 * 10**11)
        assert choose() == large
        assert choose(reserved={large.pk: 5 * 10**11}) == small
        assert choose(name=small.name) == small

    def test_room_must_be_strictly_larger_than_the_size(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, capacity_bytes=1000, free_bytes=650, fullness_limit=0.75)
        assert store.usable_bytes == 400
        assert choose(size_bytes=399) == store
        with pytest.raises(NoStore, match="400"):
            choose(size_bytes=400)
        assert choose(size_bytes=99, reserved={store.pk: 300}) == store
        with pytest.raises(NoStore, match="300 promised"):
            choose(size_bytes=100, reserved={store.pk: 300})

    def test_refusal_names_each_store_and_why(self, tmp_path: Path) -> None:
        make_store(tmp_path, name="off", enabled=False)
        make_store(tmp_path, name="closed", ingestable=False)
        make_store(tmp_path, name="away", available=False, availability_reason="nothing is mounted there")
        make_store(tmp_path, name="far", hosts=["another-host"])
        make_store(tmp_path, name="full", free_bytes=0)
        with pytest.raises(NoStore) as refusal:
            choose()
        reason = refusal.value.reason
        for words in (
            "off is switched off",
            "closed takes no new files",
            "away is not available: nothing is mounted there",
            "far is reached only from another-host",
            "full has room for 0 bytes, 10 are needed",
        ):
            assert words in reason
        with pytest.raises(NoStore, match="no store called nowhere"):
            choose(name="nowhere")

    def test_without_stores_the_remedy_says_how_to_add_one(self) -> None:
        with pytest.raises(NoStore) as refusal:
            choose()
        assert "add_store" in refusal.value.suggested_remedy

    def test_written_bytes_count_until_the_next_measurement(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, capacity_bytes=1000, free_bytes=500)
        services.note_written(store=store, size_bytes=200)
        store.refresh_from_db()
        assert store.free_bytes == 300
        services.note_written(store=store, size_bytes=400)
        store.refresh_from_db()
        assert store.free_bytes == 0


@pytest.mark.django_db(transaction=True)
def test_two_deliveries_cannot_be_promised_the_same_room(tmp_path: Path) -> None:
    """Each promise is kept in a row that the next choice must see, even one that began before it was committed."""
    store = make_store(tmp_path, capacity_bytes=1000, free_bytes=150, fullness_limit=1.0)
    begun, chosen = threading.Barrier(4), []

    def reserved() -> dict[int, int]:
        return {store.pk: sum(SpaceReading.objects.filter(store=store).values_list("free_bytes", flat=True))}

    def deliver() -> None:
        begun.wait(10)
        try:
            with transaction.atomic():
                services.choose_store(size_bytes=100, reserved=reserved)
                SpaceReading.objects.create(store=store, capacity_bytes=100, free_bytes=100)  # stands for an upload
                chosen.append(1)
        except NoStore:
            chosen.append(0)
        finally:
            connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chosen) == [0, 0, 0, 1]


@pytest.mark.django_db(transaction=True)
def test_choosing_outside_a_transaction_is_a_mistake() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        services.choose_store(size_bytes=1, reserved={})


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """A kind of store whose look does not return before the event is set."""
    release = threading.Event()

    class Hanging(PosixBackend):
        def check(self) -> Availability:
            release.wait(30)
            return super().check()

    BACKENDS["posix"], kept = Hanging, BACKENDS["posix"]
    yield release
    release.set()
    BACKENDS["posix"] = kept


@pytest.mark.django_db
class TestMeasuring:
    def test_store_that_works_is_available_with_its_space(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, available=False, capacity_bytes=None, free_bytes=None)
        assert services.measure_store(store).available
        store.refresh_from_db()
        assert store.available
        assert store.measured_by == settings.LIBRARIAN_HOST_NAME
        assert 0 < store.free_bytes < store.capacity_bytes
        assert SpaceReading.objects.get(store=store).free_bytes == store.free_bytes

    def test_store_that_is_away_is_told_once_and_forgotten_when_back(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        neighbour = make_store(tmp_path)
        root = Path(store.configuration["root"])
        root.rename(tmp_path / "away")
        for _ in range(2):
            found = services.measure_stores()
        assert found == {"available": [neighbour.name], "away": [store.name]}
        store.refresh_from_db()
        assert not store.available
        assert "does not exist" in store.availability_reason
        error = ErrorRecord.objects.get(cleared_at=None)
        assert (error.count, error.code) == (2, "store_unavailable")
        assert store.name in error.message
        assert error.remedy
        (tmp_path / "away").rename(root)
        services.measure_stores()
        assert not ErrorRecord.objects.filter(cleared_at=None).exists()

    def test_store_that_is_switched_off_is_no_trouble(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, enabled=False)
        Path(store.configuration["root"]).rename(tmp_path / "away")
        services.measure_stores()
        assert not ErrorRecord.objects.exists()

    def test_measuring_leaves_what_a_person_edits_meanwhile(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        Store.objects.filter(pk=store.pk).update(fullness_limit=0.5)
        services.measure_store(store)
        store.refresh_from_db()
        assert store.fullness_limit == 0.5

    def test_full_store_is_told(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, fullness_limit=0.01)
        services.measure_stores()
        assert ErrorRecord.objects.get().code == "store_full"
        Store.objects.filter(pk=store.pk).update(fullness_limit=1.0)
        services.measure_stores()
        assert not ErrorRecord.objects.filter(cleared_at=None).exists()

    def test_only_hosts_that_reach_it_measure(self, tmp_path: Path) -> None:
        store = make_store(tmp_path, hosts=["another-host"])
        assert services.measure_stores() == {"available": [], "away": []}
        with pytest.raises(Refused):
            services.measure_store(store)
        store.refresh_from_db()
        assert store.available

    def test_bad_configuration_does_not_stop_the_neighbours(self, tmp_path: Path) -> None:
        bad, good = make_store(tmp_path), make_store(tmp_path)
        Store.objects.filter(pk=bad.pk).update(configuration=[])
        assert services.measure_stores() == {"available": [good.name], "away": [bad.name]}

    def test_mount_that_does_not_answer_is_away(self, tmp_path: Path, hanging: threading.Event) -> None:
        store = make_store(tmp_path)
        for _ in range(2):  # the second look does not start another thread
            assert "does not answer" in services.measure_store(store, timeout_seconds=0.2).reason
        assert sum(thread.name.startswith("look-") for thread in threading.enumerate()) == 1
        hanging.set()
        for thread in threading.enumerate():
            if thread.name.startswith("look-"):
                thread.join(10)
        assert services.measure_store(store).available

    def test_readings_are_thinned_by_age(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        now = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)

        def read(age: timedelta) -> None:
            SpaceReading.objects.create(store=store, at=now - age, capacity_bytes=2, free_bytes=1)

        for minutes in range(0, 180, 10):
            read(timedelta(days=1, minutes=minutes))  # all kept: 18
            read(timedelta(days=30, minutes=minutes))  # 12:00 and back to 09:10: one in each of four hours
            read(timedelta(days=200, minutes=minutes))  # one day
        assert services.thin_space_readings(now=now) == {"removed": 54 - 18 - 4 - 1}
        assert services.thin_space_readings(now=now) == {"removed": 0}
        assert SpaceReading.objects.count() == 23
        oldest = SpaceReading.objects.order_by("at").first()
        assert oldest.at == now - timedelta(days=200, minutes=170)


@pytest.mark.django_db
class TestKeeping:
    def test_added_store_works_at_once_and_is_audited(self, tmp_path: Path) -> None:
        admin = make_user(level=Level.ADMIN)
        store = services.add_store(actor=admin, name="attic", configuration={"root": str(tmp_path / "new")})
        assert store.backend.check().available
        assert Store.objects.get().available
        entry = AuditEntry.objects.get(action="add_store")
        assert (entry.actor, entry.subject) == (admin, "store attic")
        assert entry.facts["configuration"]["root"] == str(tmp_path / "new")

    @pytest.mark.parametrize(
        ("fields", "error", "word"),
        [
            ({"name": "bad name"}, InvalidRequest, "Letters"),
            ({"configuration": {"root": "relative"}}, InvalidRequest, "absolute"),
            ({"configuration": {}}, InvalidRequest, "missing"),
            ({"fullness_limit": 2.0}, InvalidRequest, "fullness"),
            ({"hosts": [3]}, InvalidRequest, "hosts"),
            ({"available": True}, InvalidRequest, "cannot be set"),
        ],
    )
    def test_bad_fields_are_refused_with_the_reason(
        self, tmp_path: Path, fields: dict[str, object], error: type[Exception], word: str
    ) -> None:
        good = {"actor": None, "name": "attic", "configuration": {"root": str(tmp_path / "new")}}
        with pytest.raises(error, match=word):
            services.add_store(**{**good, **fields})
        assert not Store.objects.exists()
        assert not (tmp_path / "new").exists()

    def test_taken_name_and_overlapping_directories_are_refused(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        root = store.configuration["root"]
        for configuration in (
            {"root": root},
            {"root": f"{root}/below"},
            {"root": str(Path(root).parent)},
            {"root": str(tmp_path / "x"), "staging": store.configuration["staging"]},
        ):
            with pytest.raises(Conflict, match="overlap"):
                services.add_store(actor=None, name="second", configuration=configuration)
        with pytest.raises(Conflict, match="already"):
            services.add_store(actor=None, name=store.name, configuration={"root": str(tmp_path / "x")})

    def test_root_of_another_catalogue_is_refused_and_no_row_left(self, tmp_path: Path) -> None:
        first = services.add_store(actor=None, name="attic", configuration={"root": str(tmp_path / "r")})
        first.delete()
        with pytest.raises(Conflict, match="not ours"):
            services.add_store(actor=None, name="cellar", configuration={"root": str(tmp_path / "r")})
        assert not Store.objects.exists()
        assert not AuditEntry.objects.filter(subject="store cellar").exists()

    def test_a_fault_of_ours_leaves_no_row(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stumble(self: PosixBackend) -> None:
            raise ValueError("a mistake")

        monkeypatch.setattr(PosixBackend, "initialise", stumble)
        with pytest.raises(ValueError, match="a mistake"):
            services.add_store(actor=None, name="attic", configuration={"root": str(tmp_path / "r")})
        assert not Store.objects.exists()

    def test_switching_is_audited_once(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        for _ in range(2):
            services.set_store_enabled(store=store, enabled=False, actor=None)
        store.refresh_from_db()
        assert not store.enabled
        assert AuditEntry.objects.get().action == "switch_store_off"

    def test_editing_changes_and_audits_what_changed(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        services.edit_store(store=store, actor=None, fullness_limit=0.5, ingestable=True)
        store.refresh_from_db()
        assert store.fullness_limit == 0.5
        facts = AuditEntry.objects.get().facts
        assert facts == {"before": {"fullness_limit": 0.95}, "after": {"fullness_limit": 0.5}}
        with pytest.raises(InvalidRequest):
            services.edit_store(store=store, actor=None, fullness_limit=7)

    def test_root_moves_only_with_the_files(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        old = Path(store.configuration["root"])
        configuration = {**store.configuration, "root": str(tmp_path / "moved")}
        (tmp_path / "moved").mkdir()
        with pytest.raises(Conflict, match="does not carry its marker"):
            services.edit_store(store=store, actor=None, configuration=configuration)
        store.refresh_from_db()
        assert store.configuration["root"] == str(old)
        (tmp_path / "moved").rmdir()
        old.rename(tmp_path / "moved")
        services.edit_store(store=store, actor=None, configuration=configuration)
        assert Store.objects.get(pk=store.pk).available

    def test_new_staging_is_made(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        configuration = {**store.configuration, "staging": str(tmp_path / "new-staging")}
        services.edit_store(store=store, actor=None, configuration=configuration)
        assert (tmp_path / "new-staging").is_dir()

    def test_lost_marker_is_written_again_when_a_person_says_so(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        (Path(store.configuration["root"]) / ".librarian" / "store.json").unlink()
        assert not services.measure_store(store).available
        services.write_marker(store=store, actor=None)
        assert Store.objects.get(pk=store.pk).available


@pytest.mark.django_db
class TestTesting:
    def test_good_store_works_in_every_respect_and_keeps_nothing(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        findings = services.test_store(store)
        assert all(finding.works for finding in findings)
        assert [finding.subject for finding in findings][-1] == "staging"
        assert list(store.backend.list()) == []
        assert list(store.backend.list_staging()) == []

    def test_what_does_not_work_has_reason_and_remedy(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        Path(store.configuration["staging"]).rmdir()
        last = services.test_store(store)[-1]
        assert not last.works
        assert "staging" in last.reason
        assert last.remedy
        store.hosts = ["another-host"]
        assert "another-host" in services.test_store(store)[-1].reason
        store.configuration = {}
        assert not services.test_store(store)[0].works
