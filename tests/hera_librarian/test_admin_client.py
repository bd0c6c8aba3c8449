"""The client of an administrator against a real site."""

from datetime import UTC, datetime, timedelta

import pytest

from hera_librarian import AdminClient, LibrarianClient
from hera_librarian.authlevel import AuthLevel
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.wire_upload import upload_by_disk
from tests.rig.processes import free_port
from tests.rig.servers import STORE
from tests.wire.caller import HELLO, HELLO_CHECKSUM

pytestmark = pytest.mark.django_db(transaction=True)

HOST = "http://127.0.0.1"


def test_accounts_are_made_changed_looked_at_and_removed(shared_site, admin):
    admin.create_user("visitor", "a-first-password", AuthLevel.READONLY)
    assert admin.get_user("visitor").permission == AuthLevel.READONLY
    with pytest.raises(ValueError, match="User already exists"):
        admin.create_user("visitor", "another-password", AuthLevel.ADMIN)
    admin.update_user("visitor", new_password="a-second-password", auth_level=AuthLevel.READAPPEND)
    assert admin.get_user("visitor").permission == AuthLevel.READAPPEND
    visitor = AdminClient(HOST, shared_site.port, "visitor", "a-second-password")
    assert visitor.ping(require_login=True).name == "karoo"
    for forbidden in (visitor.get_store_list, lambda: visitor.delete_instance(1), lambda: visitor.get_user("visitor")):
        with pytest.raises(LibrarianHTTPError) as refused:
            forbidden()
        assert refused.value.status_code in (401, 403)
    admin.delete_user("visitor")
    for call in (admin.get_user, admin.delete_user, admin.update_user):
        with pytest.raises(ValueError, match="User not found"):
            call("visitor")
    with pytest.raises(ValueError):
        admin.create_user("x" * 500, "a-password", AuthLevel.READONLY)


def test_the_last_administrator_stays(admin):
    with pytest.raises(LibrarianHTTPError) as refused:
        admin.delete_user(admin.user)
    assert refused.value.suggested_remedy
    assert admin.get_user(admin.user).permission == AuthLevel.ADMIN


def test_stores_are_listed_and_switched(admin):
    (store,) = admin.get_store_list()
    assert (store.name, store.enabled) == (STORE, True)
    assert store.free_space > 0
    try:
        assert admin.set_store_state(STORE, False) is False
        assert admin.get_store_list()[0].enabled is False
    finally:
        assert admin.set_store_state(STORE, True) is True
    with pytest.raises(LibrarianError, match="Store nowhere does not exist"):
        admin.set_store_state("nowhere", True)


def test_troubles_are_found_and_cleared_once(shared_site, admin):
    assert admin.search_errors(category="programming") == []
    shared_site.evaluate(
        "__import__('librarian.common.inbox', fromlist=['x']).report_error(severity='error', category='programming', "
        "code='internal_error', message='for a test', caller='test') and None"
    )
    (error,) = admin.search_errors(category="programming", severity="error")
    assert error.message == "for a test"
    now = datetime.now(UTC)
    assert admin.search_errors(create_time_window=(now - timedelta(hours=1), now + timedelta(hours=1)))
    assert admin.search_errors(create_time_window=(now - timedelta(hours=2), now - timedelta(hours=1))) == []
    admin.clear_error(error.id)
    assert admin.search_errors(category="programming") == []
    assert admin.search_errors(id=error.id, include_resolved=True)[0].cleared is True
    with pytest.raises(ValueError, match="already been cleared"):
        admin.clear_error(error.id)
    with pytest.raises(ValueError, match="No error found"):
        admin.clear_error(10**6)
    with pytest.raises(ValueError):
        admin.search_errors(category="no such category")


def test_a_file_that_lies_on_a_store_is_registered(shared_site, admin):
    path = shared_site.store_path / "2459122" / "row.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(HELLO)
    arguments = {"create_time": datetime.now(UTC), "size": 18, "checksum": HELLO_CHECKSUM, "uploader": "someone"}
    assert admin.add_file_row("row.txt", **arguments, path=path, store_name=STORE).already_exists is False
    assert admin.add_file_row("row.txt", **arguments, path=path, store_name=STORE).already_exists is True
    (file,) = admin.search_files("row.txt")
    assert (file.uploader, file.source) == ("someone", admin.user)
    with pytest.raises(LibrarianError, match="does not exist"):
        admin.add_file_row("none.txt", **arguments, path=path.with_name("none.txt"), store_name=STORE)
    with pytest.raises(LibrarianError, match="Store nowhere"):
        admin.add_file_row("none.txt", **arguments, path=path, store_name="nowhere")


def test_copies_are_not_erased_on_request(shared_site, admin, tmp_path):
    (tmp_path / "kept.txt").write_bytes(HELLO)
    upload_by_disk(admin, tmp_path / "kept.txt", "kept.txt")
    (number,) = shared_site.evaluate(
        "list(Instance.objects.filter(file__name='kept.txt').values_list('id', flat=True))"
    )
    with pytest.raises(LibrarianError, match="is kept"):
        admin.delete_instance(number)
    with pytest.raises(LibrarianError, match="does not exist"):
        admin.delete_instance(10**6)
    with pytest.raises(LibrarianError, match="'local' or 'remote'"):
        admin.delete_instance(number, "both")
    assert admin.search_files("kept.txt")[0].instances[0].available


def test_other_sites_are_added_listed_switched_and_removed(admin):
    assert admin.get_librarian_list().librarians == []
    port, secret = free_port(), "karoo:a-secret-of-karoo"
    assert admin.add_librarian("north", url=HOST, port=port, authenticator=secret, check_connection=False) is True
    assert admin.add_librarian("south", host=HOST, port=port, authenticator=secret, check_connection=False) is True
    assert admin.add_librarian("north", url=HOST, port=port, authenticator=secret, check_connection=False) is False
    assert admin.add_librarian("west", url=HOST, port=port, authenticator=secret) is False  # asked, and nobody is there
    found = admin.get_librarian_list().librarians
    assert {(each.name, each.url, each.port, each.available) for each in found} == {
        ("north", HOST, port, None),
        ("south", HOST, port, None),
    }
    assert secret not in repr(found)
    assert admin.set_librarian_status("north", False) is False
    assert {each.name: each.enabled for each in admin.get_librarian_list().librarians}["north"] is False
    assert admin.set_librarian_status("north", True) is True
    assert admin.remove_librarian("north", remove_outgoing_transfers=True) == (True, 0)
    assert admin.remove_librarian("south") == (True, 0)
    for call in (admin.remove_librarian, lambda name: admin.set_librarian_status(name, True)):
        with pytest.raises(LibrarianError, match="Librarian north does not exist"):
            call("north")
    for wrong in ({"port": None}, {"authenticator": ""}, {"port": 0}, {"url": None}):
        arguments = {"name": "x", "url": HOST, "port": 1, "authenticator": secret, **wrong}
        with pytest.raises(ValueError) as refused:
            admin.add_librarian(**arguments)
        assert secret not in str(refused.value)


def test_an_administrators_client_is_a_client(shared_site, admin):
    assert isinstance(admin, LibrarianClient)
    assert isinstance(AdminClient.from_info(type("Info", (), _info(shared_site))), AdminClient)


def _info(site):
    return {"host": HOST, "port": site.port, "user": "me", "password": "x"}
