"""Downloads from a real server: what a client on a socket sees, also when bytes vanish while they are sent."""

import http.client
import os
from pathlib import Path

import pytest

from tests.asking import basic
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

SIZE_BYTES = 48 * 2**20
HEADERS = {"Authorization": basic(ADMIN, ADMIN_PASSWORD)}
ADDRESS = "/api/v3/files/big.bin/content"


@pytest.fixture
def site(start_site, tmp_path):
    """A site with one large file."""
    site = start_site()
    source = tmp_path / "big.bin"
    source.write_bytes(os.urandom(2**20) * (SIZE_BYTES // 2**20))
    site.manage("ingest", str(source), "--null-obsid")
    return site


def ask(site, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request(method, ADDRESS, headers={**HEADERS, **headers})
    return connection.getresponse()


def stored(site) -> Path:
    [path] = [path for path in site.store_path.rglob("big.bin") if path.is_file()]
    return path


def test_a_client_gets_the_bytes_head_gets_none_and_a_cut_file_breaks_the_connection(site):
    response = ask(site)
    assert response.read() == stored(site).read_bytes()

    head = ask(site, "HEAD")
    assert (head.status, head.headers["Content-Length"], head.read()) == (200, str(SIZE_BYTES), b"")

    part = ask(site, Range="bytes=-7")
    assert (part.status, part.read()) == (206, stored(site).read_bytes()[-7:])

    cut = ask(site)
    assert cut.status == 200
    begun = cut.read(65536)
    path = stored(site)
    path.chmod(0o644)
    os.truncate(path, 30 * 2**20)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)) as broken:
        begun += cut.read()
    rest = broken.value.partial if isinstance(broken.value, http.client.IncompleteRead) else b""
    assert len(begun) + len(rest) < SIZE_BYTES

    after = ask(site)
    assert after.status == 503
    assert b"no_readable_copy" in after.read()
    assert site.evaluate("[i.condition for i in Instance.objects.all()]") == ["short"]
