"""The name of a site that others know never changes; until then it may."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from librarian.common.errors import Misconfigured
from network.models import Peer
from network.services import add_peer
from tests.make import make_file, make_incoming, make_outgoing, make_remote_instance

pytestmark = pytest.mark.django_db


def add(name="north"):
    add_peer(actor=None, name=name, url="http://127.0.0.1", port=1, authenticator="a:b", check=False)


def check():
    call_command("check", tags=["database"], databases=["default"])


def test_the_first_peer_fixes_the_name(settings):
    settings.LIBRARIAN_NAME = "before"
    check()
    settings.LIBRARIAN_NAME = "here"
    add()
    check()
    settings.LIBRARIAN_NAME = "elsewhere"
    with pytest.raises(SystemCheckError, match=r"network\.E002"):
        check()
    with pytest.raises(Misconfigured, match="know this one as 'here'"):
        add("south")
    assert [peer.name for peer in Peer.objects.all()] == ["north"]


def test_what_others_confirmed_fixes_it_without_a_peer(settings):
    settings.LIBRARIAN_NAME = "here"
    add()
    Peer.objects.all().delete()
    settings.LIBRARIAN_NAME = "elsewhere"
    check()
    make_remote_instance(make_file())
    with pytest.raises(SystemCheckError, match=r"network\.E002"):
        check()


@pytest.mark.parametrize("make", [make_outgoing, make_incoming])
def test_a_transfer_fixes_it_without_a_peer(settings, make):
    settings.LIBRARIAN_NAME = "here"
    add()
    make()
    Peer.objects.all().delete()
    settings.LIBRARIAN_NAME = "elsewhere"
    with pytest.raises(SystemCheckError, match=r"network\.E002"):
        check()


def test_a_site_that_nobody_knows_any_more_may_take_another_name(settings):
    settings.LIBRARIAN_NAME = "here"
    add()
    Peer.objects.all().delete()
    settings.LIBRARIAN_NAME = "elsewhere"
    add()
    check()
    settings.LIBRARIAN_NAME = "here"
    with pytest.raises(SystemCheckError, match="know this one as 'elsewhere'"):
        check()


def test_keys_that_cannot_be_used_are_found_before_they_are_needed(settings):
    settings.LIBRARIAN_ENCRYPTION_KEYS = ["not a key"]
    with pytest.raises(SystemCheckError, match=r"network\.E001"):
        call_command("check")
