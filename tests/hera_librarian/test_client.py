"""The client against a real site: every way to make one, and each of its own calls."""

import subprocess
import sys
import threading

import pytest

from hera_librarian import LibrarianClient
from hera_librarian.authlevel import AuthLevel
from hera_librarian.config import ClientInfo
from hera_librarian.exceptions import (
    LibrarianClientRemovedFunctionality,
    LibrarianError,
    LibrarianHTTPError,
    NoSuchConnectionError,
)
from hera_librarian.wire_upload import upload_by_disk
from tests.rig.servers import ADMIN, ADMIN_PASSWORD
from tests.wire.caller import HELLO, HELLO_CHECKSUM, TREE, TREE_CHECKSUM, write_tree

pytestmark = pytest.mark.django_db(transaction=True)

HOST = "http://127.0.0.1"


@pytest.fixture
def product(tmp_path):
    def make(content=HELLO, name="product"):
        write_tree(tmp_path / name, content)
        return tmp_path / name

    return make


# --- Making one -------------------------------------------------------------------------------------------------------


def test_every_way_to_make_a_client_leads_to_the_same_site(shared_site, monkeypatch):
    port = shared_site.port
    authenticator = f"{ADMIN}:{ADMIN_PASSWORD}"
    entry = {"url": f"{HOST}:{port}/", "authenticator": authenticator}
    monkeypatch.setenv("HL_CLIENT_CONFIG", "/dev/null/none")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("LIBRARIAN_CLIENT_CONNECTIONS", f'{{"karoo": {{"url": "{HOST}:{port}/", "token_env": "MINE"}}}}')
    token = shared_site.manage("issue_token", ADMIN, "--name", "tests").stdout.split()[-1]
    monkeypatch.setenv("MINE", token)
    with pytest.warns(UserWarning, match="HL_CLIENT_CONFIG"):
        named = [LibrarianClient("karoo"), LibrarianClient(conn_name="karoo")]
    for client in (
        *named,
        LibrarianClient("other", entry),
        LibrarianClient(conn_name="other", conn_config=entry),
        LibrarianClient(HOST, port, ADMIN, ADMIN_PASSWORD),
        LibrarianClient(host=f"{HOST}/", port=port, user=ADMIN, password=ADMIN_PASSWORD),
        LibrarianClient(f"{HOST}:{port}", token=token),
        LibrarianClient.from_info(ClientInfo(HOST, port, ADMIN, ADMIN_PASSWORD)),
        LibrarianClient.from_info(ClientInfo(HOST, port, token=token)),
    ):
        assert client.ping(require_login=True).name == "karoo"
        assert (client.host, client.port, client.hostname) == (HOST, port, f"{HOST}:{port}/api/v2")
        assert client.resolve("ping/") == client.resolve("/ping/") == f"{HOST}:{port}/api/v2/ping/"
        assert ADMIN_PASSWORD not in repr(client)
        assert token not in repr(client)


@pytest.mark.database_independent
@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        (("http://x", 80, "me"), {}),
        (("http://x", 80, "me", ""), {}),
        (("http://x", 80), {"conn_name": "y"}),
        (("x", {"url": "http://x", "user": "me"}), {}),
        (("x", {}), {}),
    ],
)
def test_half_a_description_of_a_server_is_refused(arguments, keywords, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LibrarianError) as refused:
        LibrarianClient(*arguments, **keywords)
    assert refused.value.reason


@pytest.mark.database_independent
def test_an_unknown_connection_is_an_error_with_words(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoSuchConnectionError, match="local-maint"):
        LibrarianClient("local-maint")


@pytest.mark.database_independent
def test_the_package_is_imported_without_what_it_may_not_need():
    code = (
        "import sys, hera_librarian; assert 'requests' not in sys.modules and 'pydantic' not in sys.modules;"
        "from hera_librarian import LibrarianClient, AdminClient;"
        "hera_librarian.exceptions.LibrarianError;"
        "late = {'django', 'astropy', 'h5py', 'numpy', 'tqdm'} & set(sys.modules); assert not late, late"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Calls ------------------------------------------------------------------------------------------------------------


def test_wrong_credentials_pass_a_ping_and_nothing_else(shared_site):
    stranger = LibrarianClient(HOST, shared_site.port, ADMIN, "wrong")
    assert stranger.ping(anything="goes").name == "karoo"
    for call in (lambda: stranger.ping(require_login=True), lambda: stranger.search_files("x")):
        with pytest.raises(LibrarianHTTPError) as refused:
            call()
        assert refused.value.status_code == 401
        assert refused.value.reason
        assert "wrong" not in str(refused.value)


@pytest.mark.parametrize(("content", "checksum"), [(HELLO, HELLO_CHECKSUM), (TREE, TREE_CHECKSUM)])
def test_products_go_over_the_shared_disk_and_are_found(shared_site, admin, product, content, checksum):
    path, name = product(content), f"over-disk.{len(content)}"
    done = upload_by_disk(admin, path, f"2459122/{name}")
    assert (done.outcome, done.checksum) == ("new", checksum)
    (file,) = admin.search_files(name)
    assert (file.checksum, file.size, file.uploader) == (checksum, done.size_bytes, ADMIN)
    again = upload_by_disk(admin, path, f"2459122/{name}")
    assert (again.outcome, again.name) == ("already here", name)
    place = admin.locate_file_instance(name)
    assert place["store_name"] == "store"
    assert place["full_path_on_store"] == file.instances[0].path
    assert place["full_path_on_store"].endswith(place["store_path"])
    assert place["store_ssh_host"]


def test_a_link_out_of_a_product_is_not_followed_over_the_shared_disk(shared_site, admin, product, tmp_path):
    path = product(TREE, "leads-out")
    (tmp_path / "secret").write_bytes(b"not of the product")
    (path / "astray").symlink_to("../secret")
    with pytest.raises(LibrarianError, match="leaves the product") as refused:
        upload_by_disk(admin, path, "leads-out")
    assert refused.value.code == "unsafe_product"
    assert admin.search_files("leads-out") == []
    (path / "astray").unlink()
    (path / "within").symlink_to(next(each.name for each in path.iterdir() if each.is_file()))
    assert upload_by_disk(admin, path, "leads-out").outcome == "new"


def test_a_name_with_other_bytes_is_refused_and_changes_nothing(admin, product):
    upload_by_disk(admin, product(HELLO, "first"), "taken.txt")
    with pytest.raises(LibrarianHTTPError) as refused:
        upload_by_disk(admin, product(b"other", "second"), "taken.txt")
    assert refused.value.status_code == 409
    assert "already exists on librarian" in refused.value.reason
    assert admin.search_files("taken.txt")[0].checksum == HELLO_CHECKSUM


def test_upload_takes_policies_in_every_form(admin, product):
    path = product()
    for number, policy in enumerate(("allowed", 1, "ALLOWED")):
        assert admin.upload(path, f"policy.{number}.txt", deletion_policy=policy).ok
        assert admin.search_files(f"policy.{number}.txt")[0].instances[0].deletion_policy == 1
    assert admin.upload(path, "policy.none.txt").ok
    assert admin.search_files("policy.none.txt")[0].instances[0].deletion_policy == 0


def test_the_classic_upload_of_monitor_and_control_works(admin, product):
    path = product(b"correlator: yes\n", "config.yaml")
    admin.upload_file(
        str(path), "correlator_yaml/config.2461000.yaml", "infer", deletion_policy="disallowed", null_obsid=True
    )
    admin.upload_file(
        str(path), "correlator_yaml/config.2461000.yaml", "infer", deletion_policy="disallowed", null_obsid=True
    )
    (file,) = admin.search_files("config.2461000.yaml")
    assert file.size == 16


@pytest.mark.database_independent
def test_what_the_classic_client_no_longer_does_says_what_to_use():
    client = LibrarianClient("http://127.0.0.1", 1, "me", "x")
    for call in (
        lambda: client.upload_file("x", "x", "direct", rec_info={}),
        lambda: client.upload_file("x", "x", "infer", rec_info={"files": {}}),
        lambda: client.upload_file("x", "x", "infer", known_staging_store="pot1", known_staging_subdir="x"),
        lambda: client.launch_file_copy("x", "y"),
        lambda: client.delete_file_instances("x"),
        lambda: client.search_sessions("{}"),
    ):
        with pytest.raises(LibrarianClientRemovedFunctionality) as gone:
            call()
        assert gone.value.suggested_remedy
    for arguments in (
        {"deletion_policy": "perhaps"},
        {"meta_mode": "guess"},
        {"meta_mode": "direct", "null_obsid": True},
        {"dest_store_path": "/absolute"},
    ):
        with pytest.raises(ValueError):
            client.upload_file(**{"local_path": "x", "dest_store_path": "x", "meta_mode": "infer", **arguments})


def test_site_says_what_version_3_can_do(admin):
    site = admin.site()
    assert site is not None
    assert site.name == "karoo"
    assert admin.site() is site


def test_searches_and_downloads_are_at_hand(admin, product, tmp_path):
    admin.upload(product(), "at-hand.txt")
    (found,) = admin.search(name="at-hand.txt")
    assert admin.file("at-hand.txt").size_bytes == found.size_bytes == 18
    (done,) = admin.download(["at-hand.txt"], tmp_path / "downloads")
    assert done.ok
    assert (tmp_path / "downloads" / "at-hand.txt").read_bytes() == HELLO


def test_a_changed_password_is_used_from_then_on(shared_site, admin):
    admin.create_user("changing", "the-first-one", AuthLevel.READONLY)
    client = LibrarianClient(HOST, shared_site.port, "changing", "the-first-one")
    with pytest.raises(ValueError, match="current password"):
        client.change_password("not it", "the-second-one")
    assert client.change_password("the-first-one", "the-second-one") is True
    assert client.ping(require_login=True).name == "karoo"
    with pytest.raises(LibrarianHTTPError):
        LibrarianClient(HOST, shared_site.port, "changing", "the-first-one").ping(require_login=True)


def test_one_client_serves_many_threads(admin, product):
    paths = [product(f"thread {number}".encode(), f"thread.{number}") for number in range(8)]
    failures = []

    def work(path):
        try:
            upload_by_disk(admin, path, path.name)
            assert len(admin.search_files(path.name)) == 1
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_site_that_restarts_between_calls_is_no_failure(start_site):
    site = start_site("north")
    client = LibrarianClient(HOST, site.port, ADMIN, ADMIN_PASSWORD)
    assert client.ping().name == "north"
    site.kill()
    waiting = threading.Thread(target=site.start)
    waiting.start()
    assert client.search_files("x") == []
    waiting.join()
