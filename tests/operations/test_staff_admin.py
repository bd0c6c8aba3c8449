"""Every page of the staff admin opens, in every state of its rows; its frame is the site's."""

import re

import pytest
from django.contrib import admin
from django.urls import reverse

from accounts.levels import Level
from accounts.services import issue_token
from files.models import CorruptInstance, Observation, ObservingSession, WatchedPath, WatchFolder
from librarian.common.audit import record_act
from librarian.common.inbox import report_error
from librarian.common.models import AuditEntry
from librarian.common.timetable import sync_schedules
from tests.make import make_file, make_instance, make_remote_instance, make_store, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return make_user("ada", level=Level.ADMIN)


@pytest.fixture
def staff(client, ada):
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def rows(ada, tmp_path):
    """One row and more of what a site has after its first night."""
    issue_token(actor=ada, user=ada, name="notebook", level=Level.READONLY, expires_at=None)
    file = make_file()
    bad = make_instance(file, make_store(tmp_path))
    make_remote_instance(file)
    CorruptInstance.objects.create(
        file=file, instance=bad, expected_digest=file.digest, expected_size_bytes=file.size_bytes
    )
    night = ObservingSession.objects.create(id=1_285_000_000, start_jd=2459122.1, stop_jd=2459122.6)
    Observation.objects.create(
        obsid=night.pk, start_jd=night.start_jd, stop_jd=2459122.2, start_lst_hours=2.5, session=night
    )
    folder = WatchFolder.objects.create(path=str(tmp_path))
    WatchedPath.objects.create(folder=folder, name="a.txt", state=WatchedPath.State.GROWING)
    report_error(severity="error", category="configuration", code="invalid_request", message="Something is wrong.")
    record_act(actor=ada, action="look", subject="everything")
    sync_schedules()
    return folder


def pages():
    return [model._meta for model in admin.site._registry]


@pytest.mark.parametrize("meta", pages(), ids=str)
def test_every_page_opens(staff, rows, meta):
    name = f"admin:{meta.app_label}_{meta.model_name}"
    assert staff.get(reverse(f"{name}_changelist")).status_code == 200
    assert staff.get(reverse(f"{name}_add")).status_code in (200, 403)
    for row in meta.default_manager.all()[:2]:
        assert staff.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
        assert staff.get(reverse(f"{name}_delete", args=[row.pk])).status_code in (200, 403)


def test_times_are_utc_and_say_so(staff, rows):
    page = staff.get(reverse("admin:common_auditentry_changelist")).content.decode()
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", page)


def test_the_frame_names_the_site_and_asks_for_nothing_that_is_not_there(staff, settings):
    page = staff.get("/admin/").content.decode()
    assert f"{settings.LIBRARIAN_NAME} · staff admin" in page
    assert 'rel="icon"' in page


def test_the_way_to_another_password_is_the_recorded_one(staff):
    assert staff.get("/admin/password_change/").url == reverse("change-password")
    answer = staff.post("/admin/password_change/", {"new_password1": "a long sentence 77"})
    assert answer.url == reverse("change-password")


def test_a_watch_folder_goes_with_the_notes_of_its_entries(staff, rows):
    page = reverse("admin:files_watchfolder_delete", args=[rows.pk])
    assert b"permission" not in staff.get(page).content
    staff.post(page, {"post": "yes"}, REMOTE_ADDR="10.0.0.9")
    assert not WatchedPath.objects.exists()
    entry = AuditEntry.objects.get(action="delete_watch_folder")
    assert (entry.actor_name, entry.subject, entry.address) == ("ada", rows.path, "10.0.0.9")
