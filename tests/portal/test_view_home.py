"""Home: is the night safe?"""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from files.models import CorruptInstance, Presence
from librarian.common.inbox import report_error
from librarian.common.models import ErrorRecord, JobRun, JobSetting
from librarian.common.timetable import sync_schedules
from librarian.dashboard.queries import ingest_chart, ingest_days, open_errors
from stores.models import Store
from tests.make import make_file, make_store, make_user
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def quiet(store):
    """A site on which everything is well."""
    make_file("zen.1", store=store)
    run_job("heartbeat")


def run_job(name, *, ago=timedelta(seconds=20)):
    started = timezone.now() - ago
    return JobRun.objects.create(
        job=name, cluster="default", trigger="schedule", outcome="succeeded", started_at=started, finished_at=started
    )


def test_a_quiet_night_is_safe(reader, quiet):
    words = words_of(reader.get("/"))
    assert "The night is safe." in words
    assert "act now" not in words


def test_a_store_that_is_away_is_the_reason(reader, quiet, store, tmp_path):
    make_store(tmp_path, name="pot2", available=False, availability_reason="/pot2 is not mounted.")
    page = reader.get("/")
    assert "The night is not safe: 1 thing needs somebody." in words_of(page)
    assert "The store pot2 is away: /pot2 is not mounted." in words_of(page)
    assert "/stores/pot2/" in links_of(page)


def test_a_store_that_is_switched_off_is_no_trouble_while_another_takes_files(reader, quiet, tmp_path):
    make_store(tmp_path, name="pot2", enabled=False, available=False)
    assert "The night is safe." in words_of(reader.get("/"))


def test_no_store_that_takes_files_is_the_reason(reader, quiet):
    Store.objects.update(ingestable=False)
    assert "No store takes new files" in words_of(reader.get("/"))


def test_full_stores_are_the_reason(reader, quiet, tmp_path):
    make_store(tmp_path, name="pot2", free_bytes=10**9)
    assert "The store pot2 is full." in words_of(reader.get("/"))
    assert "with 1 thing to watch" in words_of(reader.get("/"))
    Store.objects.update(free_bytes=0)
    assert "Every store that takes files is at its fullness limit." in words_of(reader.get("/"))


def test_open_errors_are_the_reason(reader, quiet):
    report_error(severity="warning", category="transfer", code="slow", message="A <b>slow</b> link.")
    assert "The night is safe, with 1 thing to watch." in words_of(reader.get("/"))
    report_error(severity="critical", category="data_integrity", code="bad", message="Two bits are wrong.")
    page = words_of(reader.get("/"))
    assert "1 error is open." in page
    assert "Two bits are wrong." in page
    assert "A <b>slow</b> link." in page


def test_a_known_bad_copy_is_the_reason(reader, quiet, store):
    file = make_file("zen.2", store=store, instance={"presence": Presence.SET_ASIDE})
    CorruptInstance.objects.create(
        file=file, instance=file.instances.get(), expected_digest=file.digest, expected_size_bytes=file.size_bytes
    )
    page = reader.get("/")
    assert "1 copy on our stores is known to be bad." in words_of(page)
    (look,) = [link for link in links_of(page) if "presence=" in link]
    assert "/file/zen.2" in links_of(reader.get(look))


def test_jobs_that_did_not_run_are_the_reason(reader, quiet):
    sync_schedules()
    long_ago = timezone.now() - timedelta(days=3)
    JobSetting.objects.update(changed_at=long_ago)
    JobSetting.objects.exclude(job="measure_stores").update(enabled=False)
    run_job("measure_stores", ago=timedelta(days=2))
    assert "The job measure_stores did not run; it was due" in words_of(reader.get("/"))
    JobRun.objects.all().delete()
    assert "No job has ever run" in words_of(reader.get("/"))


def test_days_are_days_in_utc_and_empty_ones_are_there(store):
    now = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
    for hours in (0.25, 1, 24.4, 24.6, 24 * 20):
        make_file(f"zen.{hours}", content=b"12345", registered_at=now - timedelta(hours=hours))
    days = ingest_days(now)
    assert len(days) == 14
    assert [(day.day.day, day.file_count, day.size_bytes) for day in days[-3:]] == [(18, 1, 5), (19, 2, 10), (20, 1, 5)]
    assert days[-1].is_today
    chart = ingest_chart(days)
    assert chart["unit"] == "B"
    heights = [float(bar.height.rstrip("%")) for _, bar in chart["bars"]]
    assert heights.count(0.0) == 11
    assert heights[-2] == pytest.approx(2 * heights[-1])


def test_the_chart_is_drawn_without_inline_style(reader, quiet):
    tags = read(reader.get("/")).tags
    assert not [attributes for _, attributes in tags if "style" in attributes or "onclick" in attributes]
    assert len([attributes for tag, attributes in tags if "chart__bar" in attributes.get("class", "")]) >= 14


def test_a_new_site_says_what_to_do_first(reader):
    words = words_of(reader.get("/"))
    for command in ("manage.py add_store", "manage.py add_user", "manage.py ingest"):
        assert command in words or command == "manage.py add_user"
    assert "People can log in" in words  # the cast of the tests


def test_a_new_site_ticks_off_what_is_done(client, tmp_path):
    admin = make_user("admin", level=100)
    client.force_login(admin)
    assert "Add a person" in words_of(client.get("/"))
    make_store(tmp_path)
    make_user("ada")
    words = words_of(client.get("/"))
    assert "A store takes files" in words
    assert "People can log in" in words
    make_file("zen.1")
    assert "Taken in, last 14 days" in words_of(client.get("/"))


def test_the_number_of_queries_is_bounded(reader, quiet, tmp_path):
    sync_schedules()
    for number in range(5):
        make_store(tmp_path, name=f"more{number}")
        make_file(f"zen.more.{number}")
        report_error(severity="error", category="transfer", code=f"code{number}", message="x")
    _, queries = queries_of(lambda: reader.get("/"))
    # One a job for the overdue ones, 3 for peers, orders and transfers, and 14 for everything else.
    assert len(queries) <= 17 + JobSetting.objects.count(), queries


def test_the_worst_error_is_shown_however_many_lighter_ones_are_newer(reader, quiet):
    for number in range(60):
        report_error(severity="warning", category="transfer", code="slow_disk", message="m", target=str(number))
    ErrorRecord.objects.update(last_raised_at=timezone.now() + timedelta(hours=1))
    report_error(severity="critical", category="data_integrity", code="history_changed", message="m")
    assert open_errors()[0].code == "history_changed"
