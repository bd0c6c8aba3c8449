"""Stores of each kind in the staff admin: only the fields of the chosen kind count, and each says what is wrong."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.levels import Level
from librarian.common.findings import Finding
from stores.models import Store
from tests.make import make_store, make_user

pytestmark = pytest.mark.django_db
ADD = reverse("admin:stores_store_add")
ELSEWHERE = {"hosts": "another-host"}  # so that nothing is called while the row is saved


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user(level=Level.ADMIN), backend="django.contrib.auth.backends.ModelBackend")
    return client


def typed(kind: str, **fields: str) -> dict[str, str]:
    return {"name": "attic", "kind": kind, "enabled": "on", "fullness_limit": "0.9", **ELSEWHERE, **fields}


def errors_of(answer) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(errors) for name, errors in answer.context["adminform"].form.errors.items()}


def test_every_kind_has_its_labelled_fields(staff: Client) -> None:
    page = staff.get(ADD).content.decode()
    for kind in Store.Kind:
        assert f"kind-{kind.value}" in page
        assert f"Kind {kind.value}: {kind.label}" in page
    for name in ("root", "ssh__host", "ssh__node_ssh_config", "s3__bucket", "s3__spool"):
        assert f'name="{name}"' in page
    assert "<script>" not in page


def test_a_store_on_another_machine_is_added(staff: Client) -> None:
    fields = typed("ssh", ssh__host="archive@node1", ssh__root="/data/archive", ssh__python="python3.11")
    # fields of other kinds count for nothing, though a browser without our style shows them
    answer = staff.post(ADD, {**fields, "root": "not even a path", "s3__bucket": "x", "ssh_host": "node1.example"})
    assert answer.status_code == 302, errors_of(answer)
    store = Store.objects.get()
    assert store.configuration == {"host": "archive@node1", "root": "/data/archive", "python": "python3.11"}
    assert (store.kind, store.ssh_host) == ("ssh", "node1.example")


def test_a_bucket_is_added(staff: Client) -> None:
    fields = typed("s3", s3__bucket="archive", s3__prefix="hera", s3__spool="/data/spool")
    answer = staff.post(ADD, {**fields, "s3__endpoint_url": "https://s3.example.org", "s3__profile": "hera"})
    assert answer.status_code == 302, errors_of(answer)
    assert Store.objects.get().configuration == {
        "bucket": "archive",
        "prefix": "hera",
        "endpoint_url": "https://s3.example.org",
        "profile": "hera",
        "spool": "/data/spool",
    }


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("posix", {"root": "relative"}, "root"),
        ("posix", {"root": "/data/a", "staging": "relative"}, "staging"),
        ("ssh", {"ssh__root": "/data/a"}, "ssh__host"),
        ("ssh", {"ssh__host": "node1", "ssh__root": "relative"}, "ssh__root"),
        ("s3", {"s3__bucket": "archive"}, "s3__spool"),
        ("s3", {"s3__spool": "/data/spool"}, "s3__bucket"),
    ],
)
def test_what_is_wrong_stands_at_its_field(staff: Client, kind: str, fields: dict[str, str], field: str) -> None:
    assert list(errors_of(staff.post(ADD, typed(kind, **fields)))) == [field]
    assert not Store.objects.exists()


def test_only_fields_of_its_kind_are_shown_of_a_store_that_is(staff: Client) -> None:
    Store.objects.create(name="node", kind="ssh", configuration={"host": "node1", "root": "/data/a"}, hosts=["x"])
    page = staff.get(reverse("admin:stores_store_change", args=[Store.objects.get().pk])).content.decode()
    assert 'value="node1"' in page
    assert 'value="/data/a"' in page
    assert 'name="root"' not in page
    assert 'name="s3__bucket"' not in page


@pytest.mark.parametrize("kind", Store.Kind.values)
def test_each_kind_is_tried_by_the_service(staff: Client, tmp_path, monkeypatch, kind: str) -> None:
    """The page tells what the service finds; what that looks at is tested with the service."""
    from stores import services

    store = make_store(tmp_path)
    Store.objects.filter(pk=store.pk).update(kind=kind)
    found = [Finding(True, "reach"), Finding(False, "ssh login", "the key is refused", "Enter our key there.")]
    monkeypatch.setattr(services, "test_store", lambda given: found if given.pk == store.pk else [])
    action = {"action": "test_stores", "_selected_action": [store.pk]}
    answer = staff.post(reverse("admin:stores_store_changelist"), action, follow=True)
    told = [str(message) for message in answer.context["messages"]]
    assert told == [
        f"Store {store.name} works: reach",
        f"Store {store.name} FAILS: ssh login - the key is refused. Enter our key there.",
    ]


def test_the_list_shows_kind_and_address_without_secrets(staff: Client) -> None:
    configuration = {"bucket": "archive", "endpoint_url": "https://key:secret@s3.example.org", "spool": "/data/spool"}
    Store.objects.create(name="cloud", kind="s3", configuration=configuration)
    page = staff.get(reverse("admin:stores_store_changelist")).content.decode()
    assert "s3://archive at https://s3.example.org" in page
    assert "secret" not in page
