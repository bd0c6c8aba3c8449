"""The portal in a real Chromium: what a person does in a night, on a desk and on a phone."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import HOSTILE, NAMES

pytestmark = pytest.mark.xdist_group("browser")

PAGES = ["/", "/files/", "/upload/", f"/file/{NAMES[0]}", "/file/zen.2461364.31004.uv", "/stores/", "/stores/store/",
         "/errors/", "/jobs/", "/jobs/heartbeat/", "/account/", "/account/password"]  # fmt: skip


def test_a_person_logs_in_finds_a_file_and_takes_it(open_page, tmp_path):
    page = open_page()
    expect(page.get_by_role("heading", name="Is the night safe?")).to_be_visible()
    page.get_by_role("link", name="Files", exact=True).click()
    page.wait_for_url("**/files/")
    page.get_by_label("Name contains").fill("2461364.00042")
    page.get_by_role("heading", name="1 file", exact=True).wait_for()
    page.wait_for_url("**/files/?name_contains=2461364.00042")
    page.get_by_role("link", name=NAMES[42]).click()
    with page.expect_download() as awaited:
        page.get_by_role("link", name="Download").click()
    assert Path(awaited.value.path()).read_bytes() == f"the bytes of {NAMES[42]}\n".encode() * 40
    assert awaited.value.suggested_filename == NAMES[42]


def test_the_address_of_a_search_can_be_shared_and_pages_turn(open_page):
    page = open_page()
    page.goto("/files/?name_contains=zen.2461364&ordering=name")
    rows = page.locator("#results tbody th a")
    expect(rows.first).to_have_text(NAMES[0])
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Next →").click()
    page.get_by_role("link", name="← Previous").wait_for()
    expect(rows.first).to_have_text(NAMES[50])
    page.wait_for_url("**cursor=**")
    page.get_by_role("link", name=re.compile("Name")).first.click()
    page.locator("th[aria-sort=descending]").wait_for()
    expect(rows.first).not_to_have_text(NAMES[0])
    page.go_back()
    page.wait_for_url("**cursor=**")


def test_typing_and_pressing_search_at_once_asks_in_turn(open_page):
    """The field that is left and the button that is pressed both ask; neither call may end in an error."""
    page = open_page()
    page.goto("/files/")
    page.get_by_text("More filters").click()
    page.get_by_label("Name matches").fill("*.uv")
    page.get_by_label("Arrived from").fill("2020-01-01")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("heading", name="1 file", exact=True).wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_url("**name_glob=**")
    page.wait_for_url("**registered_after=2020-01-01**")


def test_digests_are_copied(open_page, site):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    page.goto(f"/file/{NAMES[0]}")
    button = page.locator("#digests-head").locator("xpath=ancestor::section").get_by_role("button").first
    button.click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch("[0-9a-f]{64}", copied)
    expect(page.get_by_text(copied).first).to_be_visible()


def test_a_token_is_issued_shown_once_and_revoked(open_page):
    page = open_page()
    page.goto("/account/")
    page.get_by_label("Name", exact=True).fill("notebook")
    page.get_by_role("button", name="Issue").click()
    text = page.locator("#issued-token").inner_text()
    assert text.startswith("lib_")
    answer = page.request.get("/api/v3/files/?limit=1", headers={"Authorization": f"Bearer {text}", "Cookie": ""})
    assert answer.status == 200
    page.goto("/account/")
    assert text not in page.content()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke notebook").click()
    page.get_by_text("is revoked; nothing opens with it").wait_for()


def test_hostile_names_stay_words(open_page):
    page = open_page()
    page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
    page.goto("/files/?name_contains=onerror")
    page.get_by_role("link", name=HOSTILE).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    with page.expect_download() as awaited:
        page.get_by_role("link", name="Download").click()
    assert Path(awaited.value.path()).read_bytes().startswith(b"the bytes of <img")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_every_page_without_scrolling_sideways(open_page, dark):
    page = open_page(width=390, height=844, dark=dark)
    for address in PAGES:
        answer = page.goto(address)
        assert answer.status == 200, address
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{address} is {width} wide"
    page.goto("/")
    expect(page.get_by_role("link", name="Stores", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Stores", exact=True).click()
    page.wait_for_url("**/stores/")


def test_dark_is_dark_by_wish_and_by_choice(open_page):
    def brightness(page):
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert brightness(open_page(dark=True)) < 120
    page = open_page()
    assert brightness(page) > 600
    page.get_by_role("button", name="Dark theme").click()
    assert brightness(page) < 120
    page.goto("/jobs/")
    assert brightness(page) < 120
    expect(page.get_by_role("button", name="Light theme")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(open_page, dark):
    """WCAG AA: 4.5 to 1, and 3 to 1 for large letters, measured on what the browser computed."""
    page = open_page(dark=dark)
    script = (Path(__file__).parent / "contrast.js").read_text()
    for address in PAGES:
        page.goto(address)
        assert page.evaluate(script) == [], address


def test_the_keyboard_reaches_everything_and_shows_where_it_is(open_page):
    page = open_page()
    page.goto("/files/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    for _ in range(40):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "(() => { const style = getComputedStyle(document.activeElement);"
            " return [document.activeElement.tagName, style.outlineStyle, parseFloat(style.outlineWidth)] })()"
        )
        if seen[0] != "BODY":
            assert seen[1] != "none", seen
            assert seen[2] >= 2, seen


def test_pages_work_without_scripts(browser, site):
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto("/files/")
        page.get_by_label("Username").fill(ADMIN)
        page.get_by_label("Password").fill(ADMIN_PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Name contains").fill("00007")
        page.get_by_role("button", name="Search").click()
        page.wait_for_url("**/files/?name_contains=00007")
        page.get_by_role("link", name=NAMES[7]).click()
        page.wait_for_url("**/file/**")
        expect(page.get_by_text("One copy, on store.")).to_be_visible()
        expect(page.locator(".copy").first).to_be_hidden()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login/")
    finally:
        context.close()


def test_every_answer_carries_the_policy(open_page):
    page = open_page()
    for address in [*PAGES, "/nosuch", "/files/?size_min=abc"]:
        policy = page.request.get(address).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_leaving_the_name_field_by_a_click_on_a_result_asks_nothing_again(open_page):
    """A second answer would swap the results away under the pointer."""
    page = open_page()
    page.goto("/files/")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "name_contains" in request.url else None)
    page.get_by_label("Name contains").fill("2461364.00042")
    page.get_by_role("heading", name="1 file", exact=True).wait_for()
    page.get_by_label("Name contains").blur()
    page.get_by_role("link", name=NAMES[42]).click()
    page.wait_for_url("**/file/**")
    assert len(asked) == 1
