"""How files go to a peer: nothing goes into command lines and paths that could mean something else there."""

import pytest

from librarian.common.errors import Conflict, InvalidRequest
from librarian.common.models import AuditEntry
from network.models import Peer
from network.services import set_sending_options
from tests.make import make_peer

pytestmark = pytest.mark.django_db


def set_options(peer, **changes):
    return set_sending_options(peer=peer, actor=None, **changes)


def test_everything_is_kept_and_audited_and_resting_providers_wake(tmp_path):
    peer = make_peer(provider_rests={"rsync": {"until": "2100-01-01", "reason": "No such host."}})
    given = {
        "provider_order": ["globus", "http", "local"],
        "ssh_hosts": ["data.example.org", "me@fe80::1", "store_2"],
        "globus_endpoints": ["0f0e0d0c-1111-4222-8333-444455556666"],
        "shared_directories": [f"{tmp_path}/"],
        "batch_files": 10,
        "files_per_run": 100,
        "batches_in_flight": 2,
        "rate_limit_bytes_per_second": 1_000_000,
    }
    assert set_options(peer, **given)
    kept = Peer.objects.values(*given).get()
    assert kept == {**given, "shared_directories": [str(tmp_path)]}
    assert Peer.objects.get().provider_rests == {}
    facts = AuditEntry.objects.get(action="edit_sending").facts
    assert facts["before"]["batch_files"] == 256
    assert facts["after"]["ssh_hosts"] == given["ssh_hosts"]
    assert not set_options(peer, **given)
    assert AuditEntry.objects.count() == 1
    assert set_options(peer, rate_limit_bytes_per_second=None)


def test_an_amount_leaves_a_resting_provider_alone():
    peer = make_peer(provider_rests={"rsync": {"until": "2100-01-01"}})
    set_options(peer, batch_files=5)
    assert Peer.objects.get().provider_rests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provider_order", ["teleport"]),
        ("provider_order", ["http", "http"]),
        ("provider_order", "http"),
        ("ssh_hosts", ["-oProxyCommand=reboot"]),
        ("ssh_hosts", ["a b"]),
        ("ssh_hosts", ["a;b"]),
        ("ssh_hosts", ["a\nb"]),
        ("ssh_hosts", ["$(id)"]),
        ("ssh_hosts", [""]),
        ("ssh_hosts", [7]),
        ("globus_endpoints", ["my collection"]),
        ("globus_endpoints", ["0f0e0d0c-1111-4222-8333-444455556666/"]),
        ("globus_endpoints", [5]),
        ("shared_directories", ["relative"]),
        ("shared_directories", ["/"]),
        ("shared_directories", ["/tmp/../etc"]),
        ("shared_directories", ["/no/such/directory"]),
        ("shared_directories", ["/etc/passwd"]),
        ("batch_files", 0),
        ("batch_files", 10_001),
        ("files_per_run", -1),
        ("batches_in_flight", True),
        ("batches_in_flight", 2**31),
        ("rate_limit_bytes_per_second", 0),
        ("rate_limit_bytes_per_second", 2**63),
        ("name", "south"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(name, value):
    peer = make_peer()
    before = Peer.objects.values().get()
    with pytest.raises(InvalidRequest):
        set_options(peer, **{"files_per_run": 5, name: value})
    assert Peer.objects.values().get() == before
    assert not AuditEntry.objects.exists()


def test_a_peer_that_was_removed_meanwhile_is_said_to_be():
    peer = make_peer()
    Peer.objects.all().delete()
    with pytest.raises(Conflict):
        set_options(peer, batch_files=5)
