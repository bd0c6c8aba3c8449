"""`search/instance_remote` and `admin/instance/delete_remote`."""

import pytest

from files.models import FileEvent, RemoteInstance
from tests.make import make_file, make_peer, make_remote_instance

pytestmark = pytest.mark.django_db


@pytest.fixture
def search(wire):
    return lambda **body: wire.ok("search/instance_remote", body, user="admin")


def test_an_answer_as_in_the_reference(search, cast):
    file = make_file()
    remote = make_remote_instance(file, peer="destination_librarian", sender="source_librarian")
    found = search()
    assert found[0].pop("copy_time").startswith(remote.copied_at.isoformat()[:19])
    assert found == [
        {
            "librarian_name": "destination_librarian",
            "id": remote.pk,
            "file_name": file.name,
            "store_id": 1,
            "sender": "source_librarian",
        }
    ]


def test_every_condition_must_hold(search, cast, wire):
    peer = make_peer("north")
    one = make_remote_instance(make_file("one.uvh5"), peer="north", peer_store_id=3)
    two = make_remote_instance(make_file("two.uvh5"), peer="removed", sender="me")
    for condition, expected in [
        ({"id": one.pk}, [one]),
        ({"file_name": "d/two.uvh5"}, [two]),
        ({"store_id": 3}, [one]),
        ({"librarian_id": peer.pk}, [one]),
        ({"copy_time": two.copied_at.isoformat()}, [two]),
        ({"sender": "me"}, [two]),
        ({"max_results": 1}, [two]),
        ({}, [two, one]),
    ]:
        assert [each["id"] for each in search(**condition)] == [each.pk for each in expected], condition
    for nothing in ({"id": 999}, {"librarian_id": 999}, {"sender": "me", "store_id": 3}, {"max_results": 0}):
        status, answer = wire.refused("search/instance_remote", nothing, user="admin")
        assert (status, answer["reason"]) == (404, "No instances found.")


def test_a_copy_is_forgotten_with_a_line_in_its_history(wire, cast):
    remote = make_remote_instance(make_file())
    body = {"instance_id": remote.pk, "delete_file": False}
    assert wire.ok("admin/instance/delete_remote", body, user="admin") == {"success": True, "instance_id": remote.pk}
    assert not RemoteInstance.objects.exists()
    assert FileEvent.objects.filter(file=remote.file, type="remote_copy_dropped").exists()
    status, answer = wire.refused("admin/instance/delete_remote", body, user="admin")
    assert (status, answer["success"], answer["instance_id"]) == (400, False, remote.pk)
    assert answer["reason"].startswith("Instance does not exist")
