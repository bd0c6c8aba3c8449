"""Copies on stores of other machines: found, handed out whole and by range, and never condemned for a broken line."""

import base64
import io
import sys
import tarfile
from pathlib import Path

import pytest
import requests
from django.utils import timezone

from files.models import Condition, Instance
from files.services.download import copies_of
from stores.backends.base import new_token
from stores.backends.ssh.sharing import end_sharing
from stores.models import Store
from stores.services import add_store
from tests.asking import Api, body_of
from tests.make import bytes_path, make_cast, make_file, make_store, write_bytes
from tests.rig import s3_server
from tests.rig.servers import ADMIN, ADMIN_PASSWORD
from tests.rig.sshd import HOST, Sshd
from tests.wire.caller import Wire

BIG = b"0123456789abcdef" * 50_000
PRODUCT = {"header": b"hhh", "visdata": b"v" * 70_000, "empty": None, "sub/höhe x": b"flags"}


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    end_sharing({"host": HOST, "ssh_config": str(server.config)})
    server.stop()


@pytest.fixture(scope="module")
def bucket_server():
    with s3_server.running() as server:
        yield server


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def near(db, tmp_path):
    return make_store(tmp_path, name="near")


@pytest.fixture
def pot(db, sshd, tmp_path):
    configuration = {"host": HOST, "root": str(tmp_path / "pot"), "python": sys.executable}
    return add_store(
        actor=None, name="pot", kind="ssh", configuration={**configuration, "ssh_config": str(sshd.config)}
    )


@pytest.fixture
def cloud(db, bucket_server, tmp_path, monkeypatch):
    for name, value in (("ACCESS_KEY_ID", s3_server.KEY_ID), ("SECRET_ACCESS_KEY", s3_server.SECRET)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    requests.put(f"{bucket_server.url}/night", timeout=10)
    configuration = {"bucket": "night", "prefix": tmp_path.name, "endpoint_url": bucket_server.url}
    return add_store(actor=None, name="cloud", kind="s3", configuration={**configuration, "spool": f"{tmp_path}/spool"})


@pytest.fixture(params=["pot", "cloud"])
def far(request):
    store = request.getfixturevalue(request.param)
    assert store.available, store.availability_reason
    return store


def copy_to(store: Store, file) -> Instance:
    """Another copy of a file, brought by what every kind of store can do."""
    copy = Instance.objects.select_related("store").get(file=file)
    token, backend = new_token(), store.backend
    backend.stage(token, private=True)
    content = backend.copy_in(token, str(bytes_path(copy.store, copy.path)), ["sha256"])
    assert content.digest == file.digest
    backend.sync_items([token])
    backend.place_item(token, copy.path)
    backend.sync_places([copy.path])
    backend.drop_staging(token)
    fields = {"condition": Condition.GOOD, "condition_at": timezone.now()}
    return Instance.objects.create(file=file, store=store, path=copy.path, **fields)


def switch_off(store: Store) -> None:
    Store.objects.filter(pk=store.pk).update(enabled=False)


def get(api, name, **headers):
    response = api.get(f"files/{name}/content", headers)
    return response.status_code, body_of(response), response


def test_the_copy_on_another_machine_is_handed_out_when_the_near_one_is_away(api, near, far, settings):
    file = make_file("a.uvh5", content=BIG, store=near)
    copy_to(far, file)
    switch_off(near)
    status, body, whole = get(api, "a.uvh5")
    assert (status, body) == (200, BIG)
    assert whole.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(file.digest)).decode()}:"
    assert get(api, "a.uvh5", Range="bytes=100000-100009")[:2] == (206, BIG[100_000:100_010])
    assert get(api, "a.uvh5", Range="bytes=-7")[:2] == (206, BIG[-7:])
    head = api.head("files/a.uvh5/content")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(BIG)))
    assert get(api, "a.uvh5", Range=f"bytes={len(BIG)}-")[0] == 416
    settings.LIBRARIAN_ACCEL_PREFIX = "/internal"
    status, body, response = get(api, "a.uvh5")
    assert (body, "X-Accel-Redirect" in response.headers) == (BIG, False)  # nginx has no such file
    Store.objects.filter(pk=near.pk).update(enabled=True)
    assert "X-Accel-Redirect" in api.get("files/a.uvh5/content").headers


def test_directory_products_their_members_and_archives_come_from_there(api, near, far):
    copy_to(far, make_file("a.uvh", content=PRODUCT, store=near))
    copy_to(far, make_file("b.uvh5", content=BIG, store=near))
    switch_off(near)
    status, body, _ = get(api, "a.uvh")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        found = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
    assert found == {f"a.uvh/{path}": data for path, data in PRODUCT.items() if data is not None}
    part = api.get("files/a.uvh/content", {"Range": "bytes=2-4"}, member="sub/höhe x")
    assert (part.status_code, body_of(part)) == (206, b"ags")
    archive = body_of(api.get("files/archive"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
        assert tar.extractfile("b.uvh5").read() == BIG
    assert "a.uvh/sub/höhe x" in names


def test_of_equally_good_copies_the_nearest_is_read(api, near, far):
    file = make_file("a.uvh5", content=BIG, store=near)
    newer = copy_to(far, file)
    assert [copy.store.name for copy in copies_of([file])[file.pk].here] == ["near", far.name]
    Instance.objects.exclude(pk=newer.pk).update(condition=Condition.UNKNOWN)
    assert [copy.store.name for copy in copies_of([file])[file.pk].here] == [far.name, "near"]


def test_the_address_of_a_copy_is_told_and_finds_it(api, near, far):
    file = make_file("a.uvh5", content=b"bytes", store=near)
    copy = copy_to(far, file)
    address = {row["store"]: row["location"] for row in api.results("instances/", file="a.uvh5")}[far.name]
    assert address == far.backend.locate(copy.path)
    assert address.startswith({"ssh": f"{HOST}:/", "s3": "s3://night/"}[far.kind])
    found = Wire().ok("search/instance_local", {"path": address}, user="admin")
    assert [each["path"] for each in found] == [address]
    assert not address.startswith("/")


def test_bytes_that_are_gone_over_there_are_a_finding_and_a_broken_line_is_none(api, near, pot, sshd):
    file = make_file("a.uvh5", content=BIG, store=near)
    copy = copy_to(pot, file)
    switch_off(near)
    sshd.kill()
    try:
        status, body, _ = get(api, "a.uvh5")
        assert (status, b"pot" in body) == (503, True)
        copy.refresh_from_db()
        assert copy.condition == Condition.GOOD
    finally:
        sshd.start()
    assert get(api, "a.uvh5")[:2] == (200, BIG)
    Path(pot.configuration["root"], copy.path).unlink()
    assert get(api, "a.uvh5")[0] == 503
    copy.refresh_from_db()
    assert copy.condition == Condition.MISSING


def test_a_file_of_the_machine_is_not_looked_for_on_another_kind_in_place(near, far, tmp_path):
    """`ingest --in-place` takes paths of this machine, also where another's root is spelt the same."""
    from files.services.ingest import Wishes, ingest_products
    from files.services.products import find_products

    root = Path(far.configuration.get("root") or tmp_path / "cloud")
    root.mkdir(exist_ok=True)
    (root / "x.uvh5").write_bytes(b"bytes")
    wishes = Wishes(uploader="a tester", source="tests", in_place=True, null_obsid=True)
    (report,) = ingest_products(find_products([str(root / "x.uvh5")]), wishes)
    assert "lies in no store that is available here" in report.reason


def test_a_real_site_hands_out_what_only_its_storage_node_holds(start_site, sshd, tmp_path):
    """Ingested on a directory, copied to a storage node, and fetched through the portal's session from there."""
    site, product = start_site(), tmp_path / "big.bin"
    product.write_bytes(BIG)
    site.manage("ingest", str(product), "--null-obsid")
    root = tmp_path / "node"
    options = ["--kind", "ssh", "--destination", HOST, "--path", str(root), "--ssh-config", str(sshd.config)]
    site.manage("add_store", "pot", *options, "--python", sys.executable)
    place = site.evaluate("Instance.objects.get().path")
    (root / place).parent.mkdir(parents=True)
    (root / place).write_bytes(BIG)
    pot = "Store.objects.get(name='pot')"
    site.evaluate(f"Instance.objects.create(file=File.objects.get(), store={pot}, path={place!r}).pk")
    site.evaluate("Store.objects.exclude(name='pot').update(enabled=False)")

    session = requests.Session()
    session.get(f"{site.url}/login/", timeout=30)
    fields = {"username": ADMIN, "password": ADMIN_PASSWORD, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    session.post(f"{site.url}/login/", data=fields, timeout=30)
    page = session.get(f"{site.url}/file/big.bin", timeout=30)
    assert page.status_code == 200
    assert "pot" in page.text
    link = f"{site.url}/api/v3/files/big.bin/content"
    assert "/api/v3/files/big.bin/content" in page.text
    assert session.get(link, timeout=60).content == BIG
    part = session.get(link, headers={"Range": "bytes=5-20"}, timeout=60)
    assert (part.status_code, part.content) == (206, BIG[5:21])


# --- Ways in ----------------------------------------------------------------------------------------------------------


def test_products_are_ingested_onto_the_only_store_there_is(far, tmp_path):
    from files.services.ingest import Wishes, ingest_products
    from files.services.products import find_products

    night = tmp_path / "night"
    write_bytes(night / "a b'ü.uvh5", BIG)
    write_bytes(night / "b.uvh", PRODUCT)
    wishes = Wishes(uploader="a tester", source="tests", null_obsid=True)
    reports = list(ingest_products(find_products([str(night)]), wishes))
    assert [report.outcome for report in reports] == ["new"] * 2, reports
    copy = Instance.objects.select_related("file", "store").get(file__name="a b'ü.uvh5")
    assert copy.store == far
    assert b"".join(far.backend.read(copy.path)) == BIG


def test_resumable_uploads_arrive_on_the_only_store_there_is(far, db):
    make_cast()
    api = Api("readappend")
    name = base64.b64encode(b"a.uvh5").decode()
    tus = {"Tus-Resumable": "1.0.0"}
    begun = api.client.post(
        "/api/v3/uploads/", headers={**tus, "Upload-Length": str(len(BIG)), "Upload-Metadata": f"filename {name}"}
    )
    assert begun.status_code == 201, begun.content
    for start in range(0, len(BIG), 300_000):
        part = BIG[start : start + 300_000]
        headers = {**tus, "Upload-Offset": str(start)}
        sent = api.client.patch(
            begun.headers["Location"], part, content_type="application/offset+octet-stream", headers=headers
        )
        assert sent.status_code in (200, 204), sent.content
    assert get(api, "a.uvh5")[:2] == (200, BIG)
