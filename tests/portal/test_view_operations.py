"""Errors, jobs and stores as people see them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from librarian.common.inbox import clear_error, report_error
from librarian.common.models import AuditEntry, JobRun, JobSetting
from librarian.common.timetable import sync_schedules
from stores.models import SpaceReading
from tests.make import make_file, make_store
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def trouble():
    return report_error(
        severity="error",
        category="data_availability",
        code="store_unavailable",
        message="The store <script>alert(1)</script> is away.",
        remedy="Mount it.",
        caller="job:measure_stores",
    )


def test_the_inbox_shows_what_is_open(reader, trouble):
    old = report_error(severity="info", category="transfer", code="old_news", message="Long gone.")
    clear_error(error=old, cleared_by="ada")
    words = words_of(reader.get("/errors/"))
    assert trouble.message in words
    assert "Mount it." in words
    assert "Long gone." not in words
    assert "Long gone." in words_of(reader.get("/errors/?open=false"))
    assert "No trouble is like that" in words_of(reader.get("/errors/?severity=critical"))


def test_a_filter_that_makes_no_sense_is_explained(reader, trouble):
    page = reader.get("/errors/?severity=purple")
    assert page.status_code == 400
    assert "is not one of critical, error, warning, info" in words_of(page)


def test_one_trouble_says_what_mends_it_and_leads_to_its_job(reader, trouble):
    page = reader.get(f"/errors/{trouble.pk}/")
    assert "Mount it." in words_of(page)
    assert "/jobs/measure_stores/" in links_of(page)
    assert "Clearing it needs level read and write." in words_of(page)
    assert reader.get("/errors/999/").status_code == 404


@pytest.mark.parametrize("level", ["readonly", "callback", "readappend"])
def test_clearing_needs_readwrite(as_user, trouble, level):
    answer = as_user(level).post(f"/errors/{trouble.pk}/clear")
    assert answer.status_code == 403
    trouble.refresh_from_db()
    assert trouble.cleared_at is None


@pytest.mark.parametrize("level", ["readwrite", "admin"])
def test_clearing_is_done_once_and_audited(as_user, trouble, level):
    browser = as_user(level)
    assert "Clear" in words_of(browser.get(f"/errors/{trouble.pk}/"))
    assert browser.get(f"/errors/{trouble.pk}/clear").status_code == 405
    for _ in range(2):
        answer = browser.post(f"/errors/{trouble.pk}/clear", {"next": "//evil.org/"})
        assert answer.url == "/errors/"
    trouble.refresh_from_db()
    assert trouble.cleared_by == level
    assert AuditEntry.objects.filter(action="clear_error", actor_name=level).count() == 1


def test_jobs_tell_cadence_outcome_and_what_is_overdue(reader):
    sync_schedules()
    JobSetting.objects.update(changed_at=timezone.now() - timedelta(days=3))
    started = timezone.now() - timedelta(days=2)
    JobRun.objects.create(
        job="measure_stores",
        trigger="schedule",
        outcome="failed",
        started_at=started,
        finished_at=started,
        error="<b>no</b>",
    )
    page = reader.get("/jobs/")
    words = words_of(page)
    assert "measure stores" in words
    assert "overdue" in words
    assert "failed" in words
    assert "5 min" in words
    runs = words_of(reader.get("/jobs/measure_stores/"))
    assert "<b>no</b>" in runs
    assert "Runs on record: 1" in runs
    assert reader.get("/jobs/nosuch/").status_code == 404


def test_the_number_of_queries_of_jobs_is_bounded(reader):
    sync_schedules()
    _, queries = queries_of(lambda: reader.get("/jobs/"))
    assert len(queries) <= 12 + JobSetting.objects.count(), queries


def test_a_store_says_why_it_is_away_and_what_mends_it(reader, tmp_path):
    make_store(tmp_path, name="pot2", available=False, availability_reason="/pot2 is not mounted.", hosts=["qmaster"])
    assert "/pot2 is not mounted." in words_of(reader.get("/stores/"))
    words = words_of(reader.get("/stores/pot2/"))
    assert "/pot2 is not mounted." in words
    assert "Mount the store" in words
    assert "qmaster" in words
    assert reader.get("/stores/nosuch/").status_code == 404


def test_a_store_shows_its_fullness_and_how_it_grew(reader, store):
    for hours in range(30):
        SpaceReading.objects.create(
            store=store,
            at=timezone.now() - timedelta(hours=hours),
            capacity_bytes=10**12,
            free_bytes=9 * 10**11 + hours * 10**9,
        )
    page = reader.get("/stores/pot1/")
    assert "10 %" in words_of(page)
    assert "29.0 GB more" in words_of(page)
    (line,) = [attributes["points"] for tag, attributes in read(page).tags if tag == "polyline"]
    assert len(line.split()) == 30


def test_the_number_of_queries_of_a_store_does_not_grow(reader, store):
    for number in range(2):
        make_file(f"zen.{number}", store=store)
    _, few = queries_of(lambda: reader.get("/stores/pot1/"))
    for number in range(2, 12):
        make_file(f"zen.{number}", store=store)
    _, many = queries_of(lambda: reader.get("/stores/pot1/"))
    # store, readings, copies, their sum; copies to it and how many, stores by name, offload, trips
    assert len(many) == len(few) <= 9, many
