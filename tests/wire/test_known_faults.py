"""Faults of the reference's section 13 that touch the endpoints of this site: each has a test that it is not ours.

Numbers in the docstrings are those of the list.
"""

import json
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from files.models import DeletionPolicy, File, Instance, Upload
from hera_librarian.checksums import parse_checksum
from librarian.common.inbox import report_error
from librarian.common.models import ErrorRecord
from tests.make import make_file, make_remote_instance
from tests.wire.caller import HELLO, HELLO_CHECKSUM, TREE, TREE_CHECKSUM, checksum


def test_of_two_uploads_of_one_name_one_wins_and_its_bytes_stay(begin, store, nothing_left):
    """5: two ingests of one name overwrote each other."""
    first, second = begin("x", b"first").write(), begin("x", b"second").write()
    assert second.commit().status_code == 200
    assert first.commit().status_code == 409
    (instance,) = Instance.objects.all()
    assert b"".join(store.backend.read(instance.path)) == b"second"
    nothing_left()


def test_a_failed_commit_leaves_no_orphan_that_blocks_the_name(begin, store, nothing_left):
    """6: bytes moved before a failed database commit stayed and refused every later upload."""
    orphan = Path(store.configuration["root"]) / "2459122" / "x"
    orphan.parent.mkdir()
    orphan.write_bytes(b"somebody else's")
    delivery = begin("2459122/x").write()
    assert delivery.commit().status_code == 200
    assert orphan.read_bytes() == b"somebody else's"
    assert Instance.objects.get().path == "2459122~2/x"
    nothing_left()


def test_a_commit_repeated_after_success_succeeds_again(deliver):
    """7: a repetition after a lost answer failed the upload."""
    delivery = deliver()
    for _ in range(3):
        response = delivery.commit()
        assert (response.status_code, response.content) == (200, b"")
    assert delivery.upload.state == "committed"
    assert File.objects.count() == Instance.objects.count() == 1


def test_a_commit_repeated_after_failure_gives_the_same_answer(begin):
    """7: as above, for a failure."""
    delivery = begin().write(b"not what was declared")
    first, second = delivery.commit(), delivery.commit()
    assert first.status_code == second.status_code == 406
    assert first.json()["reason"] == second.json()["reason"]


def test_uploads_of_equal_bytes_do_not_touch_each_other(begin):
    """9: staging failed every upload in progress with the same checksum, whoever owned it."""
    one = begin("one").write()
    two = begin("two", user="admin").write()
    again = begin("one", user="readwrite").write()
    assert one.commit().status_code == 200
    assert two.commit().status_code == 200
    assert again.commit().status_code == 409


def test_a_directory_with_other_names_is_other_content(begin, deliver):
    """10: the directory checksum binds no names, so renames and swaps inside went unnoticed."""
    moved = {("empty/zzz" if name == "sub/a.txt" else name): part for name, part in TREE.items() if name != "empty"}
    assert checksum(moved) == TREE_CHECKSUM
    late = begin("obs", moved).write()
    deliver("obs", TREE)
    response = late.commit()
    assert response.status_code == 409
    assert "other bytes" in response.json()["suggested_remedy"]
    deliver("renamed", moved)
    digests = set(File.objects.values_list("digest", flat=True))
    assert len(digests) == 2


def test_a_name_whose_last_copy_is_gone_takes_the_same_bytes_again(deliver, begin, wire):
    """13: the row of a deleted file blocked its name for ever."""
    deliver("x")
    Instance.objects.update(presence="gone")
    status, answer = wire.refused(
        "upload/stage",
        {
            "upload_size": 5,
            "upload_checksum": checksum(b"other"),
            "upload_name": "x",
            "destination_location": "x",
            "uploader": "u",
        },
    )
    assert status == 409
    assert "other bytes" in answer["suggested_remedy"]
    assert begin("x").write().commit().status_code == 200
    assert Instance.objects.get().is_present


def test_links_inside_a_product_are_kept_as_bytes_and_others_refused(begin, store, tmp_path, nothing_left):
    """17: links were moved as links, their targets hashed but not archived."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"alpha\n")
    inside = begin("inside", {"a.txt": b"alpha\n", "link": b"alpha\n"})
    write_links(inside, {"a.txt": b"alpha\n"}, {"link": "a.txt"})
    assert inside.commit().status_code == 200
    kept = Path(store.configuration["root"]) / Instance.objects.get().path / "link"
    assert kept.read_bytes() == b"alpha\n"
    assert not kept.is_symlink()
    outside = begin("outside", {"a.txt": b"alpha\n", "link": b"alpha\n"})
    write_links(outside, {"a.txt": b"alpha\n"}, {"link": str(secret)})
    response = outside.commit()
    assert 400 <= response.status_code < 500
    assert "link" in response.json()["reason"]
    flat = begin("flat", b"alpha\n")
    os.symlink(secret, flat.staged["staging_location"])
    assert 400 <= flat.commit().status_code < 500
    assert list(File.objects.values_list("name", flat=True)) == ["inside"]
    assert secret.read_bytes() == b"alpha\n"
    nothing_left()


def write_links(delivery, files, links):
    root = Path(delivery.staged["staging_location"])
    root.mkdir()
    for name, part in files.items():
        (root / name).write_bytes(part)
    for name, target in links.items():
        os.symlink(target, root / name)


def test_hashing_directories_starts_no_processes(deliver):
    """18: a process pool per directory hung the server."""
    for number in range(10):
        deliver(f"obs{number}", TREE)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("1", 1), ("allowed", 1), ("ALLOWED", 1), (1, 1), ("0", 0), ("disallowed", 0), ("Disallowed", 0), (0, 0)],
)
def test_the_deletion_policy_is_honoured_in_every_form_that_clients_send(deliver, wire, sent, kept):
    """34, and rule 14: the wish to allow deletion was never heard."""
    deliver("x", deletion_policy=sent)
    assert Instance.objects.get().deletion_policy == kept
    (found,) = wire.ok("search/file", {"name": "x"}, user="readonly")
    assert found["instances"][0]["deletion_policy"] == kept
    assert wire.ok("search/instance_local", {"deletion_policy": DeletionPolicy(kept).name}, user="admin")


def test_the_limit_on_results_does_not_bind_administrators(wire, store, settings):
    """41: results were capped for administrators too."""
    settings.LIBRARIAN_MAX_SEARCH_RESULTS = 3
    for _ in range(5):
        make_file(store=store)
        report_error(severity="info", category="transfer", code=f"x{ErrorRecord.objects.count()}", message="m")
    assert len(wire.ok("search/file", {"max_results": 100}, user="readonly")) == 3
    assert len(wire.ok("search/file", {"max_results": 2}, user="readonly")) == 2
    for endpoint in ("search/file", "search/instance_local", "search/error"):
        assert len(wire.ok(endpoint, {"max_results": 100}, user="admin")) == 5
        assert len(wire.ok(endpoint, {"max_results": 4}, user="admin")) == 4


def test_times_with_an_offset_mean_what_they_say(wire, store):
    """45: offsets were dropped or converted by the connection's zone."""
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    make_file("x", store=store, registered_at=at, instance={"created_at": at})
    hit = ["2026-03-01T13:30:00+02:00", "2026-03-01T14:30:00+02:00"]
    miss = ["2026-03-01T11:30:00+02:00", "2026-03-01T12:30:00+02:00"]
    (found,) = wire.ok("search/file", {"create_time_window": hit}, user="readonly")
    assert found["create_time"] == "2026-03-01T12:00:00"
    assert wire.post("search/file", {"create_time_window": miss}, user="readonly").status_code == 404
    for window in (["2026-03-01T12:00:00", "2026-03-01T12:00:00"], ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"]):
        assert wire.ok("search/file", {"create_time_window": window}, user="readonly"), "both ends belong to it"
    assert wire.ok("search/instance_local", {"created_time": "2026-03-01T07:00:00-05:00"}, user="admin")
    error = report_error(severity="info", category="transfer", code="x", message="m")
    ErrorRecord.objects.filter(pk=error.pk).update(raised_at=at)
    assert wire.ok("search/error", {"create_time_window": hit}, user="admin")
    assert wire.post("search/error", {"create_time_window": miss}, user="admin").status_code == 404


def test_add_file_keeps_the_time_it_is_given(wire, store):
    """46: `create_time` was ignored."""
    place = Path(store.configuration["root"]) / "2459122" / "hello.txt"
    place.parent.mkdir()
    place.write_bytes(HELLO)
    body = {
        "name": "hello.txt",
        "create_time": "2020-05-17T12:16:09+02:00",
        "size": 18,
        "checksum": HELLO_CHECKSUM,
        "uploader": "u",
        "source": "s",
        "path": str(place),
        "store_name": "local_store",
    }
    wire.ok("admin/add_file", body, user="admin")
    assert File.objects.get().first_registered_at == datetime(2020, 5, 17, 10, 16, 9, tzinfo=UTC)


def test_every_upload_that_ends_has_an_end_time(begin, deliver):
    """51: the end was missing on many failures."""
    deliver("good")
    begin("bad").write(b"x").commit()
    begin("absent").commit()
    assert Upload.objects.count() == 3
    assert not Upload.objects.filter(finished_at__isnull=True).exists()
    assert not Upload.objects.filter(state="failed", failure_reason="").exists()


@pytest.mark.parametrize("name", ["/etc/hostname", "../other/x", "a/../../x", "..", "../../../etc/passwd"])
def test_upload_names_cannot_leave_their_staging(wire, store, name):
    """58: an upload name led anywhere on the disk, and let callers test for any path."""
    body = {
        "upload_size": 18,
        "upload_checksum": HELLO_CHECKSUM,
        "upload_name": name,
        "destination_location": "x",
        "uploader": "u",
    }
    assert wire.refused("upload/stage", body)[0] == 400
    body = {**body, "upload_name": "harmless", "destination_location": "dir/harmless"}
    location = wire.ok("upload/stage", body, 201)["staging_location"]
    assert location.startswith(f"{store.configuration['staging']}/")
    assert len(location) <= 256
    assert "harmless" not in location


def test_commit_takes_nothing_from_the_message_that_leads_elsewhere(begin, store):
    """58: as above, at commit."""
    other = begin("other", b"other's").write()
    mine = begin("mine").write()
    body = {"staging_location": "/etc/hostname", "staging_name": other.staged["staging_name"], "upload_name": "../x"}
    assert mine.commit(**body).status_code == 200
    assert b"".join(store.backend.read(Instance.objects.get().path)) == HELLO
    assert other.commit().status_code == 200


@pytest.mark.parametrize("count", [1, 30])
def test_searches_cost_the_same_few_queries_whatever_they_find(wire, store, django_assert_max_num_queries, count):
    """67: two queries per result."""
    for _ in range(count):
        make_remote_instance(make_file(store=store))
    wire.ok("search/file", {}, user="admin")  # the credential is remembered from here on
    with django_assert_max_num_queries(5):  # account, files, instances, remote instances, stores
        assert len(wire.ok("search/file", {}, user="admin")) == count
    with django_assert_max_num_queries(3):  # account, instances with their files, stores
        assert len(wire.ok("search/instance_local", {}, user="admin")) == count
    with django_assert_max_num_queries(2):  # account, stores
        wire.ok("admin/stores/list", user="admin")


def test_search_ends_with_newest_first(wire, store):
    """8 of the protocol: newest first, also when many were registered at one time."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    names = [make_file(registered_at=at + timedelta(seconds=number // 2)).name for number in range(6)]
    assert [found["name"] for found in wire.ok("search/file", {}, user="readonly")] == names[::-1]


def test_a_file_of_a_forgotten_peer_is_found_as_before(wire, store):
    """38: a removed peer made searches of its files fail."""
    make_remote_instance(make_file("x", store=store), peer="long gone")
    (found,) = wire.ok("search/file", {"name": "x"}, user="readonly")
    assert found["remote_instances"][0]["librarian_name"] == "long gone"


def test_a_copy_that_is_gone_is_listed_as_not_available(wire, store):
    """8.1: all instances are listed, available or not."""
    file = make_file("x", store=store)
    file.instances.update(presence="set_aside")
    (found,) = wire.ok("search/file", {"name": "x"}, user="readonly")
    assert found["instances"][0]["available"] is False
    assert wire.ok("search/instance_local", {"available": False}, user="admin")


def test_no_answer_holds_anything_that_is_not_json(wire, store):
    """Sizes of 2^63 - 1 and any legal name come back as they went in."""
    digest = "0" * 64
    File.objects.create(
        name="größe 測定 \U0001f600.txt",
        kind="flat",
        size_bytes=2**63 - 1,
        checksum=f"sha256:::{digest}",
        digest=digest,
        uploader="u",
        source="s",
    )
    response = wire.post("search/file", {"name": "größe 測定 \U0001f600.txt"}, user="readonly")
    (found,) = json.loads(response.content)
    assert found["size"] == 2**63 - 1
    assert parse_checksum(found["checksum"])
