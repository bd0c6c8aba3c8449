"""Another encryption key: every secret gets it, none is lost on the way, and what cannot be read is named."""

import pytest
from django.core.management import CommandError, call_command

from librarian.common.keys import new_fernet_key
from librarian.common.models import AuditEntry
from network.models import Peer
from tests.make import make_peer

pytestmark = pytest.mark.django_db
OLD, NEW = new_fernet_key(), new_fernet_key()


@pytest.fixture
def peers(settings):
    settings.LIBRARIAN_ENCRYPTION_KEYS = [OLD]
    return [make_peer(name, authenticator=f"here:{name}") for name in ("north", "south")]


def rotate(capsys, *options):
    call_command("rotate_encryption_key", *options)
    return capsys.readouterr().out.strip()


def test_all_get_the_first_key_and_the_old_one_may_go(settings, peers, capsys):
    settings.LIBRARIAN_ENCRYPTION_KEYS = [NEW, OLD]
    assert rotate(capsys) == "2 encrypted with the first key, 0 were so already."
    settings.LIBRARIAN_ENCRYPTION_KEYS = [NEW]
    assert [peer.account().authenticator for peer in Peer.objects.order_by("pk")] == ["here:north", "here:south"]
    assert rotate(capsys) == "0 encrypted with the first key, 2 were so already."
    entry = AuditEntry.objects.filter(action="rotate_encryption_key").earliest("pk")
    assert entry.facts == {"changed": 2, "kept": 0, "unreadable": []}


def test_one_that_no_key_opens_is_named_and_left_and_the_rest_goes_on(settings, peers, capsys):
    lost = Peer.objects.get(name="north").sealed_authenticator
    settings.LIBRARIAN_ENCRYPTION_KEYS = [NEW]
    make_peer("west")
    with pytest.raises(CommandError, match="north, south") as failed:
        rotate(capsys)
    assert failed.value.returncode == 1
    assert Peer.objects.get(name="north").sealed_authenticator == lost
    assert "1 were so already" in capsys.readouterr().out


def test_keys_that_cannot_be_used_change_nothing(settings, peers, capsys):
    before = list(Peer.objects.order_by("pk").values_list("sealed_authenticator", flat=True))
    settings.LIBRARIAN_ENCRYPTION_KEYS = ["short", OLD]
    with pytest.raises(CommandError, match="no Fernet key"):
        rotate(capsys)
    assert list(Peer.objects.order_by("pk").values_list("sealed_authenticator", flat=True)) == before


def test_a_fresh_key_is_printed_and_nothing_is_changed(settings, peers, capsys):
    settings.LIBRARIAN_ENCRYPTION_KEYS = [rotate(capsys, "--new-key"), OLD]
    assert not AuditEntry.objects.exists()
    assert rotate(capsys).startswith("2 encrypted")


def test_a_secret_that_somebody_enters_meanwhile_is_not_overwritten(settings, peers, capsys, monkeypatch):
    from librarian.common import sealing
    from network.services.peering import keys

    settings.LIBRARIAN_ENCRYPTION_KEYS = [NEW, OLD]

    def just_then(sealed):
        fresh = sealing.reseal(sealed)
        Peer.objects.filter(sealed_authenticator=sealed).update(sealed_authenticator=sealing.seal("here:entered"))
        return fresh

    monkeypatch.setattr(keys, "reseal", just_then)
    rotate(capsys)
    assert {peer.account().authenticator for peer in Peer.objects.all()} == {"here:entered"}
