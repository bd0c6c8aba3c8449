"""Upload in a real browser: files, folders, products; cuts, pauses, reloads; and downloads of what was checked."""

import fnmatch
import hashlib
import io
import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NAMES
from tests.make import tree_digest

pytestmark = pytest.mark.xdist_group("browser")

SOME_PER_CENT = re.compile(r"([5-9]\d|4[3-9]) % of")  # the first of three pieces is safe then
LONG = "d" * 90 + "/" + "ü" * 60


@pytest.fixture
def upload_page(open_page):
    page = open_page()
    page.goto("/upload/")
    return page


@pytest.fixture
def troubled_page(browser, site):
    """The same for tests in which calls fail, as they should: of that the browser's console tells."""
    from tests.rig.chromium import watched_page

    with watched_page(browser, site.url) as watched:
        log_in(watched.page)
        yield watched.page
        assert all("the server responded" in text or "net::ERR" in text for text in watched.complaints)


def log_in(page):
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    page.goto("/upload/")
    page.get_by_label("Username").fill(ADMIN)
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/upload/")


def start(page, *paths):
    page.locator("#choose-files").set_input_files([str(path) for path in paths])
    page.get_by_role("button", name=re.compile("^Upload [0-9]")).click()


def row(page, name):
    return page.locator("[data-list] li").filter(has_text=name)


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def catalogue(site, name):
    """Size, kind, digest and place of a file of the site."""
    return site.evaluate(
        "[[i.file.size_bytes, i.file.kind, i.file.digest, i.path, i.deletion_policy, i.file.uploader]"
        f" for i in Instance.objects.filter(file__name={name!r}).select_related('file')]"
    )


# --- Files ------------------------------------------------------------------------------------------------------------


def test_files_are_chosen_sent_and_shown_with_their_digest(upload_page, site, tmp_path):
    small = written(tmp_path, "small ü&'.log", b"a few bytes")
    large = written(tmp_path, "large.bin", os.urandom(2**20) * 5)
    empty = written(tmp_path, "empty.log", b"")
    upload_page.get_by_label("none: logs, backups").check()
    upload_page.get_by_label("Directory on the store").fill("/2461364/")
    upload_page.get_by_label("May this copy ever be erased?").select_option("allowed")
    start(upload_page, small, large, empty)
    for path in (small, large, empty):
        expect(row(upload_page, path.name)).to_contain_text("Archived")
        expect(row(upload_page, path.name)).to_contain_text(hashlib.sha256(path.read_bytes()).hexdigest())
    expect(upload_page.locator("[data-summary]")).to_contain_text("3 of 3 done")
    [[size, kind, _, place, policy, uploader]] = catalogue(site, large.name)
    assert (size, kind) == (5 * 2**20, "flat")
    assert (place, policy, uploader) == ("2461364/large.bin", 1, "admin")
    row(upload_page, small.name).get_by_role("link").click()
    upload_page.wait_for_url("**/file/small*")
    expect(upload_page.get_by_role("heading", level=1)).to_have_text(small.name)


def test_the_same_bytes_are_already_here_and_others_are_a_conflict(troubled_page, tmp_path):
    page = troubled_page
    path = written(tmp_path, "twice.log", b"the very same bytes")
    start(page, path)
    expect(row(page, "twice.log")).to_contain_text("Archived")
    start(page, path)
    expect(row(page, "twice.log")).to_contain_text("Already here")
    for content in (b"the wry same bytes!", b"longer by some bytes than it was"):
        path.write_bytes(content)
        page.reload()
        start(page, path)
        expect(row(page, "twice.log")).to_contain_text("Conflict")
        expect(row(page, "twice.log")).to_contain_text("give the new version a new name")
        expect(row(page, "twice.log").get_by_role("button", name="Try again")).to_be_visible()


# --- Folders ----------------------------------------------------------------------------------------------------------


def test_a_chosen_folder_is_walked_and_products_in_it_stay_whole(upload_page, site, tmp_path):
    night = tmp_path / "night"
    one = written(night, "one.log", b"one")
    two = written(night, "2461364/two.log", b"two")
    dataset = {"header": b"h" * 600, "vartable": b"", "visdata": os.urandom(70_000), "sub/flags": b"f"}
    for name, members in (("by_its_items", dataset), ("a/by_its_name.uv", {LONG: b"far away", "x": b"x"})):
        for member, content in members.items():
            written(night / name, member, content)
    upload_page.locator("#choose-folder").set_input_files(str(night))
    expect(upload_page.locator("[data-list] li")).to_have_count(4)
    expect(row(upload_page, "by_its_items/")).to_contain_text("4 entries")
    upload_page.get_by_role("button", name="Upload 4 products").click()
    expect(upload_page.locator("[data-summary]")).to_contain_text("4 of 4 done")
    assert catalogue(site, "one.log")[0][2] == hashlib.sha256(one.read_bytes()).hexdigest()
    assert catalogue(site, "two.log")[0][3] == "2461364/two.log"
    assert catalogue(site, two.name)[0][2] == hashlib.sha256(two.read_bytes()).hexdigest()
    assert catalogue(site, "by_its_items")[0][:3] == [70_601, "directory", tree_digest(dataset)]
    assert catalogue(site, "by_its_name.uv")[0][2] == tree_digest({LONG: b"far away", "x": b"x"})


def test_a_dropped_folder_keeps_its_empty_folders(upload_page, site, tmp_path):
    product = tmp_path / "dropped.uvh"
    written(product, "header", b"h")
    (product / "nothing/inside").mkdir(parents=True)
    flat = written(tmp_path, "dropped.log", b"flat")
    drop(upload_page, product, flat)
    expect(upload_page.locator("[data-list] li")).to_have_count(2)
    upload_page.get_by_role("button", name="Upload 2 products").click()
    expect(upload_page.locator("[data-summary]")).to_contain_text("2 of 2 done")
    assert catalogue(site, "dropped.uvh")[0][2] == tree_digest({"header": b"h", "nothing/inside": None})
    assert catalogue(site, "dropped.log")[0][0] == 4


def drop(page, *paths):
    """Drop things as the desktop would: only then the browser tells a page of folders."""
    box = page.locator("[data-drop]").bounding_box()
    session = page.context.new_cdp_session(page)
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 20}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})


# --- Cuts -------------------------------------------------------------------------------------------------------------


class Sent:
    """What a page asks of the server, in order; the wire is slow from now on, so that a cut finds it at work."""

    def __init__(self, page):
        self.sent = []
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 40 * 2**20}
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
        page.on("request", lambda request: self.sent.append((request.method, request.headers.get("upload-offset"))))

    def offsets(self):
        return [int(offset) for method, offset in self.sent if method == "PATCH"]


def test_a_paused_upload_goes_on_where_it_was(upload_page, site, tmp_path):
    """Three pieces; the pause falls between them, and what has arrived is not sent again."""
    path = written(tmp_path, "paused.bin", os.urandom(2**20) * 150)
    sent = Sent(upload_page)
    start(upload_page, path)
    expect(row(upload_page, path.name)).to_contain_text(SOME_PER_CENT)
    row(upload_page, path.name).get_by_role("button", name=re.compile("^Pause")).click()
    expect(row(upload_page, path.name)).to_contain_text("Paused at")
    before = len(sent.offsets())
    row(upload_page, path.name).get_by_role("button", name=re.compile("^Resume")).click()
    expect(row(upload_page, path.name)).to_contain_text("Archived", timeout=60_000)
    assert sent.offsets()[before] > 0
    assert catalogue(site, path.name)[0][2] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_upload_survives_a_reload(open_page, site, tmp_path):
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/upload/")
    path = written(tmp_path, "survivor.bin", os.urandom(2**20) * 150)
    Sent(page)
    start(page, path)
    expect(row(page, path.name)).to_contain_text(SOME_PER_CENT)
    page.reload()
    waiting = page.locator("[data-waiting-list] li")
    expect(waiting).to_contain_text("survivor.bin")
    expect(waiting).to_contain_text("have arrived")
    sent = Sent(page)
    start(page, path)
    expect(waiting).to_be_hidden()
    expect(row(page, path.name)).to_contain_text("Archived", timeout=60_000)
    assert sent.offsets()[0] > 0
    assert catalogue(site, path.name)[0][2] == hashlib.sha256(path.read_bytes()).hexdigest()
    page.reload()
    expect(page.get_by_text("Cut off before their end")).to_be_hidden()


def test_what_was_begun_can_be_given_up_after_a_reload(open_page, site, tmp_path):
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/upload/")
    path = written(tmp_path, "given-up.bin", os.urandom(2**20) * 150)
    Sent(page)
    start(page, path)
    expect(row(page, path.name)).to_contain_text(SOME_PER_CENT)
    page.reload()
    page.get_by_role("button", name="Give it up").click()
    expect(page.get_by_text("Cut off before their end")).to_be_hidden()
    page.reload()
    expect(page.locator("[data-waiting-list] li")).to_have_count(0)
    assert catalogue(site, path.name) == []
    assert site.evaluate("Upload.objects.filter(state='staged').count()") == 0


def test_a_server_that_is_away_is_waited_for(troubled_page, site, tmp_path):
    path = written(tmp_path, "patient.bin", os.urandom(2**20) * 150)
    sent = Sent(troubled_page)
    start(troubled_page, path)
    expect(row(troubled_page, path.name)).to_contain_text(SOME_PER_CENT)
    site.kill()
    expect(row(troubled_page, path.name)).to_contain_text("Trying again in")
    site.start()
    expect(row(troubled_page, path.name)).to_contain_text("Archived", timeout=90_000)
    assert [method for method, _ in sent.sent].count("POST") == 1
    assert sent.offsets().count(0) == 1
    assert catalogue(site, path.name)[0][2] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_login_that_has_ended_costs_nothing_that_has_arrived(troubled_page, site, tmp_path):
    page = troubled_page
    path = written(tmp_path, "logged-out.bin", os.urandom(2**20) * 150)
    sent = Sent(page)
    start(page, path)
    expect(row(page, path.name)).to_contain_text(SOME_PER_CENT)
    row(page, path.name).get_by_role("button", name=re.compile("^Pause")).click()
    page.context.clear_cookies()
    row(page, path.name).get_by_role("button", name=re.compile("^Resume")).click()
    expect(row(page, path.name)).to_contain_text("You are not logged in any more.")
    log_in(page.context.new_page())
    row(page, path.name).get_by_role("button", name="Try again").click()
    expect(row(page, path.name)).to_contain_text("Archived", timeout=60_000)
    assert sent.offsets().count(0) == 1
    assert catalogue(site, path.name)[0][2] == hashlib.sha256(path.read_bytes()).hexdigest()


# --- What is one product ----------------------------------------------------------------------------------------------


def test_the_page_tells_products_as_the_server_does(upload_page):
    """Shell patterns mean in the browser what Python's fnmatch takes them for."""
    patterns = [
        "*.uv",
        "a?c",
        "[ab]x",
        "[!ab]y",
        "x[",
        "a.c",
        "*",
        "ü*",
        "[a-c]z",
        "(x)",
        "a\\b",
        "[]]w",
        "[^a]v",
        "[z-a]",
    ]
    names = [
        "x.uv",
        "x.uvA",
        ".uv",
        "abc",
        "ac",
        "ax",
        "cx",
        "by",
        "cy",
        "x[",
        "a.c",
        "übung",
        "bz",
        "dz",
        "(x)",
        "a\\b",
        "]w",
        "^v",
        "bv",
    ]
    script = """([pattern, name]) => {
        const root = LibrarianUpload.treeOfFiles([{ webkitRelativePath: `${name}/inside`, name: "inside" }]);
        return LibrarianUpload.productsOf(root, { patterns: [pattern], items: ["none"] })[0].content === "directory";
    }"""
    for pattern in patterns:
        for name in names:
            expected = fnmatch.fnmatchcase(name, pattern)
            assert upload_page.evaluate(script, [pattern, name]) == expected, (pattern, name)


def test_members_of_any_name_and_size_have_headers_that_tar_reads(upload_page):
    members = [{"path": "é" * 60, "size": 3}, {"path": "x" * 200, "size": 9 * 10**9}, {"path": "p" * 86, "size": 8**11}]
    script = """async ([path, size]) => {
        const file = Object.assign(new Blob([]), {});
        Object.defineProperty(file, "size", { value: size });
        const blob = LibrarianUpload.tarOf("top", [{ path, file }]);
        return [...new Uint8Array(await blob.slice(0, 4096).arrayBuffer())];
    }"""
    for member in members:
        data = bytes(upload_page.evaluate(script, [member["path"], member["size"]]))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert (archive.next().name, entry := archive.next()) == ("top", entry)
        assert (entry.name, entry.size) == (f"top/{member['path']}", member["size"])


# --- Out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_checked_rows_are_downloaded_as_one_tar(open_page, width):
    page = open_page(width=width)
    page.goto("/files/?name_contains=sum.uvh5&ordering=name")
    button = page.get_by_role("button", name="Download selection")
    expect(button).to_be_disabled()
    page.get_by_label(f"Select {NAMES[3]}").check()
    page.get_by_label(f"Select {NAMES[5]}").focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("2 selected on this page")).to_be_visible()
    with page.expect_download() as awaited:
        button.click()
    assert names_in(awaited.value.path()) == [NAMES[3], NAMES[5]]
    assert awaited.value.suggested_filename.startswith("karoo-")
    page.get_by_role("link", name="Next →").click()
    page.get_by_role("link", name="← Previous").wait_for()
    expect(button).to_be_disabled()
    with page.expect_download() as awaited:
        page.get_by_role("link", name="Download all: 70 files").click()
    assert len(names_in(awaited.value.path())) == 70


def names_in(path):
    with tarfile.open(fileobj=io.BytesIO(Path(path).read_bytes())) as archive:
        assert json.load(archive.extractfile("manifest.json"))["left_out_count"] == 0
        return archive.getnames()[:-2]


def test_all_rows_of_a_page_are_checked_at_once(open_page):
    page = open_page()
    page.goto("/files/?name_contains=sum.uvh5")
    page.get_by_label("Select all on this page").check()
    expect(page.get_by_text("50 selected on this page")).to_be_visible()
    page.get_by_label(f"Select {NAMES[69]}").uncheck()
    assert page.get_by_label("Select all on this page").evaluate("box => box.indeterminate")


def test_without_scripts_rows_are_downloaded_and_the_upload_page_says_what_to_use(browser, site):
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    try:
        page = context.new_page()
        log_in(page)
        expect(page.get_by_text("Uploading on this page needs scripts.")).to_be_visible()
        expect(page.get_by_text("Drop files or folders here")).to_be_hidden()
        expect(page.get_by_text("librarian upload karoo")).to_be_visible()
        page.goto("/files/?name_contains=sum.uvh5&ordering=name")
        page.get_by_label(f"Select {NAMES[7]}").check()
        with page.expect_download() as awaited:
            page.get_by_role("button", name="Download selection").click()
        assert names_in(awaited.value.path()) == [NAMES[7]]
    finally:
        context.close()
