"""Searching from Python: pages come as they are read, refusals say what helps, tables have units and times."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import numpy as np
import pytest

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.finding import search
from tests.hera_librarian.finding.conftest import client_of
from tests.hera_librarian.finding.cutting import cutting
from tests.hera_librarian.foreign import Foreign

MANY = 5000
MAKE_MANY = f"""
import datetime
now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
digest = "0" * 64
File.objects.bulk_create(
    File(kind="flat", name=f"many.{{number:05}}.log", size_bytes=number, checksum="sha256:::" + digest, digest=digest,
         uploader="maker of many", source="tests", registered_at=now, first_registered_at=now)
    for number in range({MANY})
)
"""


@pytest.fixture(scope="module", autouse=True)
def many_files(site):
    site.manage("shell", "-v", "0", "-c", MAKE_MANY)


def test_pages_are_asked_for_as_they_are_read(client):
    found = client.search(uploader="maker of many", ordering="name")
    assert found.requests_made == 0

    some = [file.name for file in islice(found, 600)]
    assert some == [f"many.{number:05}.log" for number in range(600)]
    assert found.requests_made == 2

    again = client.search(uploader="maker of many")
    assert sum(1 for _ in again) == MANY
    assert again.requests_made == MANY // 500
    assert client.search(uploader="maker of many").count() == MANY


def test_slices_and_first_ask_for_no_more_than_they_give(client):
    found = client.search(uploader="maker of many", ordering="name")
    assert [file.name for file in found[2:8:3]] == ["many.00002.log", "many.00005.log"]
    assert found[3].name == "many.00003.log"
    assert found.first().name == "many.00000.log"
    assert found.requests_made == 3
    assert client.search(name="nothing has this name").first() is None
    with pytest.raises(IndexError):
        client.search(name="nothing has this name")[0]
    with pytest.raises(LibrarianError, match="from its end"):
        found[-1]
    with pytest.raises(TypeError):
        len(found)


def test_counting_is_bounded(client):
    found = client.search(uploader="maker of many")
    with pytest.raises(LibrarianError, match="More than 1500") as refused:
        found.count(at_most=1500)
    assert refused.value.code == "too_many"
    assert found.requests_made == 2


def test_a_connection_that_breaks_between_and_within_pages_goes_unnoticed(site):
    with cutting(site.port) as line:
        found = iter(client_of(site, line.port).search(uploader="maker of many", ordering="name"))
        names = [next(found).name for _ in range(500)]
        line.cut_after(0, 100, 20_000)  # the kept connection, then the next page within its headers and its midst
        names += [file.name for file in found]
        assert line.cuts == 3
    assert names == [f"many.{number:05}.log" for number in range(MANY)]


# --- Filters ----------------------------------------------------------------------------------------------------------


def test_an_unknown_filter_names_the_nearest_known_ones(client):
    with pytest.raises(LibrarianHTTPError, match="'registred_after' is no parameter") as refused:
        client.search(registred_after="2026-01-01").first()
    assert refused.value.code == "invalid_request"
    assert refused.value.suggested_remedy.startswith("Did you mean registered_after")
    assert "name_glob" in refused.value.suggested_remedy  # all that are known

    with pytest.raises(LibrarianHTTPError) as refused:
        client.search(size_min="large").first()
    assert "size_min takes a whole number" in refused.value.suggested_remedy


def test_values_that_cannot_be_meant_are_refused_before_anything_is_asked(client):
    with pytest.raises(LibrarianError, match="obsid=None") as refused:
        client.search(obsid=None)
    assert "has_obsid=False" in refused.value.suggested_remedy
    with pytest.raises(LibrarianError) as refused:
        client.search(limit=5)
    assert "[:5]" in refused.value.suggested_remedy
    with pytest.raises(LibrarianError, match="size_min"):
        client.search(size_min=object())


def test_values_of_python_numpy_and_astropy_are_understood(client):
    from astropy.time import Time

    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for before in (noon, noon.replace(tzinfo=None), Time("2026-01-01T12:00:00"), 2461042.0, noon.date() + timedelta(1)):
        found = search(client, registered_before=before, has_obsid=np.bool_(False), size_min=np.int64(4998))
        assert sorted(file.size_bytes for file in found) == [4998, 4999], before
    assert search(client, registered_before=noon - timedelta(hours=13)).first() is None


def test_a_server_without_version_3_is_named_as_such():
    with Foreign({}) as server, pytest.raises(LibrarianError) as refused:
        server.client().search(name="x").first()
    assert refused.value.code == "no_version_3"


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_a_table_has_units_times_in_utc_and_masked_obsids(client):
    from astropy.time import Time
    from astropy.units import byte

    files = client.search(name_contains="zen.", ordering="name")
    table = files.to_table()
    assert list(table["name"]) == [file.name for file in files]
    assert table["size_bytes"].unit == byte
    assert isinstance(table["registered_at"], Time)
    assert table["registered_at"].scale == "utc"
    for row, file in zip(table, files, strict=True):
        assert abs(row["registered_at"] - Time(file.registered_at)).sec < 1e-5
        assert bool(np.ma.is_masked(row["obsid"])) == (file.obsid is None)
        assert file.obsid is None or row["obsid"] == file.obsid

    unknown = client.search(uploader="maker of many")[:1]
    from hera_librarian.finding.table import table_of

    assert table_of(unknown)["obsid"].mask.all()
    empty = client.search(name="nothing has this name").to_table()
    assert len(empty) == 0
    assert empty.colnames == table.colnames


def test_dicts_are_plain_data(client):
    import json

    [row] = client.search(name="demo.uv").dicts()
    assert json.loads(json.dumps(row)) == row
    assert row["kind"] == "directory"
