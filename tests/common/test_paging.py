"""Pages by key: nothing is skipped or repeated, whatever the order, with ties, empty values and rows that arrive."""

from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from librarian.common.api import CursorPages, StableOrdering
from librarian.common.errors import InvalidRequest
from librarian.common.models import ErrorRecord

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 20, tzinfo=UTC)


class View:
    ordering_fields = ["severity", "cleared_at", "raised_at", "count"]
    ordering = ["-raised_at"]


@pytest.fixture
def rows():
    """20 errors in which severity, time and count tie often and the time of clearing is empty often."""
    return ErrorRecord.objects.bulk_create(
        ErrorRecord(
            severity=["error", "info"][number % 2],
            category="transfer",
            code="x",
            message=str(number),
            fingerprint=str(number),
            count=1 + number % 3,
            raised_at=START + timedelta(seconds=number // 4),
            cleared_at=None if number % 3 else START + timedelta(seconds=number // 5),
        )
        for number in range(20)
    )


def page(address):
    request = Request(APIRequestFactory().get(address))
    pages = CursorPages()
    queryset = StableOrdering().filter_queryset(request, ErrorRecord.objects.all(), View())
    found = pages.paginate_queryset(queryset, request, View())
    return pages.get_paginated_response([row.pk for row in found]).data


def walk(address, link="next"):
    pages, seen = [], page(address)
    for _ in range(50):
        pages.append(seen["results"])
        if seen[link] is None:
            return pages, seen
        seen = page(seen[link])
    raise AssertionError("the pages never end")


@pytest.mark.parametrize(
    "ordering",
    ["", "raised_at", "-raised_at", "severity", "-severity,count", "cleared_at", "-cleared_at", "count,-cleared_at"],
)
def test_forwards_and_backwards_every_row_comes_once_and_in_order(rows, ordering):
    whole = page(f"/?ordering={ordering}&limit=1000")
    assert sorted(whole["results"]) == sorted(row.pk for row in rows)
    assert (whole["next"], whole["previous"]) == (None, None)
    pages, last = walk(f"/?ordering={ordering}&limit=3")
    assert list(chain(*pages)) == whole["results"]
    back, first = walk(last["previous"], "previous")
    assert list(chain(*reversed(back))) + pages[-1] == whole["results"]
    assert first["previous"] is None
    assert first["next"] is not None


def test_rows_that_arrive_meanwhile_shift_no_page(rows):
    first = page("/?ordering=-raised_at&limit=5")
    ErrorRecord.objects.create(
        severity="info", category="transfer", code="x", message="new", fingerprint="new", raised_at=START + timedelta(1)
    )
    second = page(first["next"])
    assert not set(first["results"]) & set(second["results"])
    assert page(second["previous"])["results"] == first["results"]


def test_links_keep_the_rest_of_the_search(rows):
    link = page("/?ordering=count&limit=3&severity=info&x=a%26b")["next"]
    assert all(part in link for part in ("ordering=count", "limit=3", "severity=info", "x=a%26b"))
    assert link.count("cursor=") == 1
    assert page(link)["next"].count("cursor=") == 1


def test_limit_has_bounds(rows):
    assert len(page("/?limit=1")["results"]) == 1
    assert len(page("/?limit=999999999999")["results"]) == 20
    for bad in ("0", "-1", "x", "1.5", "²"):
        with pytest.raises(InvalidRequest) as refusal:
            page(f"/?limit={bad}")
        assert refusal.value.reason.startswith("limit:")


def test_an_unknown_field_to_order_by_is_refused_naming_the_known_ones():
    with pytest.raises(InvalidRequest) as refusal:
        page("/?ordering=fingerprint")
    assert "raised_at" in refusal.value.suggested_remedy


@pytest.mark.parametrize("cursor", ["x", "%00", "bnVsbA", "W10", "eyJvIjpbXX0", "A" * 100_000, "W1tbW1tb" * 10_000])
def test_a_cursor_that_is_not_ours_is_refused(rows, cursor):
    with pytest.raises(InvalidRequest) as refusal:
        page(f"/?cursor={cursor}")
    assert refusal.value.reason.startswith("cursor:")


def test_a_cursor_of_another_order_is_refused(rows):
    link = page("/?ordering=count&limit=3")["next"]
    with pytest.raises(InvalidRequest):
        page(link.replace("ordering=count", "ordering=-count"))


def test_a_page_costs_one_query(rows, django_assert_num_queries):
    link = page("/?limit=3")["next"]
    with django_assert_num_queries(1):
        page(link)
