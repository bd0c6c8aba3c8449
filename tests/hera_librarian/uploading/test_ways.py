"""Over the disk where it is shared, over HTTP where it is not."""

import socket

import pytest

from hera_librarian.exceptions import LibrarianError
from hera_librarian.uploading import upload_many, upload_path
from hera_librarian.uploading.ways import is_seen_here

HERE = socket.gethostname()
OPEN = {"ingestable": True, "enabled": True, "available": True}


@pytest.mark.database_independent
@pytest.mark.parametrize(
    ("store", "site_host", "seen"),
    [
        ({**OPEN, "hosts": [HERE]}, "elsewhere", True),
        ({**OPEN, "hosts": ["elsewhere"]}, HERE, False),
        ({**OPEN, "hosts": []}, HERE, True),
        ({**OPEN, "hosts": []}, "elsewhere", False),
        ({**OPEN, "hosts": []}, "", False),
        ({**OPEN, "hosts": [HERE], "available": False}, HERE, False),
        ({**OPEN, "hosts": [HERE], "ingestable": False}, HERE, False),
    ],
)
def test_a_store_is_seen_from_the_hosts_that_it_names_and_else_from_the_sites_own(store, site_host, seen):
    assert is_seen_here(store, site_host) is seen


def test_the_disk_is_taken_where_it_is_shared(client, proxy, client_of, make_bytes, held, memory):
    path, told = make_bytes("a", 3 * 2**20), []
    result = upload_path(client_of(proxy), path, path.name, memory=memory, progress=told.append)
    assert (result.outcome, result.way) == ("new", "disk")
    assert held(path.name) == path.read_bytes()
    assert sum(told) == path.stat().st_size
    assert proxy.sent < 20_000
    assert upload_path(client, path, path.name, memory=memory, way="disk").outcome == "already here"


def test_small_ones_travel_together_even_then(client, tmp_path, memory):
    items = []
    for number in range(3):
        (tmp_path / f"disk-{number}").write_bytes(b"small")
        items.append((tmp_path / f"disk-{number}", f"disk-{number}"))
    assert {result.way for result in upload_many(client, items, memory=memory)} == {"http"}


def test_an_obsid_takes_the_way_that_has_a_field_for_it(client, make_bytes, memory):
    path = make_bytes("a", 10)
    assert upload_path(client, path, path.name, memory=memory, obsid=1479168018).way == "http"
    with pytest.raises(LibrarianError, match="obsid"):
        upload_path(client, path, path.name, memory=memory, obsid=1479168018, way="disk")


def test_a_disk_that_cannot_be_written_after_all_is_no_obstacle(client, make_bytes, memory, monkeypatch):
    path = make_bytes("a", 10)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert upload_path(client, path, path.name, memory=memory).way == "http"
    refused = upload_path(client, path, path.name, memory=memory, way="disk")
    assert refused.ok or refused.code == "no_shared_disk"


def test_a_site_elsewhere_gets_its_bytes_over_http(start_site, client_of, make_bytes, memory):
    site = start_site("far", LIBRARIAN_HOST_NAME="elsewhere")
    path = make_bytes("a", 10)
    assert upload_path(client_of(site), path, path.name, memory=memory).way == "http"
