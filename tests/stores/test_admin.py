"""Stores in the staff admin: what a person does there, through the real pages."""

from pathlib import Path

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.levels import Level
from accounts.models import User
from librarian.common.models import AuditEntry
from stores.models import Store
from tests.make import make_store, make_user

pytestmark = pytest.mark.django_db
LIST, ADD = reverse("admin:stores_store_changelist"), reverse("admin:stores_store_add")


@pytest.fixture
def admin() -> User:
    return make_user(level=Level.ADMIN)


@pytest.fixture
def staff(client: Client, admin: User) -> Client:
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    return client


def typed(**fields: object) -> dict[str, object]:
    return {"kind": "posix", "enabled": "on", "ingestable": "on", "fullness_limit": "0.9", "hosts": "", **fields}


def act(staff: Client, action: str, *stores: Store) -> list[str]:
    answer = staff.post(LIST, {"action": action, "_selected_action": [store.pk for store in stores]}, follow=True)
    assert answer.status_code == 200
    return [str(message) for message in get_messages(answer.wsgi_request)] or [
        str(message) for message in answer.context["messages"]
    ]


def test_pages_are_shown(staff: Client, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert store.name in staff.get(LIST).content.decode()
    assert 'name="root"' in staff.get(ADD).content.decode()
    page = staff.get(reverse("admin:stores_store_change", args=[store.pk])).content.decode()
    assert store.configuration["root"] in page
    assert str(store.marker) in page
    assert 'name="available"' not in page
    assert staff.get(reverse("admin:stores_spacereading_changelist")).status_code == 200


def test_store_is_added_with_its_marker_and_audited(staff: Client, admin: User, tmp_path: Path) -> None:
    answer = staff.post(ADD, typed(name="attic", root=str(tmp_path / "attic"), providers="local, rsync"))
    assert answer.status_code == 302, answer.context["errors"]
    store = Store.objects.get()
    assert store.available
    assert (store.configuration, store.providers, store.hosts) == (
        {"root": str(tmp_path / "attic")},
        ["local", "rsync"],
        [],
    )
    assert AuditEntry.objects.get(action="add_store").actor == admin


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"root": "relative"}, "must be an absolute path"),
        ({"root": ""}, "required"),
        ({"staging": "relative"}, "must be an absolute path"),
        ({"name": "bad name"}, "Letters, digits"),
        ({"fullness_limit": "7"}, "less than or equal"),
        ({"root": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
def test_what_is_wrong_stands_beside_what_was_typed(
    staff: Client, tmp_path: Path, fields: dict[str, str], words: str
) -> None:
    answer = staff.post(ADD, typed(**{"name": "attic", "root": str(tmp_path / "attic"), **fields}))
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Store.objects.exists()
    assert not AuditEntry.objects.filter(action="add_store").exists()


def test_taken_directory_is_refused(staff: Client, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    answer = staff.post(ADD, typed(name="second", root=store.configuration["root"]))
    assert "overlap" in answer.content.decode()
    assert Store.objects.count() == 1


def test_store_is_edited(staff: Client, admin: User, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    url = reverse("admin:stores_store_change", args=[store.pk])
    fields = typed(name=store.name, **store.configuration, marker="0" * 32, available="")
    assert staff.post(url, {**fields, "fullness_limit": "0.5"}).status_code == 302
    edited = Store.objects.get()
    assert edited.fullness_limit == 0.5
    assert (edited.marker, edited.configuration) == (store.marker, store.configuration)
    assert AuditEntry.objects.get(action="edit_store").facts["after"]["fullness_limit"] == 0.5
    answer = staff.post(url, {**fields, "root": str(tmp_path / "elsewhere")})
    assert answer.status_code == 200
    assert Store.objects.get().configuration == store.configuration


def test_actions_do_what_they_say(staff: Client, admin: User, tmp_path: Path) -> None:
    store, away = make_store(tmp_path), make_store(tmp_path)
    (Path(away.configuration["root"]) / ".librarian" / "store.json").unlink()
    assert "is switched off" in act(staff, "switch_off", store)[0]
    assert not Store.objects.get(pk=store.pk).enabled
    act(staff, "switch_on", store)
    assert Store.objects.get(pk=store.pk).enabled
    assert AuditEntry.objects.filter(actor=admin, action__startswith="switch_store").count() == 2
    told = act(staff, "test_stores", store, away)
    assert any("FAILS" in text and "marker" in text for text in told)
    assert any(f"{store.name} works: staging" in text for text in told)
    told = act(staff, "measure_now", store, away)
    assert any("is not available" in text for text in told)
    act(staff, "write_markers", away)
    assert Store.objects.get(pk=away.pk).available


def test_nobody_deletes_a_store_here(staff: Client, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert staff.post(reverse("admin:stores_store_delete", args=[store.pk]), {"post": "yes"}).status_code == 403
    assert Store.objects.exists()


def test_staff_only(client: Client, tmp_path: Path) -> None:
    client.force_login(make_user(level=Level.READWRITE), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(LIST).status_code in (302, 403)
    assert client.post(ADD, typed(name="x", root=str(tmp_path / "x"))).status_code in (302, 403)
    assert not Store.objects.exists()
