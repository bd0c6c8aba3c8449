"""A peer learns nothing of third sites here: its account brings bytes and speaks the wire protocol, no more."""

import pytest
from django.test import Client

from accounts.levels import Level
from accounts.models import User
from network.services import add_peer
from tests.asking import Api, basic
from tests.make import make_file, make_remote_instance, make_store, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def source():
    return make_user("source", level=Level.READAPPEND, kind=User.Kind.LIBRARIAN)


@pytest.mark.parametrize("what", ["peers/", "transfers/", "remote-instances/", "standing-orders/", "files/", "events/"])
def test_the_account_of_a_librarian_does_not_look_around(source, what):
    refusal = Api("source").refusal(what, 403)
    assert (refusal["code"], "another Librarian" in refusal["reason"]) == ("level_too_low", True)


def test_it_learns_which_site_this_is(source):
    assert Api("source").get("").status_code == 200


def test_its_search_tells_of_its_own_copies_alone(source, tmp_path):
    file = make_file(store=make_store(tmp_path))
    make_remote_instance(file, peer="source")
    make_remote_instance(file, peer="destination")
    make_user("ann")
    for who, heard in (("source", {"source"}), ("ann", {"source", "destination"})):
        answer = Client(headers={"Authorization": basic(who)}).post(
            "/api/v2/search/file", {"name": file.name}, content_type="application/json"
        )
        [found] = answer.json()
        assert {remote["librarian_name"] for remote in found["remote_instances"]} == heard
        assert len(found["instances"]) == 1


def test_an_account_that_bears_the_name_of_a_peer_is_that_of_a_librarian():
    for name, level in (("north", Level.CALLBACK), ("south", Level.ADMIN)):
        make_user(name, level=level)
        add_peer(actor=None, name=name, url="http://127.0.0.1", port=1, authenticator="a:b", check=False)
    kinds = dict(User.objects.values_list("username", "kind"))
    assert (kinds["north"], kinds["south"]) == (User.Kind.LIBRARIAN, User.Kind.PERSON)
