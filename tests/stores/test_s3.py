"""The s3 kind: the contract against a real server over real HTTP, and what only a bucket can do wrong."""

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from librarian.common.errors import Conflict, Misconfigured, StoreFull, StoreUnavailable
from stores.backends import open_backend
from stores.backends.base import (
    ChangedWhileRead,
    Member,
    MissingBytes,
    PlaceOccupied,
    RecordLine,
    UnsafeProduct,
    new_token,
)
from stores.backends.s3 import S3Backend, clients, fetching, marker, moving, uploading
from stores.backends.s3.target import Target
from stores.backends.s3.trouble import explain
from stores.models import Store
from tests.hera_librarian.proxy import Proxy
from tests.make import tree_digest
from tests.rig import s3_server
from tests.rig.processes import free_port
from tests.rig.s3_server import S3Server
from tests.stores.contract import StoreContract, content_at, deliver, deliver_tree, write_tree

pytestmark = pytest.mark.database_independent
PART = 5 * 2**20  # the smallest that S3 allows
TREE = {"a": b"1", "sub/b": b"22", "empty": None}
SMALL_TREE = {"sub/b": b"22", "empty": None}  # each member costs a call in which one may be killed
WRITES = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject", "DeleteObject")
ODD_NAMES = ["two words", 'it\'s "quoted"', "a+b", "100%25", "~tilde", "Zoë—✓", "a&b=c?d#e", "back\\slash", " edge "]
_numbers = iter(range(10**6))


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    with s3_server.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of these tests only, from the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def bucket(server: S3Server) -> str:
    name = f"bucket-{next(_numbers)}"
    client(server.url).create_bucket(Bucket=name)
    return name


@pytest.fixture
def backend(server: S3Server, bucket: str, tmp_path: Path) -> S3Backend:
    return s3(server.url, bucket, tmp_path / "spool")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_BYTES", PART)


def client(url: str) -> Any:
    return clients.client_for(Target("", "", url, "", "", ""))


def s3(url: str, bucket: str, spool: Path, *, begin: bool = True, **fields: Any) -> S3Backend:
    """A store that the catalogue does not know."""
    configuration = {"bucket": bucket, "endpoint_url": url, "spool": str(spool), **fields.pop("configuration", {})}
    backend = open_backend(Store(**{"name": "cloud", "kind": "s3", "configuration": configuration, **fields}))
    if begin:
        backend.initialise()
    return backend


def again(backend: S3Backend) -> S3Backend:
    """The same store, as another process opens it."""
    return open_backend(backend.store)


def keys(backend: S3Backend, below: str = "") -> list[str]:
    return [found.key for found in backend._bucket.list(below)]


def left_over(backend: S3Backend) -> list[str]:
    """Claims and uploads in parts."""
    return [*keys(backend, ".librarian/claims/"), *(key for key, _, _ in uploading.open_uploads(backend._bucket, ""))]


def forget_looks() -> None:
    """The marker is looked at anew by the next call, as it is some seconds later."""
    marker._seen.clear()


class TestContract(StoreContract):
    """Below a prefix; what can be is sent in parts and read ahead."""

    @pytest.fixture
    def backend(
        self, server: S3Server, bucket: str, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
    ) -> S3Backend:
        monkeypatch.setattr(fetching, "AHEAD_BYTES", 2**20)
        return s3(server.url, bucket, tmp_path / "spool", configuration={"prefix": "hera data/a"})


# --- Configuration ---


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bucket": None}, "'bucket' is missing"),
        ({"bucket": "no/bucket"}, "name of a bucket"),
        ({"bucket": 3}, "texts"),
        ({"spool": None}, "'spool' is missing"),
        ({"spool": "relative"}, "absolute"),
        ({"spool": "/" + "x" * 200}, "too long"),
        ({"prefix": "/a"}, "prefix"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": "a//b"}, "prefix"),
        ({"prefix": ".librarian"}, "prefix"),
        ({"prefix": "abcd/" * 60}, "longer"),
        ({"endpoint_url": "s3.example.org"}, "address"),
        ({"endpoint_url": "ftp://x"}, "address"),
        ({"endpoint_url": "http://my_minio:9000"}, "address"),
        ({"endpoint_url": "https://u:p@x"}, "must not carry credentials"),
        ({"region": "a b"}, "plain name"),
        ({"aws_secret_access_key": "x"}, "never from the database"),
        ({"root": "/a"}, "not a setting"),
    ],
)
def test_bad_configuration_is_explained(change: dict[str, Any], word: str) -> None:
    configuration = {"bucket": "archive", "spool": "/spool", **change}
    problems = S3Backend.check_configuration(configuration)
    assert any(word in problem for problem in problems), problems
    with pytest.raises(Misconfigured):
        open_backend(Store(name="x", kind="s3", configuration=configuration))


def test_good_configurations_are_accepted() -> None:
    elsewhere = {"endpoint_url": "https://s3.example.org:9000", "region": "eu-1"}
    here = [{"endpoint_url": "http://127.0.0.1:1"}, {"endpoint_url": "http://[::1]:1"}]
    for more in ({}, {"prefix": "a/b/"}, elsewhere, *here):
        assert S3Backend.check_configuration({"bucket": "archive", "spool": "/spool", **more}) == []


# --- Names ---


def test_odd_names_are_kept_exactly(backend: S3Backend, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        deliver(backend, name.encode(), f"1/{name}")
    deliver_tree(backend, write_tree(tmp_path / "d", {name: name.encode() for name in ODD_NAMES}), "2/d")
    assert {entry.place for entry in backend.list()} == {f"{top}/{name}" for top in ("1", "2/d") for name in ODD_NAMES}
    for name in ODD_NAMES:
        assert content_at(backend, f"1/{name}") == content_at(backend, "2/d", name) == name.encode()
        assert backend.place_of(backend.locate(f"1/{name}")) == f"1/{name}"
        aside = backend.set_aside(f"1/{name}", new_token())
        assert content_at(backend, aside) == name.encode()
    assert backend.digest("2/d", []).digest == tree_digest({name: name.encode() for name in ODD_NAMES})


def test_addresses_of_other_buckets_and_corners_are_no_places(backend: S3Backend, bucket: str) -> None:
    assert backend.locate("1/f") == f"s3://{bucket}/1/f"
    for other in (
        f"s3://{bucket}x/1/f",
        f"s3://{bucket}/.librarian/record/x",
        f"s3://{bucket}/a//b",
        f"s3://{bucket}/",
    ):
        assert backend.place_of(other) is None


def test_key_that_s3_does_not_allow_is_refused_before_anything_is_sent(backend: S3Backend, tmp_path: Path) -> None:
    deep = "/".join(["d" * 200] * 5)
    with pytest.raises(UnsafeProduct, match="longer than"):
        deliver(backend, b"x", f"1/{deep}")
    with pytest.raises(UnsafeProduct, match="longer than"):
        deliver_tree(backend, write_tree(tmp_path / "d", {f"{deep}/f": b"1"}), "1/d")
    assert list(backend.list()) == left_over(backend) == []


# --- Parts ---


@pytest.mark.parametrize("size", [PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_sizes_about_whole_parts(backend: S3Backend, small_parts: None, size: int) -> None:
    content = os.urandom(size)
    deliver(backend, content, "1/f")
    assert backend.digest("1/f", []).digest == hashlib.sha256(content).hexdigest()
    assert content_at(backend, "1/f") == content
    assert left_over(backend) == []


@pytest.mark.parametrize("size", [10, PART + 10])
def test_spool_that_changed_the_bytes_is_noticed(backend: S3Backend, small_parts: None, size: int) -> None:
    token = new_token()
    item = Path(backend.stage(token))
    backend.write_item(token, io.BytesIO(b"x" * size), [])
    seen = item.stat()
    item.chmod(0o644)
    item.write_bytes(b"x" * (size - 1) + b"y")
    os.utime(item, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    with pytest.raises(ChangedWhileRead, match="no longer those that arrived"):
        backend.place_item(token, "1/f")
    assert list(backend.list()) == left_over(backend) == []


def test_copies_too_large_for_one_request_are_made_in_parts(
    backend: S3Backend, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "SINGLE_COPY_BYTES", PART)
    content = os.urandom(2 * PART)
    deliver(backend, content, "1/f")
    aside = backend.set_aside("1/f", new_token())
    assert content_at(backend, aside) == content
    assert backend._bucket.look(aside).token


# --- Killed between any two calls ---


@contextmanager
def counting(backend: S3Backend, call: str) -> Iterator[list[str]]:
    """The calls of one kind that are made."""
    calls: list[str] = []

    def count(event_name: str, **_: Any) -> None:
        calls.append(event_name)

    events = backend._bucket.client.meta.events
    events.register(f"before-call.s3.{call}", count)
    try:
        yield calls
    finally:
        events.unregister(f"before-call.s3.{call}", count)


class Killed(BaseException):
    """What a process that is gone raises: nothing catches it."""


@contextmanager
def dying(backend: S3Backend, *, calls: int, after: bool) -> Iterator[list[str]]:
    """The process dies before, or after, its call number `calls` of those that change the bucket; none follows."""
    made: list[str] = []
    lock = threading.Lock()

    def died() -> bool:
        return len(made) > calls

    def before(event_name: str, **_: Any) -> None:
        with lock:
            if died():
                raise Killed
            if event_name.rsplit(".", 1)[1] in WRITES:
                made.append(event_name.rsplit(".", 1)[1])
                if died() and not after:
                    raise Killed

    def behind(**_: Any) -> None:
        if died():
            raise Killed

    events = backend._bucket.client.meta.events
    events.register("before-send.s3", before)
    events.register("response-received.s3", behind)
    try:
        yield made
    except Killed:
        pass
    finally:
        events.unregister("before-send.s3", before)
        events.unregister("response-received.s3", behind)


def stage_one(backend: S3Backend, kind: str, tmp_path: Path) -> tuple[str, str]:
    """A delivery that is ready for its place; its token and digest."""
    token = new_token()
    backend.stage(token)
    if kind == "tree":
        source = tmp_path / "tree"
        content = backend.copy_in(token, str(source if source.exists() else write_tree(source, SMALL_TREE)), [])
    else:
        content = backend.write_item(token, io.BytesIO(os.urandom(100 if kind == "small" else PART + 10)), [])
    return token, content.digest


@pytest.mark.parametrize(("kind", "after"), [("small", True), ("parts", False), ("parts", True), ("tree", True)])
def test_killed_between_any_two_calls_and_repeated(
    backend: S3Backend, tmp_path: Path, small_parts: None, kind: str, after: bool
) -> None:
    for calls in range(20):
        token, digest = stage_one(backend, kind, tmp_path)
        place = f"{calls}/p"
        with dying(backend, calls=calls, after=after) as made:
            backend.place_item(token, place)
        other = again(backend)
        whole = other.is_placed(token, place)
        if whole:
            assert other.digest(place, []).digest == digest
        else:
            assert [entry for entry in other.list() if entry.place.startswith(f"{calls}/")] == []
            with pytest.raises(MissingBytes):
                other.stat(place)
            with pytest.raises(MissingBytes):
                other.read(place, "sub/b" if kind == "tree" else "")
        other.place_item(token, place)
        assert other.is_placed(token, place)
        assert other.digest(place, []).digest == digest
        other.drop_staging(token)
        id_is_unknown = (kind, after, calls) == ("parts", True, 0)  # such an upload is ended when it is old
        assert left_over(other) == ([place] if id_is_unknown else [])
        for key, upload_id, _ in uploading.open_uploads(other._bucket, ""):
            uploading.abort(other._bucket, key, upload_id)
        if len(made) <= calls:
            break
    assert calls == {"small": 1, "parts": 4, "tree": 4}[kind]


@pytest.mark.parametrize(("kind", "calls"), [("parts", 2), ("tree", 0), ("tree", 1)])
def test_what_a_killed_delivery_left_goes_with_its_staging(
    backend: S3Backend, tmp_path: Path, small_parts: None, kind: str, calls: int
) -> None:
    token, _ = stage_one(backend, kind, tmp_path)
    with dying(backend, calls=calls, after=True):
        backend.place_item(token, "1/p")
    assert left_over(backend)
    again(backend).drop_staging(token)
    assert left_over(backend) == keys(backend, "1/") == []
    assert list(backend.list_staging()) == []


def test_a_killed_choice_of_place_is_cleared_by_the_next(backend: S3Backend, tmp_path: Path) -> None:
    token, digest = stage_one(backend, "tree", tmp_path)
    with dying(backend, calls=1, after=True):
        backend.place_item(token, "1/p")
    again(backend).place_item(token, "2/p")
    assert {entry.place for entry in backend.list()} == {"2/p/sub/b"}
    assert keys(backend, "1/") == left_over(backend) == []
    assert backend.digest("2/p", []).digest == digest


def test_uploads_of_a_lost_spool_are_ended_when_they_are_old(
    backend: S3Backend, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, _ = stage_one(backend, "parts", tmp_path)
    with dying(backend, calls=2, after=True):
        backend.place_item(token, "1/p")
    with monkeypatch.context() as patch:  # this server tells the same time of 2010 for every upload
        patch.setattr("stores.backends.s3.backend.ABANDONED_AFTER", timedelta(days=36500))
        list(backend.list_staging())
    assert left_over(backend) == ["1/p"]
    list(backend.list_staging())
    assert left_over(backend) == []


@pytest.mark.parametrize("kind", ["small", "tree"])
def test_killed_while_set_aside_and_repeated(backend: S3Backend, tmp_path: Path, kind: str) -> None:
    for calls in range(20):
        token, digest = stage_one(backend, kind, tmp_path)
        place, move = f"{calls}/p", new_token()
        backend.place_item(token, place)
        with dying(backend, calls=calls, after=True) as made:
            backend.set_aside(place, move)
        aside = again(backend).set_aside(place, move)
        assert backend.digest(aside, []).digest == digest
        assert keys(backend, f"{calls}/") == []
        if len(made) <= calls:
            break
    token, digest = stage_one(backend, kind, tmp_path)
    backend.place_item(token, place)
    backend.set_aside(place, move)  # once more, when new bytes are there
    assert backend.digest(place, []).digest == digest
    assert calls == {"small": 2, "tree": 5}[kind]


# --- Several writers ---


@pytest.mark.parametrize("kind", ["small", "parts", "tree"])
def test_of_several_writers_racing_for_one_place_one_wins(
    backend: S3Backend, tmp_path: Path, small_parts: None, kind: str
) -> None:
    deliveries = []
    for number in range(3):
        token = new_token()
        backend.stage(token)
        source = tmp_path / str(number)
        if kind == "tree":
            write_tree(source, {"same": b"%d" % number, f"own{number}": b"x"})
        else:
            source.write_bytes(os.urandom(100 if kind == "small" else PART + 1))
        deliveries.append((token, backend.copy_in(token, str(source), []).digest))
    outcomes = in_threads([lambda token=token: place(again(backend), token) for token, _ in deliveries])
    won = [digest for (_, digest), outcome in zip(deliveries, outcomes, strict=True) if outcome == "placed"]
    assert len(won) == 1
    assert set(outcomes) == {"placed", "occupied"}
    assert backend.digest("1/p", []).digest == won[0]
    assert left_over(backend) == []


def place(backend: S3Backend, token: str) -> str:
    try:
        backend.place_item(token, "1/p")
    except PlaceOccupied:
        return "occupied"
    return "placed"


def in_threads(acts: list[Callable[[], str]]) -> list[str]:
    """Do all at once; what each returned."""
    outcomes = ["nothing"] * len(acts)
    together = threading.Barrier(len(acts))

    def run(number: int) -> None:
        together.wait()
        outcomes[number] = acts[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return outcomes


def test_objects_of_somebody_else_are_never_taken_into_a_product(backend: S3Backend, tmp_path: Path) -> None:
    backend._bucket.put_new("1/d/stranger", b"s", {})
    with pytest.raises(PlaceOccupied):
        deliver_tree(backend, write_tree(tmp_path / "d", TREE), "1/d")
    with pytest.raises(PlaceOccupied):
        deliver(backend, b"x", "1/d")
    assert keys(backend, "1/") == ["1/d/stranger"]
    token, _ = stage_one(backend, "tree", tmp_path)
    with dying(backend, calls=1, after=True):
        backend.place_item(token, "2/d")
    backend._bucket.put_new("2/d/stranger", b"s", {})  # while it was written
    with pytest.raises(PlaceOccupied):
        again(backend).place_item(token, "2/d")
    assert keys(backend, "2/") == ["2/d/stranger"]
    assert left_over(backend) == []


def test_service_that_overwrites_is_no_store(server: S3Server, bucket: str, tmp_path: Path) -> None:
    backend = s3(server.url, bucket, tmp_path / "spool")

    def forget_condition(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("If-None-Match", None)

    for call in ("PutObject", "CompleteMultipartUpload"):
        backend._bucket.client.meta.events.register(f"before-call.s3.{call}", forget_condition)
        try:
            if call == "PutObject":
                found = backend.check()
                assert not found.available
                assert "overwrites" in found.reason
            with pytest.raises(Misconfigured, match="overwrites"):
                backend.initialise()
        finally:
            backend._bucket.client.meta.events.unregister(f"before-call.s3.{call}", forget_condition)
    assert backend.check().available
    assert keys(backend, ".librarian/probe") == []


# --- What lies there ---


def test_changed_missing_and_added_bytes_are_found(backend: S3Backend, bucket: str, tmp_path: Path) -> None:
    raw = backend._bucket.client
    deliver(backend, b"good", "1/f")
    raw.put_object(Bucket=bucket, Key="1/f", Body=b"gOod")
    assert backend.digest("1/f", []).digest == hashlib.sha256(b"gOod").hexdigest()
    deliver_tree(backend, write_tree(tmp_path / "d", TREE), "1/d")
    raw.put_object(Bucket=bucket, Key="1/d/a", Body=b"2")
    assert backend.digest("1/d", []).digest == tree_digest({**TREE, "a": b"2"})
    raw.put_object(Bucket=bucket, Key="1/d/more", Body=b"")
    assert backend.digest("1/d", []).digest == tree_digest({**TREE, "a": b"2", "more": b""})
    raw.delete_object(Bucket=bucket, Key="1/d/sub/b")
    assert backend.digest("1/d", []).digest == tree_digest({"a": b"2", "more": b"", "empty": None})
    backend.remove("1/d")
    assert keys(backend, "1/") == ["1/f"]


def test_objects_that_lay_there_already_are_files_and_products(backend: S3Backend, bucket: str) -> None:
    for key in ("old/d.uv/header", "old/d.uv/sub/visdata", "old/f", "old/folder/"):
        backend._bucket.client.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"bytes")
    assert {entry.place for entry in backend.list("old")} == {"old/d.uv/header", "old/d.uv/sub/visdata", "old/f"}
    assert backend.stat("old/d.uv") == ("directory", 10)
    assert backend.digest("old/d.uv", []).digest == tree_digest({"header": b"bytes", "sub/visdata": b"bytes"})
    assert content_at(backend, "old/d.uv", "sub/visdata") == b"bytes"
    token = new_token()
    aside = backend.set_aside("old/d.uv", token)
    assert backend.set_aside("old/d.uv", token) == aside
    assert content_at(backend, aside, "header") == b"bytes"
    assert keys(backend, "old/d.uv/") == []


def test_reading_goes_on_where_a_line_was_cut(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3 * 2**20)
    with Proxy(server.port) as proxy:
        backend = s3(f"http://127.0.0.1:{proxy.port}", bucket, tmp_path / "spool")
        deliver(backend, content, "1/f")
        reading, read = backend.read("1/f"), b""
        for block in reading:
            read += block
            if len(read) == 2**20:
                proxy.cut()
        assert read == content
        with counting(backend, "GetObject") as calls:
            backend.read("1/f")
        assert calls == [], "a read that nobody took from asked for bytes"


def test_object_that_is_replaced_while_it_is_read_is_noticed(backend: S3Backend, bucket: str) -> None:
    deliver(backend, bytes(2**20), "1/f")
    reading = backend.read("1/f")
    backend._bucket.client.put_object(Bucket=bucket, Key="1/f", Body=b"other")
    with pytest.raises(ChangedWhileRead):
        next(reading)


# --- The service and its answers ---


def test_line_that_is_cut_while_bytes_go_up(server: S3Server, bucket: str, tmp_path: Path, small_parts: None) -> None:
    with Proxy(server.port) as proxy:
        backend = s3(f"http://127.0.0.1:{proxy.port}", bucket, tmp_path / "spool")
        proxy.cut_after(2**20, PART)
        content = os.urandom(2 * PART)
        deliver(backend, content, "1/f")
        assert content_at(backend, "1/f") == content
        assert left_over(backend) == []


def test_service_that_is_gone_and_comes_back(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "ATTEMPTS", 1)  # with pauses between them otherwise
    with Proxy(server.port) as proxy:
        backend = s3(f"http://127.0.0.1:{proxy.port}", bucket, tmp_path / "spool")
        deliver(backend, b"x", "1/f")
        proxy.refuse()
        found = backend.check()
        assert not found.available
        assert "not reached" in found.reason
        for act in bucket_acts(backend):
            forget_looks()
            with pytest.raises(StoreUnavailable):
                act()
        token = new_token()
        backend.stage(token)  # a delivery goes on meanwhile
        backend.write_item(token, io.BytesIO(b"y"), [])
        proxy.refuse(False)
        backend.place_item(token, "1/g")
        assert backend.check().available
        assert content_at(backend, "1/f") == b"x"


def bucket_acts(backend: S3Backend) -> list[Callable[[], object]]:
    """Everything that needs the bucket."""
    token = new_token()
    backend.stage(token)
    backend.write_item(token, io.BytesIO(b"x"), [])
    return [
        lambda: backend.stat("1/f"),
        lambda: backend.read("1/f"),
        lambda: backend.read("1/f", "member"),
        lambda: backend.digest("1/f", []),
        lambda: list(backend.list()),
        lambda: backend.place_item(token, "1/h"),
        lambda: backend.is_placed(token, "1/h"),
        lambda: backend.set_aside("1/f", token),
        lambda: backend.set_aside_item(token),
        lambda: backend.remove("1/f"),
        lambda: backend.sync_bytes(["1/f"]),
        lambda: backend.append_record([]),
        lambda: list(backend.read_record()),
    ]


def test_nobody_listens_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "ATTEMPTS", 1)
    with pytest.raises(StoreUnavailable, match="is not reached"):
        s3(f"http://127.0.0.1:{free_port()}", "archive", tmp_path / "spool")


def test_missing_bucket_is_said_to_be_missing(backend: S3Backend, bucket: str) -> None:
    for key in keys(backend):
        backend._bucket.erase([key])
    backend._bucket.client.delete_bucket(Bucket=bucket)
    assert f"there is no bucket {bucket}" in backend.check().reason
    for act in bucket_acts(backend):
        forget_looks()
        with pytest.raises(StoreUnavailable):
            act()
    marker._seen[backend._marker._key] = float("inf")  # gone since the last look
    with pytest.raises(StoreUnavailable):
        backend.read("1/f")


def test_unknown_key_is_explained_without_naming_it(server: S3Server, backend: S3Backend) -> None:
    with server.checking_credentials():
        found = backend.check()
        with pytest.raises(StoreUnavailable) as caught:
            backend.stat("1/f")
    assert not found.available
    assert "does not know the access key" in found.reason
    for text in (found.reason, found.remedy, caught.value.reason, str(caught.value)):
        assert s3_server.KEY_ID not in text
        assert s3_server.SECRET not in text
    assert backend.check().available


@pytest.mark.parametrize(
    ("code", "word", "kind"),
    [
        ("SignatureDoesNotMatch", "secret key", StoreUnavailable),
        ("RequestTimeTooSkewed", "clocks", StoreUnavailable),
        ("AccessDenied", "denies", StoreUnavailable),
        ("PermanentRedirect", "another region", StoreUnavailable),
        ("SlowDown", "overloaded", StoreUnavailable),
        ("QuotaExceeded", "full", StoreFull),
        ("Wh<at>ever", "an error", StoreUnavailable),
    ],
)
def test_answers_of_a_service_are_explained_and_never_repeated(code: str, word: str, kind: type) -> None:
    message = f"The key {s3_server.KEY_ID} with {s3_server.SECRET} is wrong"
    error = ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")
    target = Target("archive", "", "", "", "hera", "/spool")
    told = explain(error, doing="writing", store_name="cloud", target=target)
    assert type(told) is kind
    assert word in told.reason
    assert s3_server.KEY_ID not in str(told.as_answer())
    assert s3_server.SECRET not in str(told.as_answer())


def test_credentials_of_a_profile(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreUnavailable, match="no credentials in the profile nobody"):
        s3(server.url, bucket, tmp_path / "spool", configuration={"profile": "nobody"})
    with pytest.raises(StoreUnavailable, match="no credentials in the AWS configuration"):
        s3(server.url, bucket, tmp_path / "spool", configuration={"region": "none-1"})
    secrets = tmp_path / "credentials"
    secrets.write_text(f"[hera]\naws_access_key_id={s3_server.KEY_ID}\naws_secret_access_key={s3_server.SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(secrets))
    deliver(s3(server.url, bucket, tmp_path / "spool", configuration={"profile": "hera"}), b"x", "1/f")


# --- The marker and the spool ---


def test_bucket_of_another_store_is_not_touched(
    server: S3Server, backend: S3Backend, bucket: str, tmp_path: Path
) -> None:
    deliver(backend, b"x", "1/f")
    with pytest.raises(Conflict, match="cloud"):
        s3(server.url, bucket, tmp_path / "other", name="cellar")
    other = s3(server.url, bucket, tmp_path / "third", name="cellar", begin=False)
    other._corners.initialise()
    found = other.check()
    assert not found.available
    assert "the bucket is not ours" in found.reason
    assert "cloud" in found.reason
    before = keys(backend)
    for act in bucket_acts(other):
        with pytest.raises(StoreUnavailable, match="not ours"):
            act()
    assert keys(backend) == before


def test_empty_unmarked_and_damaged_buckets_are_told_apart(backend: S3Backend, bucket: str) -> None:
    raw = backend._bucket.client
    raw.delete_object(Bucket=bucket, Key=".librarian/store.json")
    assert "is empty" in backend.check().reason
    assert not backend.carries_marker()
    raw.put_object(Bucket=bucket, Key="somebody's", Body=b"")
    assert "not our marker" in backend.check().reason
    raw.put_object(Bucket=bucket, Key=".librarian/store.json", Body=b"{")
    assert "damaged" in backend.check().reason
    with pytest.raises(StoreUnavailable):
        backend.stat("1/f")


def test_a_batch_looks_at_the_marker_once(backend: S3Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marker, "BELIEVED_SECONDS", 0.0)
    with counting(backend, "GetObject") as looks, backend.holding():
        for number in range(3):
            deliver(backend, b"x", f"1/{number}")
    assert len(looks) == 1
    with counting(backend, "GetObject") as looks:
        backend.stat("1/0")
    assert len(looks) == 1


def test_spool_that_is_away_makes_the_store_unavailable(backend: S3Backend, tmp_path: Path) -> None:
    deliver(backend, b"x", "1/f")
    (tmp_path / "spool").rename(tmp_path / "away")
    found = backend.check()
    assert not found.available
    assert "of its spool" in found.reason
    assert "does not exist" in found.reason
    with pytest.raises(StoreUnavailable):
        backend.stage(new_token())
    with pytest.raises(StoreUnavailable):
        backend.stat("1/nothing")
    assert content_at(backend, "1/f") == b"x"
    (tmp_path / "spool").mkdir()
    assert "empty" in backend.check().reason


def test_room_is_that_of_the_spool(mounted: Path, server: S3Server, bucket: str) -> None:
    backend = s3(server.url, bucket, mounted / "spool")
    space = backend.space()
    assert space.free_bytes < space.capacity_bytes <= 8 * 2**20
    token = new_token()
    backend.stage(token)
    with pytest.raises(StoreFull):
        backend.write_item(token, io.BytesIO(bytes(9 * 2**20)), [])
    assert not backend.has_item(token)


# --- The commit record ---


def line(number: int) -> RecordLine:
    return RecordLine(f"1/f{number}", {"name": f"f{number}", "member_count": 0})


def test_record_has_an_object_a_batch_and_shows_what_is_gone_or_changed(backend: S3Backend, bucket: str) -> None:
    for number in range(3):
        backend.append_record([(line(number), ())])
    first, second, third = keys(backend, ".librarian/record/")
    assert [found.place for found, _ in backend.read_record()] == ["1/f0", "1/f1", "1/f2"]
    assert backend.record_problems == []
    raw = backend._bucket.client
    text = raw.get_object(Bucket=bucket, Key=first)["Body"].read()
    raw.put_object(Bucket=bucket, Key=first, Body=text.replace(b'"f0"', b'"f9"'))
    raw.delete_object(Bucket=bucket, Key=second)
    raw.put_object(Bucket=bucket, Key=third, Body=raw.get_object(Bucket=bucket, Key=third)["Body"].read()[:-5])
    assert list(backend.read_record()) == []
    problems = " ".join(backend.record_problems)
    assert "changed" in problems
    assert "is gone" in problems
    assert "torn" in problems


def test_record_of_many_members_is_kept_whole(backend: S3Backend) -> None:
    members = [Member("file", f"{number:05}", 1, "0" * 64) for number in range(5000)]
    backend.append_record([(RecordLine("1/d", {"member_count": 5000}), members)])
    [(_, told)] = [(found, list(told)) for found, told in backend.read_record()]
    assert told == members
