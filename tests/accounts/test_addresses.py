"""Which address a request comes from: past our own proxies, and never where the client says."""

import pytest
from django.core.checks import run_checks
from django.test import RequestFactory

from accounts.addresses import client_address

pytestmark = pytest.mark.database_independent


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "expected"),
    [
        ([], "203.0.113.5", "", "203.0.113.5"),
        ([], "203.0.113.5", "10.9.9.9", "203.0.113.5"),  # nobody is trusted: the header is the client's own word
        (["127.0.0.1"], "203.0.113.5", "10.9.9.9", "203.0.113.5"),  # a stranger is no proxy
        (["127.0.0.1"], "127.0.0.1", "198.51.100.7", "198.51.100.7"),
        (["127.0.0.1"], "127.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the left part may be forged
        (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", "1.1.1.1, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.2", "10.0.0.9, 10.0.0.3", "10.0.0.9"),  # all of them ours
        (["127.0.0.1"], "127.0.0.1", "", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "not an address", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        (["::1"], "::1", "[2001:db8::7]:4711", "2001:db8::7"),
        (["127.0.0.1"], "::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ([], "", "", None),
        ([], "", "198.51.100.7", None),
        (["unix"], "", "198.51.100.7", "198.51.100.7"),
        ([], "fe80::1%eth0", "", "fe80::1"),
    ],
)
def test_address_of_a_request(settings, proxies, peer, forwarded, expected):
    settings.LIBRARIAN_TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == expected


def test_a_proxy_that_is_no_address_is_named_before_the_site_runs(settings):
    settings.LIBRARIAN_TRUSTED_PROXIES = ["127.0.0.1", "nginx"]
    found = [error for error in run_checks() if error.id == "accounts.E001"]
    assert "nginx" in found[0].msg
    settings.LIBRARIAN_TRUSTED_PROXIES = ["127.0.0.1", " 10.0.0.0/8", "unix", ""]
    assert not [error for error in run_checks() if error.id == "accounts.E001"]
