"""Where a copy can be fetched from, by the address that the server tells."""

import pytest

from hera_librarian.finding.places import host_and_path


@pytest.mark.parametrize(
    ("location", "names", "found"),
    [
        ("/data/a b", ("", "web1", "site.example.org"), ("web1", "/data/a b")),
        ("/data/a:b", ("rsync.example.org", "web1"), ("rsync.example.org", "/data/a:b")),
        ("hpot1:/data/a:b", ("", "web1"), ("hpot1", "/data/a:b")),
        ("me@hpot1:/data/a", ("hpot1.example.org", "web1"), ("hpot1.example.org", "/data/a")),
        ("s3://night/2457561/a", ("rsync.example.org", "web1"), ("", "s3://night/2457561/a")),
    ],
)
def test_an_address_tells_its_machine_where_it_has_one(location, names, found):
    assert host_and_path(location, *names) == found
