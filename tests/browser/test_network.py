"""The pages of the network in a real Chromium, on a site that knows one other and has transfers in every state."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NAMES

pytestmark = pytest.mark.xdist_group("browser")

PAGES = ["/network/", "/network/nrao/", "/transfers/", "/transfers/out/1/", "/transfers/in/1/", "/standing-orders/",
         "/standing-orders/new", f"/file/{NAMES[1]}", f"/file/{NAMES[4]}"]  # fmt: skip

TRAFFIC = """
from datetime import timedelta
from django.utils import timezone
from files.models import File
from network.models import *
from tests.make import make_peer, make_remote_instance
from tests.network.traffic import make_batch, make_incoming, make_outgoing

now = timezone.now()
make_peer("nrao", last_seen_at=now, latency_seconds=0.183, features=["http"], transfers_enabled=True)
make_peer("mirror", last_error="Librarian mirror cannot be reached: nothing answers at its port.", last_error_at=now,
          rests_until=now + timedelta(minutes=9),
          provider_rests={"rsync": {"until": (now + timedelta(hours=1)).isoformat(), "reason": "No route to host."}})
StandingOrder.objects.create(name="nightly data", search='{"name-matches": "zen.%"}', peer_name="nrao")
files = list(File.objects.filter(name__startswith="zen.").order_by("name")[:8])
make_outgoing(files[0], state="failed", code="no_room", reason="No store of nrao has room for 3.1 kB.",
              remedy="Make room there, then retry.")
make_outgoing(files[1], state="ongoing", queue_item=make_batch(size_bytes=400_000, sent_bytes=120_000,
              rate_bytes_per_second=1500.0), sent_bytes=1200)
make_outgoing(files[2], state="staged", remote_transfer_id=3, told_state="staged")
make_outgoing(files[3], state="failed", reason="Librarian nrao cannot be reached.", attempt=4,
              next_try_at=now + timedelta(minutes=40))
make_outgoing(files[5])
make_outgoing(files[6], peer="mirror")
make_remote_instance(files[4], peer="nrao", copied_at=now - timedelta(days=2), confirmed_at=now - timedelta(hours=3))
make_incoming("zen.2461365.10000.sum.uvh5", state="failed", reason="The SHA-256 of the bytes is not the one declared.",
              remedy="Send it again.", report="due", next_report_at=now + timedelta(minutes=5))
make_incoming("zen.2461365.10001.sum.uvh5", state="staged")
"""


@pytest.fixture(scope="module")
def traffic(site):
    """The site with traffic."""
    answer = site.manage("shell", "--no-imports", "-c", TRAFFIC)
    assert "Traceback" not in answer.stderr
    return site


@pytest.fixture
def page_with(open_page, traffic):
    return open_page


def test_a_peer_is_switched_off_and_on(page_with):
    page = page_with()
    page.get_by_role("link", name="Network", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("^nrao"))).to_be_visible()
    page.get_by_role("button", name="Switch off transfers to nrao").click()
    expect(page.get_by_text("Transfers to nrao are switched off.")).to_be_visible()
    expect(page.get_by_role("region", name=re.compile("^nrao"))).to_contain_text("switched off")
    page.get_by_role("button", name="Switch on transfers to nrao").click()
    expect(page.get_by_text("Transfers to nrao are switched on.")).to_be_visible()


def test_a_transfer_is_cancelled_and_retried_and_the_list_lives(page_with, traffic):
    page = page_with()
    page.goto("/transfers/?direction=out&state=initiated&peer=nrao")
    rows = page.locator("#transfers tbody tr")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name=f"Cancel {NAMES[5]}").click()
    expect(page.get_by_text("the transfer is cancelled")).to_be_visible()
    expect(page.get_by_text("No transfer is like that")).to_be_visible()
    page.goto(f"/transfers/?name_contains={NAMES[5]}")
    page.get_by_role("button", name=f"Retry {NAMES[5]}").click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("waiting")
    said = page.get_by_text("is tried again to nrao")
    expect(said).to_be_visible()
    changed = (
        "OutgoingTransfer.objects.filter(file__name='%s', state='initiated').update(state='ongoing', sent_bytes=9)"
    )
    traffic.manage("shell", "-c", f"from network.models import OutgoingTransfer; {changed % NAMES[5]}")
    expect(rows.first).to_contain_text("sending")  # by itself
    expect(said).to_be_visible()  # nothing but the list was swapped


def test_an_order_is_written_with_its_mistakes_told_while_one_writes(page_with):
    page = page_with()
    page.goto("/standing-orders/new?peer=nrao")
    page.get_by_label("Name", exact=True).fill("one night")
    field = page.get_by_label("Files to send")
    field.fill('{"name-matches": 5}')
    expect(page.locator("#matches")).to_contain_text("name-matches: a text is expected")
    field.fill('{"name-matches": "zen.2461364.0004%"}')
    expect(page.locator("#matches")).to_contain_text("Matches 10 files now")
    page.get_by_role("button", name="Add the order").click()
    expect(page.get_by_role("link", name="one night")).to_be_visible()
    page.get_by_role("link", name="one night").click()
    page.get_by_role("button", name="Remove this order").click()
    expect(page.get_by_text("The order one night is removed.")).to_be_visible()


def test_the_page_of_a_file_shows_copies_far_away_and_sends(page_with):
    page = page_with()
    page.goto(f"/file/{NAMES[4]}")
    far = page.get_by_role("region", name="Copies at other sites")
    expect(far.get_by_role("row", name=re.compile("nrao"))).to_contain_text("3 h ago")
    page.get_by_label("Send to").select_option("mirror")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text(f"{NAMES[4]} is sent to mirror.")).to_be_visible()
    expect(far).to_contain_text("mirror does not answer.")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_the_network_and_its_words_stand_out(page_with, dark):
    page = page_with(width=390, height=844, dark=dark)
    script = (Path(__file__).parent / "contrast.js").read_text()
    for address in PAGES:
        answer = page.goto(address)
        assert answer.status == 200, address
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{address} is {width} wide"
        assert page.evaluate(script) == [], address
