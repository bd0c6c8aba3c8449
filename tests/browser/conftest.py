"""One real site with a handful of real files, for all tests of this folder."""

import pytest

NAMES = [f"zen.2461364.{number:05}.sum.uvh5" for number in range(70)]
HOSTILE = "<img src=x onerror=alert(1)>&'\" #1.log"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from tests.rig.servers import Site

    folder = tmp_path_factory.mktemp("portal")
    running = Site("karoo", folder / "karoo")
    try:
        running.prepare()
        source = folder / "night"
        source.mkdir()
        for name in [*NAMES, HOSTILE]:
            (source / name).write_bytes(f"the bytes of {name}\n".encode() * 40)
        product = source / "zen.2461364.31004.uv"
        product.mkdir()
        for member in ("header", "vartable", "visdata"):
            (product / member).write_bytes(member.encode())
        running.manage("ingest", str(source))
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def open_page(browser, site):
    """`open_page(width=390, dark=True)`: a watched page, logged in; in the end it must have nothing to complain of."""
    from contextlib import ExitStack

    from tests.rig.chromium import watched_page
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    opened = []
    with ExitStack() as stack:

        def make(*, log_in=True, **options):
            watched = stack.enter_context(watched_page(browser, site.url, **options))
            opened.append(watched)
            if log_in:
                page = watched.page
                page.goto("/login/")
                page.get_by_label("Username").fill(ADMIN)
                page.get_by_label("Password").fill(ADMIN_PASSWORD)
                page.get_by_role("button", name="Log in").click()
                page.wait_for_url(f"{site.url}/")
            return watched.page

        yield make
        for watched in opened:
            assert watched.complaints == []
