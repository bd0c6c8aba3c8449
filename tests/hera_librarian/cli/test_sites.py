"""`ping`, `check-connections`, the verbs about stores and about other sites."""

import json

import pytest

from hera_librarian.checksums import new_hasher
from tests.hera_librarian.foreign import PASSWORD, USER, Foreign, answer


def old_server(server):
    return {"old": {"host": server.host, "port": server.port, "user": USER, "password": PASSWORD}}


# --- Connections ------------------------------------------------------------------------------------------------------


def test_ping(librarian):
    assert librarian("ping", "wrong").lines[0].startswith("karoo: ")
    assert librarian("ping", "reader", "--login", "--json").document["name"] == "karoo"


def test_connections_are_checked_with_their_credentials(librarian, site):
    ran = librarian("check-connections", "reader", "wrong", "nobody-listens")
    assert ran.code == 1
    assert f"Connection to reader ({site.url}) succeeded." in ran.lines
    assert "    site karoo, level READONLY, stores: store" in ran.lines
    assert any(line.startswith(f"Connection to wrong ({site.url}) failed: Incorrect") for line in ran.lines)
    assert any(line.startswith("Connection to nobody-listens (http://127.0.0.1:9) failed: ") for line in ran.lines)


def test_all_connections_are_checked_without_names(librarian, connections):
    ran = librarian("check-connections", "--json", more_connections={"broken": {"port": 80}})
    assert ran.code == 1
    checks = {check["name"]: check for check in ran.document}
    assert set(checks) == {*connections, "broken"}
    assert [name for name, check in checks.items() if check["ok"]] == ["karoo", "pipeline", "reader"]
    assert checks["karoo"]["level"] == "ADMIN"
    assert checks["broken"]["code"] == "invalid_configuration"
    assert librarian("check-connections", "karoo", "reader").code == 0


def test_a_store_that_is_away_is_a_failed_check(librarian, connections):
    row = {"name": "disk7", "enabled": True, "available": False, "availability_reason": "not mounted", "ssh_host": ""}
    answers = {
        "POST /api/v2/ping/": answer({"name": "karoo", "description": ""}),
        "POST /api/v2/ping/logged": answer({"name": "karoo", "description": ""}),
        "GET /api/v3/": answer({"name": "karoo", "features": []}),
        "GET /api/v3/users/me/": answer({"acting_level": 1}),
        "GET /api/v3/stores/?limit=1000": answer({"next": None, "results": [row]}),
    }
    with Foreign(answers) as server:
        ran = librarian("check-connections", "old", more_connections=old_server(server))
    assert ran.code == 1
    assert "failed: store disk7: not mounted" in ran.out


# --- Stores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connection", ["karoo", "reader"])
def test_the_list_of_stores_needs_no_administrator(connection, librarian):
    ran = librarian("get-store-list", connection)
    assert ran.code == 0
    [line] = ran.lines
    assert line.startswith("store (local) [")
    assert line.endswith("B Free] - Ingestable - Available - Enabled")
    [store] = librarian("get-store-list", connection, "--json").document
    assert set(store) == {"name", "store_type", "free_space", "ingestable", "available", "enabled"}
    assert store["free_space"] > 0


def test_a_store_is_switched_only_in_so_many_words(librarian, site, tmp_path):
    site.manage("add_store", "switched", "--kind", "posix", "--path", str(_made(tmp_path / "switched")))
    assert librarian("set-store-state", "karoo", "--store", "switched").code == 2
    both = librarian("set-store-state", "karoo", "--store", "switched", "--enabled", "--disabled")
    assert both.code == 2
    off = librarian("set-store-state", "karoo", "--store", "switched", "--disabled")
    assert off.lines == ["Store switched state set to disabled."]
    [line] = [line for line in librarian("get-store-list", "karoo").lines if line.startswith("switched ")]
    assert line.endswith(" - Disabled")
    on = librarian("set-store-state", "karoo", "--store", "switched", "--enabled", "--json")
    assert on.document == {"store_name": "switched", "enabled": True}
    librarian("set-store-state", "karoo", "--store", "switched", "--disabled")
    unknown = librarian("set-store-state", "karoo", "--store", "nowhere", "--disabled")
    assert unknown.code == 1
    assert unknown.err.startswith("error: Store nowhere does not exist.\n")


def test_where_a_file_lies(librarian, site):
    import socket

    name = "zen.2461364.31004.uv"
    place = f"{site.store_path}/2461364/{name}"
    assert librarian("locate-file", "reader", name).lines == [f"{socket.gethostname()}:{place}"]
    assert librarian("locate-file", "reader", f"/somewhere/{name}/").out == librarian("locate-file", "reader", name).out
    document = librarian("locate-file", "reader", name, "--json").document
    assert document["places"] == [{"host": socket.gethostname(), "path": place, "store": "store"}]
    missing = librarian("locate-file", "reader", "no-such-file")
    assert missing.code == 6
    assert "no-such-file" in missing.err


# --- Other sites ------------------------------------------------------------------------------------------------------


def test_sites_are_added_listed_switched_and_removed(librarian, tmp_path):
    assert librarian("get-librarian-list", "karoo").out == "No librarians found.\n"
    words = ["--name=destination_librarian", "--url=http://127.0.0.1", "--port=9", "--do-not-check-connection"]
    (tmp_path / "secret").write_text("source_librarian:the-password\n")
    added = librarian("add-librarian", "karoo", *words, "--authenticator-file", "secret")
    assert (added.code, added.out) == (0, "Librarian destination_librarian added.\n"), added.err
    taken = librarian("add-librarian", "karoo", *words, "--authenticator=source_librarian:the-password")
    assert taken.code == 1
    assert taken.err.startswith("note: --authenticator can be read by everybody")
    assert "error: Unable to add librarian destination_librarian" in taken.err
    assert "the-password" not in taken.err + taken.out
    assert librarian("get-librarian-list", "karoo").lines == [
        "destination_librarian (http://127.0.0.1:9) - Unknown - Enabled"
    ]
    asked = librarian("get-librarian-list", "karoo", "--ping")
    assert asked.lines[0] == "destination_librarian (http://127.0.0.1:9) - Not Available - Enabled"
    off = librarian("set-librarian-transfer", "karoo", "--name", "destination_librarian", "--disabled")
    assert off.lines == ["Transfers to destination_librarian disabled."]
    [site] = librarian("get-librarian-list", "karoo", "--json").document
    assert (site["name"], site["enabled"], site["available"]) == ("destination_librarian", False, None)
    removed = librarian("remove-librarian", "karoo", "--name", "destination_librarian", "--remove-outgoing-transfers")
    assert removed.lines[-1] == "Librarian destination_librarian removed."
    gone = librarian("remove-librarian", "karoo", "--name", "destination_librarian")
    assert gone.code == 1
    assert "does not exist" in gone.err


def test_a_site_that_does_not_answer_is_not_added(librarian):
    words = ["--name=away_librarian", "--url=http://127.0.0.1", "--port=9"]
    ran = librarian("add-librarian", "karoo", *words, LIBRARIAN_PEER_AUTHENTICATOR="karoo:the-password")
    assert ran.code == 1
    assert "error: Unable to add librarian away_librarian" in ran.err
    assert librarian("get-librarian-list", "karoo").out == "No librarians found.\n"


@pytest.mark.parametrize("words", [["--name=x"], ["--name=x", "--url=http://x", "--port=70000", "--authenticator=a:b"]])
def test_sites_that_cannot_be_are_refused(words, librarian):
    assert librarian("add-librarian", "karoo", *words).code in (1, 2)


# --- What a server may lack -------------------------------------------------------------------------------------------

HELLO = new_hasher("xxh3")
HELLO.update(b"hello\n")
MANIFEST = {
    "librarian_name": "source_librarian",
    "store_name": "sneaker",
    "store_files": [
        {
            "name": "2459122/hello.txt",
            "create_time": "2026-11-20T12:18:25.962903",
            "size": 6,
            "checksum": f"xxh3:::{HELLO.hexdigest()}",
            "uploader": "ada",
            "source": "ada",
            "instance_path": "/data/a/store_sneaker/2459122/hello.txt",
            "deletion_policy": 0,
            "instance_create_time": "2026-11-20T12:18:27.098725",
            "instance_available": True,
            "outgoing_transfer_id": 1,
        }
    ],
}


@pytest.mark.parametrize(
    "words",
    [
        ["get-librarian-list"],
        ["add-librarian", "--name=a", "--url=http://a", "--port=1", "--authenticator=a:b"],
        ["remove-librarian", "--name=a"],
        ["set-librarian-transfer", "--name=a", "--enabled"],
        ["validate-file", "a"],
        ["get-store-manifest", "--store=a"],
        ["ingest-manifest", "--manifest=m.json", "--store-root=."],
    ],
    ids=lambda words: words[0],
)
def test_what_a_server_cannot_do_yet_is_named(words, librarian, tmp_path):
    (tmp_path / "m.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "hello.txt").write_bytes(b"hello\n")
    with Foreign({}) as server:
        verb, *rest = words
        ran = librarian(verb, "old", *rest, more_connections=old_server(server))
    assert ran.code == 1
    assert "cannot" in ran.err
    assert "newer server" in ran.err


def test_a_manifest_is_written_whole(librarian, tmp_path):
    with Foreign({"POST /api/v2/admin/stores/manifest": answer(MANIFEST)}) as server:
        old = old_server(server)
        words = ["get-store-manifest", "old", "--store", "sneaker", "--destination-librarian", "b", "--disable-store"]
        assert librarian(*words, more_connections=old).document == MANIFEST
        assert server.asked[-1].message["create_outgoing_transfers"] is True
        ran = librarian(*words, "--output", "m.json", more_connections=old)
    assert (ran.code, ran.out) == (0, "")
    assert json.loads((tmp_path / "m.json").read_text()) == MANIFEST
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_manifest_is_taken_in_from_the_disk_as_it_is_mounted_here(librarian, tmp_path):
    """By name, else by the end of the path it had; the caller is the site that wrote the manifest."""
    staging = _made(tmp_path / "staging")
    (_made(tmp_path / "disk" / "2459122") / "hello.txt").write_bytes(b"hello\n")
    (tmp_path / "m.json").write_text(json.dumps(MANIFEST))
    staged = {
        "available_bytes_on_store": 1,
        "store_name": "s",
        "staging_name": "x",
        "staging_location": str(staging / "hello.txt"),
        "upload_name": "hello.txt",
        "destination_location": "2459122/hello.txt",
        "transfer_providers": {},
        "source_transfer_id": 1,
        "destination_transfer_id": 7,
    }
    ids = {"source_transfer_id": 1, "destination_transfer_id": 7}
    answers = {
        "POST /api/v2/clone/stage": answer(staged, 201),
        "POST /api/v2/clone/ongoing": answer(ids),
        "POST /api/v2/clone/staged": answer({**ids, "success": True}),
    }
    words = ["ingest-manifest", "old", "--manifest", "m.json", "--store-root", "disk"]
    with Foreign(answers) as server:
        ran = librarian(*words, more_connections=old_server(server))
        assert ran.out == "Successfully ingested 1/1 files, 0/1 already existed.\n", ran.err
        assert server.calls("clone/stage")[0].message["source"] == "source_librarian"
    assert (staging / "hello.txt").read_bytes() == b"hello\n"
    # Offered again before it is taken in, the staged copy would be failed by such a server: nothing is offered.
    with Foreign(answers) as server:
        ran = librarian(*words, "--json", more_connections=old_server(server))
        assert ran.records == [{"name": "2459122/hello.txt", "outcome": "new"}]  # another server has another journal
        before = len(server.calls("clone/stage"))
        ran = librarian(*words, "--json", more_connections=old_server(server))
        assert (ran.code, ran.records) == (0, [{"name": "2459122/hello.txt", "outcome": "already here"}])
        assert len(server.calls("clone/stage")) == before
    taken = answer({"reason": "File already exists on librarian.", "suggested_remedy": ""}, 409)
    with Foreign({"POST /api/v2/clone/stage": taken}) as server:
        ran = librarian(*words, "--json", more_connections=old_server(server))
    assert (ran.code, ran.records) == (0, [{"name": "2459122/hello.txt", "outcome": "already here"}])


def test_a_manifest_that_is_none_is_refused(librarian, tmp_path):
    (tmp_path / "m.json").write_text('{"store_files": [{"name": "a"}]}')
    ran = librarian("ingest-manifest", "karoo", "--manifest", "m.json", "--store-root", ".")
    assert ran.code == 1
    assert "is not a manifest" in ran.err


COPY = {
    "librarian": "karoo",
    "store": 1,
    "instance_id": 2,
    "original_checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
    "original_size": 268,
    "current_checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
    "current_size": 268,
    "computed_same_checksum": True,
}


@pytest.mark.parametrize(
    ("matches", "code"), [([True, True], 0), ([True, False], 5), ([False, False], 1)], ids=["good", "mixed", "bad"]
)
def test_a_copy_that_differs_shows_in_the_exit_code_and_in_the_table(matches, code, librarian):
    copies = [COPY | {"computed_same_checksum": match} for match in matches]
    with Foreign({"POST /api/v2/validate/file": answer(copies)}) as server:
        ran = librarian("validate-file", "old", "a", more_connections=old_server(server))
    assert ran.code == code
    first, headings, dashes, *rows = ran.lines
    assert first == "Found 2 instances of files in the librarian network."
    assert [cell.strip() for cell in headings.split(" | ")] == [
        "Checksum Match",
        "Current Checksum",
        "Librarian",
        "Original Checksum",
    ]
    assert set(dashes) == {"-"}
    assert [row.split(" | ")[0].strip() for row in rows] == [str(match) for match in matches]


def test_a_file_that_is_not_there_cannot_be_validated(librarian):
    unknown = answer({"reason": "This file does not exist in the librarian.", "suggested_remedy": ""}, 400)
    with Foreign({"POST /api/v2/validate/file": unknown}) as server:
        assert librarian("validate-file", "old", "a", more_connections=old_server(server)).code == 6


def _made(path):
    path.mkdir(parents=True)
    return path
