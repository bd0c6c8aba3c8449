"""Two real sites that make accounts for each other, add each other, and notice when the other one is away."""

import json
import urllib.error
import urllib.request

import pytest

from hera_librarian.authenticator import authorization_header
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

SECRET = "a password:with a colon"


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    running = [Site(name, folder / name) for name in ("karoo", "central")]
    try:
        for site in running:
            site.prepare(store=False)
            site.start()
        yield running
    finally:
        for site in running:
            site.stop()


def ask(site, endpoint, body=None, authenticator=f"{ADMIN}:{ADMIN_PASSWORD}"):
    request = urllib.request.Request(
        f"{site.url}/api/v2/{endpoint}",
        json.dumps(body or {}).encode(),
        {"Content-Type": "application/json", "Authorization": authorization_header(authenticator)},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def add(site, other, **changes):
    body = {
        "librarian_name": other.name,
        "url": "http://127.0.0.1",
        "port": other.port,
        "authenticator": f"{site.name}:{SECRET}",
    }
    return ask(site, "admin/librarians/add", {**body, **changes})


def test_two_sites_come_to_know_each_other(sites):
    karoo, central = sites
    for site, other, level in ((karoo, central, 2), (central, karoo, 3)):
        ask(site, "users/create", {"username": other.name, "password": SECRET, "permission": level})

    # What is wrong is told apart, and nothing of it stays.
    assert add(karoo, central, authenticator=f"{karoo.name}:a password")["code"] == "peer_refuses_us"
    assert add(karoo, central, authenticator="nobody:a password")["code"] == "peer_refuses_us"
    assert add(karoo, central, librarian_name="elsewhere")["code"] == "peer_has_another_name"
    assert add(karoo, central, url="http://127.0.0.1/below")["code"] == "peer_is_no_librarian"
    assert ask(karoo, "admin/librarians/list")["librarians"] == []

    # Each way, by password and by token.
    assert add(karoo, central)["ping_success"] is True
    token = karoo.manage("issue_token", central.name, "--name", "peer").stdout.split()[-1]
    assert add(central, karoo, authenticator=token)["ping_success"] is True
    assert add(karoo, central) == {
        "success": False,
        "already_exists": True,
        "ping_success": False,
        "code": "peer_exists",
        "reason": "There is already a Librarian called central.",
        "suggested_remedy": "Choose another name; or change the one that exists, or remove it first.",
    }
    for site, other in ((karoo, central), (central, karoo)):
        (listed,) = ask(site, "admin/librarians/list", {"ping": True})["librarians"]
        assert (listed["name"], listed["port"], listed["available"], listed["enabled"]) == (
            other.name,
            other.port,
            True,
            True,
        )
        assert site.evaluate("[bool(p.last_heard_at and p.last_seen_at) for p in Peer.objects.with_last_heard()]") == [
            True
        ]

    # Nothing in clear, on disk or in a log.
    for site in sites:
        kept = site.evaluate("list(Peer.objects.values_list('sealed_authenticator', flat=True))")
        assert kept
        assert SECRET not in str(kept)
        log = site.web_log.read_text()
        assert SECRET not in log
        assert token not in log

    # One goes away, and comes back.
    central.kill()
    try:
        assert add(karoo, central, librarian_name="another")["code"] == "peer_unreachable"
        assert add(karoo, central, librarian_name="another", check_connection=False)["success"]
        listed = {each["name"]: each for each in ask(karoo, "admin/librarians/list")["librarians"]}
        assert [each["available"] for each in listed.values()] == [False, False]
        assert "Connection refused" in listed["central"]["reason"]
    finally:
        central.start()
    listed = {each["name"]: each for each in ask(karoo, "admin/librarians/list")["librarians"]}
    assert listed["central"]["available"] is True
    assert "is not called another" in listed["another"]["reason"]

    # Removing and adding again, with another password on the way.
    assert ask(karoo, "admin/librarians/remove", {"librarian_name": "another"})["success"]
    ask(central, "users/update", {"username": "karoo", "password": "another password"})
    (listed,) = ask(karoo, "admin/librarians/list")["librarians"]
    assert listed["available"] is False
    assert "credentials" in listed["reason"]
    assert ask(karoo, "admin/librarians/remove", {"librarian_name": "central"})["success"]
    assert add(karoo, central, authenticator="karoo:another password")["success"]


def test_a_site_that_is_known_refuses_to_start_under_another_name(start_site):
    from tests.rig.processes import RigError

    site = start_site("karoo")
    ask(
        site,
        "admin/librarians/add",
        {
            "librarian_name": "central",
            "url": "http://127.0.0.1",
            "port": 1,
            "authenticator": "karoo:x",
            "check_connection": False,
        },
    )
    with pytest.raises(RigError, match=r"network\.E002"):
        site.restart(LIBRARIAN_NAME="meerkat")
    site.start()
    assert ask(site, "ping/")["name"] == "karoo"
