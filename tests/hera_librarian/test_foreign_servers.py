"""Existing servers, by the samples of the protocol's reference: their answers, their failures in every shape, uploads.

The samples are replayed word for word by `foreign.Foreign`, over real HTTP.
"""

import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hera_librarian.authlevel import AuthLevel
from hera_librarian.exceptions import (
    LibrarianClientRemovedFunctionality,
    LibrarianError,
    LibrarianHTTPError,
    LibrarianTimeoutError,
)
from hera_librarian.shared_disk import ChangedMeanwhile, NoSharedDisk, measure
from hera_librarian.transfer import TransferStatus
from hera_librarian.wire_upload import upload_by_disk
from tests.hera_librarian.foreign import CUT, PASSWORD, USER, Foreign, answer
from tests.wire.caller import HELLO, HELLO_CHECKSUM, TREE, TREE_CHECKSUM, write_tree

pytestmark = pytest.mark.database_independent

FAILED = {"reason": "Upload size is too large.", "suggested_remedy": "Split it."}
FOUND = {
    "name": "2459122/obs",
    "create_time": "2026-11-20T12:16:09.477670",
    "size": 268,
    "checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
    "uploader": "admin",
    "source": "admin",
    "instances": [
        {
            "path": "/data/a/store/2459122/obs",
            "deletion_policy": 0,
            "created_time": "2026-11-20T12:16:09.477708",
            "available": True,
            "id": None,
            "file_name": None,
            "store_id": 1,
        }
    ],
    "remote_instances": [
        {
            "librarian_name": "destination_librarian",
            "copy_time": "2026-11-20T12:16:13.233201",
            "id": None,
            "file_name": None,
            "store_id": None,
            "sender": None,
        }
    ],
}
NO_FILES = answer({"reason": "No files found.", "suggested_remedy": "x"}, 404)


@pytest.fixture
def serve(monkeypatch):
    """`serve(endpoint=answer, ...)` starts a foreign server; keys are endpoints of the wire."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    started = []

    def start(answers):
        server = Foreign({f"POST /api/v2/{endpoint}": found for endpoint, found in answers.items()}).__enter__()
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__()


# --- Failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "reason", "remedy"),
    [
        (answer(FAILED, 413), "Upload size is too large.", "Split it."),
        (answer({"detail": json.dumps(FAILED)}, 413), "Upload size is too large.", "Split it."),
        (answer({"detail": FAILED}, 409), "Upload size is too large.", "Split it."),
        (answer({"detail": "Incorrect username or password"}, 401), "Incorrect username or password", "Check user"),
        (answer({"detail": "Not Found"}, 404), "Not Found", "Check the name"),
        (
            answer(
                {"detail": [{"type": "missing", "loc": ["body", "name"], "msg": "Field required", "input": {}}]}, 422
            ),
            "name: Field required",
            "Correct the fields",
        ),
        (answer([{"loc": ["body", "x"], "msg": "bad"}, "worse"], 422), "x: bad; worse", "Correct the fields"),
        (answer({"success": False, "username": "x"}, 400), "Bad Request (the server gave no reason).", ""),
        (answer({"success": False, "message": "no such file"}, 400), "no such file", ""),
        (answer("Internal Server Error", 500), "Internal Server Error", "Try again later"),
        (answer("<html><h1>502</h1></html>", 502), "Bad Gateway (the server gave no reason).", "Try again later"),
        (answer("", 599), "The server answered with status 599 and gave no reason.", "Try again later"),
        (answer({"detail": None}, 400), "Bad Request (the server gave no reason).", ""),
        (answer({"detail": 5, "reason": None}, 400), "Bad Request (the server gave no reason).", ""),
        (answer("[" * 10_000, 400), "[" * 500, ""),
    ],
)
def test_every_shape_of_a_failure_is_understood(serve, refusal, reason, remedy):
    server = serve({"upload/stage": refusal})
    with pytest.raises(LibrarianHTTPError) as failed:
        server.client().post("upload/stage")
    error = failed.value
    assert (error.url, error.status_code, error.reason) == ("upload/stage", refusal.status, reason)
    assert error.suggested_remedy.startswith(remedy)
    assert isinstance(error.full_response, dict)
    assert error.code == f"http_{refusal.status}"


def test_what_the_body_held_is_kept_for_callers(serve):
    body = {**FAILED, "source_transfer_ids": [1, 2], "code": "too_large"}
    server = serve({"clone/batch_stage": answer({"detail": json.dumps(body)}, 413)})
    with pytest.raises(LibrarianHTTPError) as failed:
        server.client().post("clone/batch_stage")
    assert failed.value.full_response == body
    assert failed.value.code == "too_large"


def test_values_that_a_server_repeats_are_not_shown(serve):
    wrong = {"type": "x", "loc": ["body", "password"], "msg": "too short", "input": "hunter2"}
    server = serve({"users/create": answer({"detail": [wrong]}, 422)})
    with pytest.raises(LibrarianHTTPError) as failed:
        server.client().create_user("x", "hunter2", AuthLevel.READONLY)
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("strange", [answer("<html>", 200), answer([], 200), answer({"name": 1}, 200), answer(None)])
def test_a_success_that_is_not_of_the_protocol_is_an_error_with_words(serve, strange):
    server = serve({"ping/": strange})
    with pytest.raises(LibrarianError, match="not of the protocol") as failed:
        server.client().ping()
    assert failed.value.suggested_remedy


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_samples_of_the_reference_are_read(serve):
    store = {
        "name": "local_store",
        "store_type": "local",
        "free_space": 80256417792,
        "ingestable": True,
        "available": True,
        "enabled": True,
    }
    error = {
        "id": 1,
        "severity": "error",
        "category": "store_full",
        "message": "Store local_clone is full",
        "raised_time": "2026-11-19T10:00:00.123456",
        "cleared_time": None,
        "cleared": False,
        "caller": "create_clone",
    }
    copy = {
        "librarian": "destination_librarian",
        "store": 1,
        "instance_id": 2,
        "original_checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
        "original_size": 268,
        "current_checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
        "current_size": 268,
        "computed_same_checksum": True,
    }
    peer = {"name": "b", "url": "http://b", "port": 1, "available": None, "enabled": True}
    server = serve(
        {
            "ping/": answer({"name": "Site A", "description": "test rig"}),
            "ping/logged": answer({"name": "Site A", "description": "test rig"}),
            "search/file": answer([FOUND]),
            "admin/stores/list": answer([store]),
            "admin/stores/state_change": answer({"store_name": "local_store", "enabled": False, "success": True}),
            "search/error": answer([error]),
            "error/clear": answer({"id": 2, "cleared_time": "2026-11-20T11:58:41.573418", "cleared": True}),
            "validate/file": answer([copy]),
            "users/create": answer({"success": True, "username": "destination_librarian"}, 201),
            "users/update": answer({"success": True, "username": "destination_librarian"}),
            "users/delete": answer({"success": True, "username": "destination_librarian"}),
            "users/get": answer({"username": "ro", "permission": 1}),
            "users/password_update": answer({"success": True, "username": "ro"}),
            "admin/librarians/list": answer({"librarians": [peer]}),
            "admin/librarians/add": answer({"success": True, "already_exists": False, "ping_success": None}),
            "admin/librarians/remove": answer({"success": True, "number_of_transfers_removed": 3}),
            "admin/instance/delete_remote": answer({"success": True, "instance_id": 1}),
            "admin/add_file": answer({"already_exists": False, "file_exists": True, "success": True}),
            "clone/complete": answer({"source_transfer_id": 4, "destination_transfer_id": -1}),
        }
    )
    client = server.client()
    assert client.ping().name == client.ping(require_login=True).name == "Site A"
    (file,) = client.search_files("2459122/obs")
    assert file.create_time == datetime(2026, 11, 20, 12, 16, 9, 477670)
    assert file.instances[0].path == "/data/a/store/2459122/obs"
    assert file.remote_instances[0].librarian_name == "destination_librarian"
    assert client.get_store_list()[0].free_space == 80256417792
    assert client.set_store_state("local_store", False) is False
    assert client.search_errors(severity="error")[0].category == "store_full"
    assert client.clear_error(2) is None
    assert client.validate_file("2459122/obs")[0].computed_same_checksum is True
    assert client.create_user("destination_librarian", "dpw", AuthLevel.CALLBACK) is None
    assert client.update_user("destination_librarian", auth_level=AuthLevel.READONLY) is None
    assert client.delete_user("destination_librarian") is None
    assert client.get_user("ro").permission == AuthLevel.READONLY
    assert client.get_librarian_list().librarians[0].enabled is True
    assert client.add_librarian("b", host="http://b", port=1, authenticator="a:b", check_connection=False) is True
    assert client.remove_librarian("b", True) == (True, 3)
    assert client.delete_instance(1, "remote").success is True
    assert client.complete_outgoing_transfer(4, 1) is True
    row = client.add_file_row("n", datetime(2026, 1, 1, tzinfo=UTC), 1, "md5:::" + "0" * 32, "u", Path("/s/n"), "local")
    assert row.file_exists is True
    assert client.change_password(PASSWORD, "new") is True
    assert client.ping().name == "Site A"
    # What was sent is what the reference says clients send.
    assert server.calls("admin/stores/list")[0].body == b""
    assert server.calls("search/file")[0].message == {
        "name": "2459122/obs",
        "create_time_window": None,
        "uploader": None,
        "source": None,
        "max_results": 64,
    }
    assert server.calls("users/create")[0].message == {
        "username": "destination_librarian",
        "password": "dpw",
        "permission": 2,
    }
    assert server.calls("admin/librarians/add")[0].message == {
        "librarian_name": "b",
        "url": "http://b",
        "port": 1,
        "authenticator": "a:b",
        "check_connection": False,
    }
    assert server.calls("clone/complete")[0].message == {
        "source_transfer_id": 4,
        "destination_transfer_id": -1,
        "store_id": 1,
    }
    assert server.calls("admin/add_file")[0].message["source"] == USER
    assert {asked.headers["Content-Type"] for asked in server.asked} == {"application/json"}
    assert server.asked[0].headers["Authorization"] != server.asked[-1].headers["Authorization"]


def said(reason, status=400):
    return answer({"reason": reason, "suggested_remedy": "x"}, status)


@pytest.mark.parametrize(
    ("endpoint", "refusal", "call", "kind", "text"),
    [
        ("error/clear", said("No error found with ID 9 to clear.", 404), ("clear_error", 9), ValueError, "ID 9"),
        ("error/clear", said("Error with ID 9 has already been cleared."), ("clear_error", 9), ValueError, "already"),
        (
            "users/create",
            said("User already exists."),
            ("create_user", "x", "y", AuthLevel.ADMIN),
            ValueError,
            "exists",
        ),
        (
            "users/create",
            answer({"success": False, "username": "x"}, 400),
            ("create_user", "x", "y", AuthLevel.ADMIN),
            LibrarianError,
            "User already exists: x",
        ),
        (
            "users/delete",
            answer({"success": False, "username": "x"}, 400),
            ("delete_user", "x"),
            ValueError,
            "not found",
        ),
        ("users/delete", said("User not found: x."), ("delete_user", "x"), ValueError, "not found"),
        ("users/update", answer({"success": False, "username": "x"}), ("update_user", "x"), ValueError, "not found"),
        ("users/get", answer({"username": "x", "permission": 0}, 400), ("get_user", "x"), ValueError, "not found"),
        ("users/delete", said("The last administrator stays.", 409), ("delete_user", "x"), LibrarianHTTPError, "last"),
        (
            "admin/stores/state_change",
            said("Store x does not exist."),
            ("set_store_state", "x", True),
            LibrarianError,
            "x",
        ),
        ("admin/stores/manifest", said("Store x does not exist."), ("get_store_manifest", "x"), LibrarianError, "x"),
        (
            "admin/add_file",
            said("File /x does not exist."),
            ("add_file_row", "n", datetime(2026, 1, 1), 1, "x", "u", "/x", "s"),
            LibrarianError,
            "File /x",
        ),
        (
            "admin/add_file",
            answer("Internal Server Error", 500),
            ("add_file_row", "n", datetime(2026, 1, 1), 1, "x", "u", "/x", "s"),
            LibrarianError,
            "Internal|Unknown error",
        ),
        (
            "admin/instance/delete_local",
            answer({"success": False, "instance_id": 1}, 400),
            ("delete_instance", 1),
            LibrarianError,
            "Unknown error",
        ),
        (
            "admin/instance/delete_local",
            said("Instance does not exist."),
            ("delete_instance", 1),
            LibrarianError,
            "exist",
        ),
        ("admin/librarians/list", said("User x unknown."), ("get_librarian_list",), LibrarianError, "User x"),
        (
            "admin/librarians/add",
            said("Librarian x is bad."),
            ("add_librarian", "x", "http://x", 1, "a:b"),
            LibrarianError,
            "bad",
        ),
        (
            "admin/librarians/remove",
            said("Librarian x does not exist."),
            ("remove_librarian", "x"),
            LibrarianError,
            "exist",
        ),
        (
            "clone/complete",
            said("Could not find transfer."),
            ("complete_outgoing_transfer", 1, 1),
            LibrarianError,
            "find",
        ),
        ("clone/complete", said("Something else."), ("complete_outgoing_transfer", 1, 1), LibrarianHTTPError, "else"),
    ],
)
def test_matched_texts_become_the_exceptions_that_scripts_expect(serve, endpoint, refusal, call, kind, text):
    server = serve({endpoint: refusal})
    with pytest.raises(kind, match=text):
        getattr(server.client(), call[0])(*call[1:])


def test_a_taken_account_can_be_caught_in_both_ways(serve):
    server = serve({"users/create": said("User already exists.")})
    for kind in (ValueError, LibrarianError):
        with pytest.raises(kind):
            server.client().create_user("x", "y", AuthLevel.ADMIN)


def test_nothing_found_is_an_empty_list(serve):
    server = serve({"search/file": NO_FILES, "search/error": said("No errors found.", 404)})
    assert server.client().search_files("x") == []
    assert server.client().search_errors() == []
    server = serve({"search/file": said("Not Found", 404)})
    with pytest.raises(LibrarianHTTPError):
        server.client().search_files("x")


def test_transfers_are_switched_under_either_name(serve):
    done = answer({"librarian_name": "b", "transfers_enabled": False})
    for endpoint in ("set", "change"):
        server = serve({f"admin/librarians/transfer_status/{endpoint}": done})
        assert server.client().set_librarian_status("b", False) is False


def test_a_server_without_version_3_is_asked_for_it_once(serve):
    client = (server := serve({})).client()
    assert client.site() is None
    assert client.site() is None
    assert [asked.path for asked in server.asked] == ["/api/v3/"]


@pytest.mark.parametrize("refusal", [answer("<html>Forbidden</html>", 403), answer("<html>", 200), answer([], 200)])
def test_whatever_else_answers_at_its_address_is_no_version_3(serve, refusal):
    server = serve({})
    server.answers["GET /api/v3/"] = refusal
    assert server.client().site() is None


def test_a_site_of_ours_that_refuses_is_not_taken_for_another(serve):
    server = serve({})
    server.answers["GET /api/v3/"] = answer({"code": "authentication_required", "reason": "No."}, 401)
    with pytest.raises(LibrarianHTTPError):
        server.client().site()


def test_a_classic_search_for_a_name_is_answered_in_the_classic_form(serve):
    server = serve({"search/file": answer([FOUND])})
    found = server.client().search_files('{"name-is-exactly": "2459122/obs"}')
    assert found["results"] == [
        {"name": "2459122/obs", "type": "", "create_time": 1795176969, "obsid": None, "size": 268, "md5": ""}
    ]
    with pytest.raises(LibrarianClientRemovedFunctionality, match="search"):
        server.client().search_files('{"name-matches": "%.uvh5"}')
    with pytest.raises(LibrarianError, match="JSON"):
        server.client().search_files(search="{")


def test_a_copy_is_located(serve):
    server = serve({"search/file": answer([FOUND])})
    assert server.client().locate_file_instance("2459122/obs") == {
        "full_path_on_store": "/data/a/store/2459122/obs",
        "store_name": "",
        "store_path": "2459122/obs",
        "store_ssh_host": "127.0.0.1",
    }
    gone = {**FOUND, "instances": [{**FOUND["instances"][0], "available": False}]}
    for answers, text in ((answer([gone]), "No copy"), (NO_FILES, "no file")):
        with pytest.raises(LibrarianError, match=text):
            serve({"search/file": answers}).client().locate_file_instance("2459122/obs")


# --- Uploads ----------------------------------------------------------------------------------------------------------


class StagingServer:
    """Stages like an existing server does, and looks at what was put there when it is committed."""

    def __init__(self, serve, folder, hostnames=(), **answers):
        self.folder = folder
        self.hostnames = list(hostnames)
        self.committed = []
        self.number = 0
        self.server = serve(
            {"upload/stage": self.stage, "upload/commit": self.commit, "search/file": NO_FILES, **answers}
        )

    def stage(self, asked):
        self.number += 1
        token = f"aaf4eb9c-ea66-45d7-98b0-d291c430707{self.number}"
        if self.folder is not None:
            (self.folder / token).mkdir()
        return answer(
            {
                "available_bytes_on_store": 75271245824,
                "store_name": "local_store",
                "staging_name": token,
                "staging_location": f"{self.folder or '/nowhere'}/{token}/{asked.message['upload_name']}",
                "upload_name": asked.message["upload_name"],
                "destination_location": asked.message["destination_location"],
                "transfer_providers": {"local": {"hostnames": self.hostnames}},
                "transfer_id": self.number,
            },
            201,
        )

    def commit(self, asked):
        self.committed.append(asked.message)
        measured = measure(Path(asked.message["staging_location"]))
        declared = self.server.calls("upload/stage")[-1].message
        same = (measured.size_bytes, measured.checksum) == (declared["upload_size"], declared["upload_checksum"])
        return answer(None) if same else said("File does not have a valid checksum or size", 406)


def product(tmp_path, content, name="product"):
    path = tmp_path / name
    write_tree(path, content)
    return path


def folder_of(tmp_path):
    (folder := tmp_path / "staging").mkdir()
    return folder


@pytest.mark.parametrize(("content", "size", "checksum"), [(HELLO, 18, HELLO_CHECKSUM), (TREE, 268, TREE_CHECKSUM)])
def test_products_go_over_the_shared_disk(serve, tmp_path, content, size, checksum):
    site = StagingServer(serve, folder_of(tmp_path), [socket.gethostname()])
    sent = []
    done = upload_by_disk(site.server.client(), product(tmp_path, content), "2459122/x", progress=sent.append)
    assert (done.name, done.outcome, done.size_bytes, done.checksum) == ("2459122/x", "new", size, checksum)
    assert sum(sent) == size
    assert site.server.calls("upload/stage")[0].message == {
        "upload_size": size,
        "upload_checksum": checksum,
        "upload_name": "x",
        "destination_location": "2459122/x",
        "uploader": USER,
    }
    (message,) = site.committed
    assert message == {
        "store_name": "local_store",
        "staging_name": message["staging_name"],
        "staging_location": f"{tmp_path}/staging/{message['staging_name']}/x",
        "upload_name": "x",
        "destination_location": "2459122/x",
        "transfer_provider_name": "local",
        "transfer_provider": {"hostnames": [socket.gethostname()]},
        "meta_mode": "infer",
        "deletion_policy": "0",
        "uploader": USER,
        "null_obsid": False,
        "transfer_id": 1,
    }
    staged = Path(message["staging_location"])
    if isinstance(content, dict):
        assert (staged / "empty").is_dir()
        assert (staged / "sub/deep/.hidden").read_bytes() == b""
        assert oct(staged.stat().st_mode & 0o777) == "0o775"
    else:
        assert oct(staged.stat().st_mode & 0o777) == "0o664"


def test_directories_above_the_place_are_made(serve, tmp_path):
    site = StagingServer(serve, folder_of(tmp_path))
    stage = site.stage

    def deeper(asked):
        found = stage(asked)
        body = json.loads(found.body)
        location = Path(body["staging_location"])
        return answer({**body, "staging_location": f"{location.parent}/{location.name}"}, 201)

    site.server.answers["POST /api/v2/upload/stage"] = deeper
    assert upload_by_disk(site.server.client(), product(tmp_path, HELLO), "a/b/c").outcome == "new"


def test_a_staging_area_that_is_not_here_is_said_so(serve, tmp_path):
    path = product(tmp_path, HELLO)
    for hosts, text in ((["elsewhere"], "elsewhere, not from here"), ([socket.gethostname()], "cannot be written")):
        site = StagingServer(serve, None, hosts)
        with pytest.raises(NoSharedDisk, match=text) as refused:
            upload_by_disk(site.server.client(), path, "x")
        assert "No valid transfer managers found." in str(refused.value)
        assert site.committed == []


def test_absolute_destinations_are_refused_before_anything_is_sent(serve, tmp_path):
    server = serve({})
    for destination in ("/x", Path("/x")):
        with pytest.raises(ValueError, match="absolute"):
            upload_by_disk(server.client(), product(tmp_path, HELLO, destination.__class__.__name__), destination)
        with pytest.raises(ValueError, match="absolute"):
            server.client().upload(tmp_path, destination)
    assert server.asked == []


def test_a_product_that_changes_meanwhile_is_not_committed(serve, tmp_path):
    path = product(tmp_path, HELLO)
    tree = product(tmp_path, TREE, "tree")
    site = StagingServer(serve, folder_of(tmp_path))
    stage = site.stage

    def write_and_stage(asked):
        path.write_bytes(b"other bytes")
        (tree / f"new {site.number}").write_bytes(b"")
        return stage(asked)

    site.server.answers["POST /api/v2/upload/stage"] = write_and_stage
    for each in (path, tree):
        with pytest.raises(ChangedMeanwhile):
            upload_by_disk(site.server.client(), each, "x")
    assert site.committed == []


def test_links_out_of_files_are_no_product(serve, tmp_path):
    tree = product(tmp_path, TREE, "tree")
    (tree / "link").symlink_to("a.txt")
    assert measure(tree).size_bytes == 274  # a link to a file counts as that file
    (tree / "folder").symlink_to("sub")
    with pytest.raises(LibrarianError, match="neither a file nor a directory"):
        measure(tree)
    (tree / "folder").unlink()
    (tree / "dangling").symlink_to("nothing")
    with pytest.raises(LibrarianError, match="cannot be read"):
        measure(tree)
    with pytest.raises(LibrarianError, match="cannot be read"):
        measure(tmp_path / "nothing")
    with pytest.raises(LibrarianError, match="neither"):
        measure(Path("/dev/null"))


@pytest.mark.parametrize("same", [True, False])
def test_a_name_that_is_taken_by_the_same_bytes_is_no_failure(serve, tmp_path, same):
    held = {**FOUND, "name": "x", "size": 18, "checksum": HELLO_CHECKSUM if same else "xxh3:::" + "0" * 32}
    taken = said("File already exists on librarian.", 409)
    server = serve({"upload/stage": taken, "search/file": answer([held])})
    path = product(tmp_path, HELLO)
    if same:
        assert upload_by_disk(server.client(), path, "x").outcome == "already here"
    else:
        with pytest.raises(LibrarianHTTPError) as refused:
            upload_by_disk(server.client(), path, "x")
        assert refused.value.status_code == 409


def test_a_name_whose_copies_are_gone_is_not_called_already_here(serve, tmp_path):
    held = {**FOUND, "name": "x", "size": 18, "checksum": HELLO_CHECKSUM, "instances": [], "remote_instances": []}
    server = serve({"upload/stage": said("File already exists on librarian.", 409), "search/file": answer([held])})
    with pytest.raises(LibrarianHTTPError):
        upload_by_disk(server.client(), product(tmp_path, HELLO), "x")


@pytest.mark.parametrize("filed", [True, False])
def test_a_lost_answer_to_a_commit_is_looked_up_and_not_asked_for_again(serve, tmp_path, filed):
    """Existing servers set a transfer that is committed twice to failed, although the file is in."""
    held = {**FOUND, "name": "x", "size": 18, "checksum": HELLO_CHECKSUM}
    found = answer([held]) if filed else NO_FILES
    site = StagingServer(serve, folder_of(tmp_path), **{"upload/commit": CUT, "search/file": found})
    client, path = site.server.client(), product(tmp_path, HELLO)
    if filed:
        assert upload_by_disk(client, path, "x").name == "x"
    else:
        with pytest.raises(LibrarianTimeoutError) as lost:
            upload_by_disk(client, path, "x")
        assert "search" in lost.value.suggested_remedy
    assert len(site.server.calls("upload/commit")) == 1


def test_the_client_uploads_to_a_server_that_has_no_other_way(serve, tmp_path):
    site = StagingServer(serve, folder_of(tmp_path))
    done = site.server.client().upload(product(tmp_path, HELLO), Path("2459122/x"), deletion_policy="allowed")
    assert done.ok
    assert (done.name, done.way) == ("2459122/x", "disk")
    assert site.committed[0]["deletion_policy"] == "1"
    with pytest.raises(LibrarianError, match="shared disk"):
        site.server.client().upload(tmp_path / "product", "y", way="http")


def test_monitor_and_control_uploads_as_it_does(serve, tmp_path):
    site = StagingServer(serve, folder_of(tmp_path))
    path = product(tmp_path, HELLO)
    site.server.client().upload_file(
        str(path), "correlator_yaml/x.yaml", "infer", deletion_policy="disallowed", null_obsid=True
    )
    assert site.committed[0]["null_obsid"] is True
    assert site.committed[0]["destination_location"] == "correlator_yaml/x.yaml"


# --- Disks that travel ------------------------------------------------------------------------------------------------


def test_an_entry_of_a_manifest_is_handed_over(serve, tmp_path):
    folder, path = folder_of(tmp_path), product(tmp_path, HELLO)
    entry = {
        "name": "2459122/hello.txt",
        "create_time": "2026-11-20T12:18:25.962903",
        "size": 18,
        "checksum": HELLO_CHECKSUM,
        "uploader": "admin",
        "source": "admin",
        "instance_path": "/data/a/store_sneaker/2459122/hello.txt",
        "deletion_policy": 0,
        "instance_create_time": "2026-11-20T12:18:27.098725",
        "instance_available": True,
        "outgoing_transfer_id": 1,
    }
    manifest = {"librarian_name": "source_librarian", "store_name": "local_sneaker", "store_files": [entry]}
    staged = {
        "available_bytes_on_store": 1000,
        "store_name": "s",
        "staging_name": "150f9666",
        "staging_location": str(folder / "hello.txt"),
        "upload_name": "hello.txt",
        "destination_location": "2459122/hello.txt",
        "transfer_providers": {"local": {"hostnames": []}},
        "source_transfer_id": 1,
        "destination_transfer_id": 7,
    }
    ids = {"source_transfer_id": 1, "destination_transfer_id": 7}
    server = serve(
        {
            "admin/stores/manifest": answer(manifest),
            "clone/stage": [answer(staged, 201), answer({"detail": json.dumps(TAKEN)}, 409)],
            "clone/ongoing": answer(ids),
            "clone/staged": answer({**ids, "success": True}),
        }
    )
    client = server.client()
    (row,) = client.get_store_manifest("local_sneaker", destination_librarian="b").store_files
    arguments = row.model_dump(
        include={"name", "create_time", "size", "checksum", "uploader", "source", "deletion_policy"}
    )
    client.ingest_manifest_entry(**arguments, source_transfer_id=row.outgoing_transfer_id, local_path=path)
    assert (folder / "hello.txt").read_bytes() == HELLO
    assert server.calls("clone/stage")[0].message == {
        "upload_size": 18,
        "upload_checksum": HELLO_CHECKSUM,
        "upload_name": "hello.txt",
        "destination_location": "2459122/hello.txt",
        "uploader": "admin",
        "source": "admin",
        "source_transfer_id": 1,
    }
    assert [asked.path.removeprefix("/api/v2/clone/") for asked in server.asked[1:]] == ["stage", "ongoing", "staged"]
    assert server.calls("clone/staged")[0].message == ids
    with pytest.raises(LibrarianError, match="already exists on librarian"):
        client.ingest_manifest_entry(**arguments, source_transfer_id=1, local_path=path)
    path.write_bytes(HELLO.upper())
    with pytest.raises(LibrarianError, match="are not those"):
        client.ingest_manifest_entry(**arguments, source_transfer_id=1, local_path=path)
    path.write_bytes(b"short")
    with pytest.raises(LibrarianError, match="the manifest says 18"):
        client.ingest_manifest_entry(**arguments, source_transfer_id=1, local_path=path)
    assert TransferStatus.STAGED == 2


TAKEN = {"reason": "File already exists on librarian.", "suggested_remedy": "x"}
