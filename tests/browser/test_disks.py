"""Disks that travel, copies and offloads in a real Chromium: passports on screen and paper, stores in the admin."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.rig.chromium import watched_page
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.xdist_group("browser")

PAGES = ["/disks/", "/disks/1/", "/disks/1/?start=25", "/disks/pack", "/disks/1/lost", "/copies/", "/offloads/",
         "/offloads/1/", "/offloads/new?store=store", "/stores/", "/stores/store/", "/stores/sneaker1/",
         "/standing-orders/", "/standing-orders/new?way=carry", "/file/zen.2461364.00001.sum.uvh5"]  # fmt: skip

ROWS = """
from datetime import timedelta
from pathlib import Path
from django.conf import settings
from django.utils import timezone
from accounts.models import User
from files.models import File, Instance, Offload, StoreCopy
from network.models import StandingOrder
from network.services.shipping import hand_over, pack
from stores.models import Store
from stores.services import add_store, measure_store
from tests.make import make_peer

now, admin, folder = timezone.now(), User.objects.get(username="admin"), Path(settings.LIBRARIAN_HOME).parent
store = Store.objects.get(name="store")
disk, second = (
    add_store(actor=None, name=name, configuration={"root": str(folder / name)}, travelling=True, ingestable=False)
    for name in ("sneaker1", "sneaker2")
)
archive = add_store(actor=None, name="archive", configuration={"root": str(folder / "archive")})
make_peer("nrao", last_seen_at=now, latency_seconds=0.183, features=["http"], transfers_enabled=True)
files = list(File.objects.filter(name__startswith="zen.").order_by("name"))
for file in files[:40]:
    Instance.objects.create(file=file, store=disk, path=f"2461364/{file.name}", condition="good", condition_at=now)
for file in files[:25]:
    Instance.objects.create(file=file, store=archive, path=f"2461364/{file.name}", condition="good", condition_at=now)
trip = pack(store=disk, peer_name="nrao", begin_transfers=True, actor=admin)
hand_over(trip, actor=admin, person="A. Courier", note="parcel 4711, blue case")
offload = Offload.objects.create(store=store, targets=[archive.pk], drains=True, created_by="admin", looked_at=now)
def want(file, **fields):
    StoreCopy.objects.create(file=file, targets=[archive.pk, second.pk], size_bytes=file.size_bytes, **fields)
want(files[30], group=offload.group, reason="Store archive has no room for 3.1 GB.", remedy="Make room on it.",
     code="no_room", next_try_at=now + timedelta(minutes=40))
want(files[31], group=offload.group, state="failed", finished_at=now, reason="Other bytes were read than were sent.",
     remedy="Do not use this disk; check its hardware.", code="other_bytes")
want(files[32], group=offload.group, state="copying", claim="host:1", store=archive, copied_bytes=700)
want(files[33], group="person:admin", asked_by="admin")
want(files[0], group="order:1", state="done", finished_at=now, store=archive)
StandingOrder.objects.create(name="two classes", way="copy", targets=[archive.pk], search='{"name-matches": "zen.%"}')
StandingOrder.objects.create(name="by post", way="carry", peer_name="nrao", targets=[disk.pk, second.pk],
                             switch_off_full_stores=True)
"""


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A site of its own: with a disk on its way, copies in every state, and a store that is drained."""
    from tests.rig.servers import Site

    folder = tmp_path_factory.mktemp("disks")
    running = Site("karoo", folder / "karoo", environment={"LIBRARIAN_PUBLIC_URL": "https://librarian.karoo.example"})
    try:
        running.prepare()
        night = folder / "night"
        night.mkdir()
        for number in range(70):
            name = f"zen.2461364.{number:05}.sum.uvh5"
            (night / name).write_bytes(f"the bytes of {name}\n".encode() * 40)
        running.manage("ingest", str(night))
        answer = running.manage("shell", "--no-imports", "-c", ROWS)
        assert "Traceback" not in answer.stderr
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def open_page(browser, moving):
    """A watched page, logged in; in the end it must have nothing to complain of."""
    opened = []
    with ExitStack() as stack:

        def make(**options):
            watched = stack.enter_context(watched_page(browser, moving.url, **options))
            opened.append(watched)
            page = watched.page
            page.goto("/login/")
            page.get_by_label("Username").fill(ADMIN)
            page.get_by_label("Password").fill(ADMIN_PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(f"{moving.url}/")
            return page

        yield make
        for watched in opened:
            assert watched.complaints == []


def test_the_passport_is_found_and_printed_on_few_sheets(open_page):
    page = open_page()
    page.get_by_role("link", name="Disks", exact=True).click()
    page.get_by_role("region", name="Trips").get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_role("heading", name="Passport of sneaker1")).to_be_visible()
    symbol = page.get_by_role("img", name=re.compile("QR symbol of the address of this passport"))
    expect(symbol).to_be_visible()
    expect(page.get_by_role("button", name="Received")).to_be_visible()
    expect(page.get_by_text("Signature")).to_be_hidden()
    page.emulate_media(media="print")
    for hidden in (page.get_by_role("button", name="Received"), page.get_by_role("link", name="Disks", exact=True)):
        expect(hidden).to_be_hidden()
    expect(symbol).to_be_visible()
    expect(page.get_by_text("Signature")).to_be_visible()
    expect(page.get_by_text("A. Courier")).to_be_visible()
    printed = page.pdf(prefer_css_page_size=True)
    sheets = len(re.findall(rb"/Type\s*/Page[^s]", printed))
    assert 1 <= sheets <= 3
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.0-9]* 84[12]", printed)  # A4


def test_custody_is_entered_on_the_passport(open_page):
    page = open_page()
    page.goto("/disks/1/")
    page.get_by_label("Note").fill("the case is dented")
    page.get_by_role("button", name="Only a note").click()
    expect(page.get_by_role("row", name=re.compile("the case is dented"))).to_contain_text("admin")


def test_an_order_asks_for_what_its_way_needs(open_page):
    page = open_page()
    page.goto("/standing-orders/new")
    expect(page.get_by_label("Copy to")).to_be_hidden()
    page.get_by_label("Way", exact=True).select_option("copy")
    expect(page.get_by_label("Send to")).to_be_hidden()
    page.get_by_label("Copy to").select_option(label="archive")
    expect(page.locator("#matches")).to_contain_text("not known to be on archive")
    page.get_by_label("Name", exact=True).fill("a second copy")
    page.get_by_role("button", name="Add the order").click()
    expect(page.get_by_role("row", name=re.compile("a second copy"))).to_contain_text("archive")


def test_a_store_on_another_machine_is_added_and_tried(open_page, tmp_path):
    from tests.rig.sshd import HOST, Sshd, running

    with running(tmp_path / "sshd") as sshd:
        assert isinstance(sshd, Sshd)
        page = open_page()
        page.goto("/admin/stores/store/add/")
        page.get_by_label("Name:").fill("node")
        expect(page.locator("fieldset.kind-ssh")).to_be_hidden()
        page.get_by_label("Kind:").select_option("ssh")
        expect(page.locator("fieldset.kind-posix")).to_be_hidden()
        expect(page.locator("fieldset.kind-s3")).to_be_hidden()
        page.locator("#id_ssh__host").fill(HOST)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("fieldset.kind-ssh")).to_contain_text("'root' is missing")
        page.locator("#id_ssh__root").fill(str(tmp_path / "far"))
        page.locator("#id_ssh__ssh_config").fill(str(sshd.config))
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".messagelist")).to_contain_text("was added successfully")
        row = page.get_by_role("row", name=re.compile("node"))
        expect(row).to_contain_text(f"{HOST}:{tmp_path / 'far'}")
        row.get_by_role("checkbox").check()
        page.get_by_label("Action:").select_option("test_stores")
        page.get_by_role("button", name="Go", exact=True).click()
        told = page.locator(".messagelist")
        expect(told).to_contain_text("Store node works: staging")
        expect(told).not_to_contain_text("FAILS")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_every_page_and_its_words_stand_out(open_page, dark):
    page = open_page(width=390, height=844, dark=dark)
    script = (Path(__file__).parent / "contrast.js").read_text()
    for address in PAGES:
        answer = page.goto(address)
        assert answer.status == 200, address
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{address} is {width} wide"
        assert page.evaluate(script) == [], address
