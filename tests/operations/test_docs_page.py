"""The page that describes the machine API, in a real browser: it draws, tries a call, and asks no other host."""

import pytest

from tests.rig.chromium import watched_page
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.xdist_group("browser")


def test_the_page_draws_and_tries_a_call(start_site, browser):
    site = start_site()
    with watched_page(browser, site.url) as watched:
        page = watched.page
        page.goto("/api/v3/docs/")
        page.fill("input[name=username]", ADMIN)
        page.fill("input[name=password]", ADMIN_PASSWORD)
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url("**/api/v3/docs/")
        page.wait_for_selector("#operations-stores-stores_list")
        page.click("#operations-stores-stores_list .opblock-summary-control")
        page.click("#operations-stores-stores_list .execute")
        page.wait_for_selector("#operations-stores-stores_list .live-responses-table .response-col_status")
        answer = page.inner_text("#operations-stores-stores_list .live-responses-table")
        assert "200" in answer
        assert '"results"' in answer
    assert watched.complaints == []
