"""Every answer has an id by which its log lines are found; a caller's own id is kept if it can do no harm."""

import logging
import re

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from librarian.common.middleware import RequestId, RequestIdFilter, current_request_id

pytestmark = pytest.mark.database_independent


def answer(offered=None):
    seen = []

    def view(request):
        record = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
        RequestIdFilter().filter(record)
        seen.extend([request.request_id, current_request_id(), record.request_id])
        return HttpResponse()

    headers = {} if offered is None else {"X-Request-Id": offered}
    response = RequestId(view)(RequestFactory().get("/", headers=headers))
    assert set(seen) == {response.headers["X-Request-Id"]}
    return response.headers["X-Request-Id"]


def test_each_request_has_an_id_of_its_own_in_answer_and_log():
    assert re.fullmatch(r"[0-9a-f]{32}", answer())
    assert answer() != answer()
    assert current_request_id() == "-"


def test_a_harmless_id_of_the_caller_is_kept():
    assert answer("north-2026.11_20") == "north-2026.11_20"


@pytest.mark.parametrize("offered", ["", "a b", "a\nb", "x" * 65, "ü", "a;b", '"'])
def test_any_other_id_is_replaced(offered):
    assert answer(offered) != offered
