"""The posix kind: the contract, and what only a real directory can do wrong."""

import errno
import io
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from librarian.common.errors import Conflict, Misconfigured, StoreFull, StoreUnavailable
from stores.backends import durable, open_backend
from stores.backends.base import (
    ChangedWhileRead,
    MissingBytes,
    PlaceOccupied,
    RecordLine,
    StoreBackend,
    UnsafeProduct,
    new_token,
)
from stores.backends.posix import PosixBackend
from stores.models import Store
from tests.make import tree_digest
from tests.stores.contract import LARGE, StoreContract, content_at, deliver, deliver_tree, write_tree

pytestmark = pytest.mark.database_independent
OTHER_USER = 54321  # nobody's number


def posix(root: Path, **fields: object) -> PosixBackend:
    """An initialised store that the catalogue does not know."""
    staging = fields.pop("staging", None)
    configuration = {"root": str(root), **({"staging": str(staging)} if staging else {})}
    backend = open_backend(Store(**{"name": "attic", "configuration": configuration, **fields}))
    backend.initialise()
    return backend


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def backend(root: Path) -> PosixBackend:
    return posix(root)


class TestContract(StoreContract):
    pass


class TestContractWithStagingOfItsOwn(StoreContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StoreBackend:
        return posix(tmp_path / "root", staging=tmp_path / "staging")


class TestContractWithoutKernelHelp(StoreContract):
    """No hard links (as on FAT), no renameat2, no syncfs."""

    @pytest.fixture
    def backend(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> StoreBackend:
        def no_link(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", no_link)
        monkeypatch.setattr(durable, "_renameat2", None)
        monkeypatch.setattr(durable, "HAS_SYNCFS", False)
        return posix(root)


# --- Configuration ---


@pytest.mark.parametrize(
    ("configuration", "word"),
    [
        ({}, "root"),
        ({"root": "relative"}, "absolute"),
        ({"root": "/"}, "below /"),
        ({"root": "/a/../b"}, "plain"),
        ({"root": "/a\nb"}, "plain"),
        ({"root": 3}, "absolute"),
        ({"root": "/a", "rot": "/b"}, "rot"),
        ({"root": "/a", "staging": "/a"}, "root itself"),
        ({"root": "/a/b", "staging": "/a"}, "hold it"),
        ({"root": "/a", "staging": "/a/b"}, "outside"),
        ({"root": "/" + "x" * 250}, "too long"),
        ([], "object"),
    ],
)
def test_bad_configuration_is_explained(configuration: object, word: str) -> None:
    problems = PosixBackend.check_configuration(configuration)
    assert any(word in problem for problem in problems)
    with pytest.raises(Misconfigured):
        open_backend(Store(name="x", configuration=configuration))


def test_good_configurations_are_accepted() -> None:
    for configuration in ({"root": "/a"}, {"root": "/a", "staging": "/b"}, {"root": "/a", "staging": ""}):
        assert PosixBackend.check_configuration(configuration) == []


# --- The marker ---


def test_empty_mount_point_is_unavailable_not_empty(backend: PosixBackend, root: Path) -> None:
    deliver(backend, b"x", "1/f")
    root.rename(root.with_name("elsewhere"))
    root.mkdir()
    found = backend.check()
    assert not found.available
    assert "empty" in found.reason
    assert "Mount" in found.remedy
    assert_nothing_can_be_done(backend)
    assert list(root.iterdir()) == []


def assert_nothing_can_be_done(backend: PosixBackend) -> None:
    token = new_token()
    for act in (
        lambda: backend.stat("1/f"),
        lambda: backend.read("1/f"),
        lambda: backend.digest("1/f", []),
        lambda: list(backend.list()),
        lambda: backend.stage(token),
        lambda: backend.has_item(token),
        lambda: backend.place_item(token, "1/g"),
        lambda: backend.is_placed(token, "1/g"),
        lambda: backend.drop_staging(token),
        lambda: list(backend.list_staging()),
        lambda: backend.set_aside("1/f", token),
        lambda: backend.remove("1/f"),
        lambda: backend.append_record([]),
        lambda: list(backend.read_record()),
        backend.space,
    ):
        with pytest.raises(StoreUnavailable):
            act()


def test_other_disk_at_the_root_is_named_with_both_names(backend: PosixBackend, root: Path, tmp_path: Path) -> None:
    deliver(backend, b"x", "1/f")
    posix(tmp_path / "other", name="cellar")
    root.rename(tmp_path / "away")
    (tmp_path / "other").rename(root)
    found = backend.check()
    assert not found.available
    assert "mounted but not ours" in found.reason
    assert "cellar" in found.reason
    assert "attic" in found.reason
    assert_nothing_can_be_done(backend)
    with pytest.raises(Conflict):
        backend.initialise()


def test_files_without_marker_are_not_taken_for_ours(backend: PosixBackend, root: Path) -> None:
    (root / ".librarian" / "store.json").unlink()
    (root / "somebody's").write_bytes(b"")
    assert "not our marker" in backend.check().reason
    assert not backend.carries_marker()
    (root / ".librarian" / "store.json").write_text("{")
    assert "damaged" in backend.check().reason


def test_missing_root_file_as_root_and_missing_staging_are_explained(tmp_path: Path, root: Path) -> None:
    backend = posix(root, staging=tmp_path / "staging")
    (tmp_path / "staging").rmdir()
    assert "staging" in backend.check().reason
    (root).rename(tmp_path / "away")
    assert "does not exist" in backend.check().reason
    root.write_bytes(b"")
    assert "not a directory" in backend.check().reason


def test_staging_on_another_file_system_is_refused(mounted: Path, root: Path) -> None:
    with pytest.raises(StoreUnavailable, match="another file system"):
        posix(root, staging=mounted / "staging")


def test_disk_that_is_unmounted_and_comes_back(mounted: Path) -> None:
    backend = posix(mounted / "r")
    deliver(backend, b"x", "1/f")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=True)  # hides ours
    assert not backend.check().available
    with pytest.raises(StoreUnavailable):
        backend.stat("1/f")
    subprocess.run(["umount", mounted], check=True)
    assert backend.check().available
    assert content_at(backend, "1/f") == b"x"


def test_read_only_disk_is_unavailable_and_still_read(mounted: Path) -> None:
    backend = posix(mounted / "r")
    deliver(backend, b"x", "1/f")
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    found = backend.check()
    assert not found.available
    assert "cannot be written" in found.reason
    assert content_at(backend, "1/f") == b"x"
    with pytest.raises(StoreUnavailable):
        backend.stage(new_token())
    with pytest.raises(StoreUnavailable):
        backend.stat("1/nothing")  # on a disk that went read-only by itself, absence is no evidence


def test_full_disk_is_said_to_be_full_and_leaves_no_partial_item(mounted: Path, tmp_path: Path) -> None:
    backend = posix(mounted / "r")
    deliver(backend, b"x", "1/f")
    (tmp_path / "source").write_bytes(bytes(LARGE))
    token = new_token()
    backend.stage(token)
    with pytest.raises(StoreFull):
        backend.write_item(token, io.BytesIO(bytes(LARGE)), [])
    assert not backend.has_item(token)
    with pytest.raises(StoreFull):
        backend.copy_in(token, str(tmp_path / "source"), [])
    assert not backend.has_item(token)
    assert content_at(backend, "1/f") == b"x"
    with open(mounted / "rest", "wb") as rest, pytest.raises(OSError, match="No space"):
        rest.write(bytes(LARGE))
    (mounted / "rest").stat()
    with pytest.raises(StoreFull):
        backend.append_record([(RecordLine("1/f", {"name": "x" * 20_000, "member_count": 0}), ())])
    with pytest.raises(StoreFull):
        backend.write_item(token, io.BytesIO(bytes(LARGE // 100)), [])
    assert backend.check().available
    with pytest.raises(MissingBytes):
        backend.stat("1/nothing")


# --- Whose bytes ---


def test_what_only_we_can_have_written_is_not_copied(backend: PosixBackend) -> None:
    token = new_token()
    item = Path(backend.stage(token))
    item.write_bytes(b"ours")
    inode = item.stat().st_ino
    backend.adopt(token, ["xxh3"])
    assert item.stat().st_ino == inode


def owned_by_other(item: Path) -> None:
    os.chown(item, OTHER_USER, OTHER_USER)


def writable_by_group(item: Path) -> None:
    item.chmod(0o664)


def linked_elsewhere(item: Path) -> None:
    os.link(item, item.parent / "second")


@pytest.mark.parametrize("change", [owned_by_other, writable_by_group, linked_elsewhere])
@pytest.mark.parametrize("tree", [False, True])
def test_what_others_may_still_write_is_copied(backend: PosixBackend, change: object, tree: bool) -> None:
    token = new_token()
    item = Path(backend.stage(token))
    written = item
    if tree:
        written = write_tree(item, {"sub/f": b"theirs", "g": b"1"}) / "sub" / "f"
    else:
        item.write_bytes(b"theirs")
    change(written)
    theirs = os.open(written, os.O_RDONLY)  # not a writer, which would be seen by itself
    inode = os.fstat(theirs).st_ino
    found = backend.adopt(token, ["xxh3"])
    backend.sync_items([token])
    backend.place_item(token, "1/p")
    with open(f"/proc/self/fd/{theirs}", "r+b") as late:
        late.write(b"CHANGED")
    os.close(theirs)
    assert backend.digest("1/p", ["xxh3"]).digest == found.digest
    assert (Path(backend.locate("1/p")) / ("sub/f" if tree else "")).stat().st_ino != inode
    placed = Path(backend.locate("1/p"))
    assert (placed / "sub" / "f" if tree else placed).stat().st_uid == os.geteuid()
    backend.drop_staging(token)
    assert list(backend.list_staging()) == []


def test_what_is_open_for_writing_is_copied(backend: PosixBackend) -> None:
    for tree in (False, True):
        token = new_token()
        item = Path(backend.stage(token))
        written = write_tree(item, {"f": b"early"}) / "f" if tree else item
        written.write_bytes(b"early")
        with open(written, "r+b") as still_open:
            found = backend.adopt(token, [])
            still_open.write(b"later")
        backend.place_item(token, f"1/{token}")
        assert backend.digest(f"1/{token}", []).digest == found.digest


def test_nobody_can_swap_the_item_between_reading_and_placing(backend: PosixBackend) -> None:
    token = new_token()
    item = Path(backend.stage(token))
    assert item.parent.stat().st_mode & 0o7777 == 0o775
    item.write_bytes(b"ours")
    backend.adopt(token, [])
    assert item.parent.stat().st_mode & 0o077 == 0


def test_refused_item_may_be_written_again(backend: PosixBackend) -> None:
    token = new_token()
    item = Path(backend.stage(token))
    item.write_bytes(b"x" * 100)

    def grow(_: int) -> None:
        os.utime(item, (1, 1))

    with pytest.raises(ChangedWhileRead):
        backend.adopt(token, [], grow)
    assert item.parent.stat().st_mode & 0o7777 == 0o775
    assert backend.adopt(token, []).size_bytes == 100


@pytest.mark.parametrize("kind", ["link", "pipe", "link_in_tree", "device_in_tree"])
def test_hostile_items_are_refused(backend: PosixBackend, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    token = new_token()
    item = Path(backend.stage(token))
    if kind == "link":
        item.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(item)
    elif kind == "link_in_tree":
        write_tree(item, {"a": b"1"})
        (item / "l").symlink_to(tmp_path / "secret")
    else:
        write_tree(item, {"a": b"1"})
        os.mknod(item / "null", 0o600 | 0o020000, os.makedev(1, 3))
    with pytest.raises(UnsafeProduct):
        backend.adopt(token, [])
    backend.drop_staging(token)
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert list(backend.list_staging()) == []


def test_tree_with_inner_link_is_adopted_as_bytes(backend: PosixBackend) -> None:
    token = new_token()
    item = write_tree(Path(backend.stage(token)), {"a": b"1"})
    (item / "l").symlink_to("a")
    assert backend.adopt(token, []).digest == tree_digest({"a": b"1", "l": b"1"})
    backend.place_item(token, "1/d")
    assert not Path(backend.locate("1/d"), "l").is_symlink()


def test_nesting_has_a_limit_and_is_cleared(backend: PosixBackend) -> None:
    token = new_token()
    backend.stage(token)
    fd = os.open(Path(backend.item_location(token)).parent, os.O_RDONLY)
    for level in range(400):  # deeper than is taken, and than we hold descriptors for
        name = "item" if level == 0 else "d"
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(UnsafeProduct):
        backend.adopt(token, [])
    backend.drop_staging(token)
    assert list(backend.list_staging()) == []


# --- Modes ---


def test_committed_files_are_read_only_when_asked(tmp_path: Path) -> None:
    for read_only, modes in ((True, (0o444, 0o555)), (False, (0o644, 0o755))):
        backend = posix(tmp_path / str(read_only), read_only_after_commit=read_only)
        deliver(backend, b"x", "1/f")
        deliver_tree(backend, write_tree(tmp_path / f"s{read_only}", {"sub/a": b"1"}), "1/d")
        token = new_token()
        write_tree(Path(backend.stage(token)), {"sub/a": b"1"})
        backend.adopt(token, [])
        backend.place_item(token, "1/e")
        place = Path(backend.locate("1/f")).parent
        for file in ("f", "d/sub/a", "e/sub/a"):
            assert (place / file).stat().st_mode & 0o7777 == modes[0], file
        for directory in ("d", "d/sub", "e", "e/sub"):
            assert (place / directory).stat().st_mode & 0o7777 == modes[1], directory


def test_staging_is_writable_by_the_group_only_when_asked(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        for group, mode in ((True, 0o775), (False, 0o755)):
            backend = posix(tmp_path / str(group), group_writable_staging=group)
            assert Path(backend.stage(new_token())).parent.stat().st_mode & 0o7777 == mode
    finally:
        os.umask(before)


def test_committed_files_get_our_group_when_asked(tmp_path: Path) -> None:
    for own, group in ((True, os.getegid()), (False, OTHER_USER)):
        backend = posix(tmp_path / str(own), own_after_commit=own)
        token = new_token()
        item = Path(backend.stage(token))
        item.write_bytes(b"x")
        os.chown(item, -1, OTHER_USER)
        backend.adopt(token, [])
        assert item.stat().st_gid == group


def test_unprivileged_server_delivers_sets_aside_and_clears(tmp_path: Path) -> None:
    """Root may do anything: what permissions really allow is seen by a process that is not root."""
    base = tmp_path / "base"
    base.mkdir()
    source = write_tree(tmp_path / "source", {"sub/a": b"1", "b": b"2"})
    for path in (base, source, source / "sub"):
        os.chown(path, OTHER_USER, OTHER_USER)

    def work() -> None:
        backend = posix(base / "store")
        assert backend.check().available
        token = deliver_tree(backend, source, "1/d")
        backend.place_item(token, "1/d")
        backend.drop_staging(token)
        assert list(backend.list_staging()) == []
        token = new_token()
        write_tree(Path(backend.stage(token)), {"sub/a": b"1"})
        backend.adopt(token, [])
        backend.drop_staging(token)  # read-only by now
        assert list(backend.list_staging()) == []
        aside = backend.set_aside("1/d", new_token())
        assert content_at(backend, aside, "b") == b"2"
        deliver_tree(backend, source, "1/d")
        backend.remove("1/d")
        (base / "store").chmod(0o500)
        assert "cannot be written" in backend.check().reason
        (base / "store").chmod(0o000)
        assert "may not open" in backend.check().reason

    run_as(OTHER_USER, work, tmp_path)


def test_unprivileged_server_copies_what_it_may_not_change(tmp_path: Path) -> None:
    """A client's own directory cannot be removed by another user: the delivery goes on, staging stays listed."""
    base = tmp_path / "base"
    base.mkdir()
    os.chown(base, OTHER_USER, OTHER_USER)
    token = new_token()

    def begin() -> None:
        posix(base / "store").stage(token)

    def go_on() -> None:
        backend = open_backend(Store.objects.model(name="attic", configuration={"root": str(base / "store")}))
        backend._corners.marker = json.loads((base / "store/.librarian/store.json").read_text())["marker"]
        assert backend.adopt(token, []).digest == tree_digest({"sub/a": b"1"})
        backend.place_item(token, "1/d")
        assert content_at(backend, "1/d", "sub/a") == b"1"
        backend.drop_staging(token)
        assert [found for found, _ in backend.list_staging()] == [token]

    run_as(OTHER_USER, begin, tmp_path)
    write_tree(base / "store/.librarian/staging" / token / "item", {"sub/a": b"1"})  # by root
    run_as(OTHER_USER, go_on, tmp_path)


def run_as(user: int, work: Callable[[], None], folder: Path) -> None:
    """Run `work` in a process of that user, who may come as far as `folder`."""
    for path in [folder, *folder.parents][:-1]:
        mode = path.stat().st_mode & 0o7777
        if mode & 0o005 != 0o005:
            path.chmod(mode | 0o005)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- Links planted in the store ---


def test_planted_links_lead_nowhere(backend: PosixBackend, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"secret")
    (root / "1").symlink_to(outside)
    (root / "2").mkdir()
    (root / "2" / "f").symlink_to(outside / "f")
    with pytest.raises(PlaceOccupied):
        deliver(backend, b"x", "1/new")
    with pytest.raises(PlaceOccupied):
        deliver(backend, b"x", "2/f")
    for place in ("1/f", "2/f"):
        for act in (backend.stat, backend.read, lambda place: backend.digest(place, [])):
            with pytest.raises((UnsafeProduct, MissingBytes)):
                act(place)
    assert [entry.place for entry in backend.list()] == []
    assert list(backend.list("1")) == []
    backend.remove("2/f")
    assert os.listdir(outside) == ["f"]


def test_clearing_staging_never_follows_links(backend: PosixBackend, tmp_path: Path) -> None:
    kept = write_tree(tmp_path / "kept", {"f": b"1"})
    token = new_token()
    item = Path(backend.stage(token))
    item.mkdir()
    (item / "out").symlink_to(kept)
    (item / "ro").mkdir()
    (item / "ro" / "f").write_bytes(b"")
    os.symlink(b"nowhere", os.fsencode(item) + b"/bad\xff\nname")
    (item / "ro").chmod(0o500)
    backend.drop_staging(token)
    assert list(backend.list_staging()) == []
    assert (kept / "f").read_bytes() == b"1"


def test_staging_tells_when_it_last_changed(backend: PosixBackend) -> None:
    token = new_token()
    item = write_tree(Path(backend.stage(token)), {"sub/a": b"1"})
    os.utime(item / "sub" / "a", (0, 0))  # as rsync -a leaves it
    (item.parent.parent / "not-a-token").mkdir()
    [(found, changed)] = backend.list_staging()
    assert found == token
    assert abs(changed - time.time()) < 60


# --- Places of addresses ---


def test_addresses_through_links_and_into_corners(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    backend = posix(tmp_path / "data" / "store")
    assert backend.place_of(str(tmp_path / "disk" / "store" / "1" / "f")) == "1/f"
    assert backend.place_of(str(tmp_path / "data" / "store" / "1" / ".." / "f")) == "f"
    assert backend.place_of(str(tmp_path / "data" / "store" / ".librarian" / "record" / "x")) is None
    assert backend.place_of(str(tmp_path / "data" / "store")) is None
    assert backend.place_of(str(tmp_path / "data" / "store2" / "f")) is None
    assert backend.place_of("relative") is None


# --- Crashes ---


@pytest.mark.parametrize("helped", [True, False])
@pytest.mark.parametrize("tree", [False, True])
def test_kill_between_any_two_file_operations_of_placing(tmp_path: Path, root: Path, helped: bool, tree: bool) -> None:
    """Die before each system call that changes names, then repeat: the item is placed whole, once."""
    source = write_tree(tmp_path / "d", {"sub/a": b"1"}) if tree else tmp_path / "f"
    if not tree:
        source.write_bytes(b"1")
    backend = posix(root)
    for calls in range(20):
        token, place = new_token(), f"{calls}/p"
        backend.stage(token)
        content = backend.copy_in(token, str(source), [])
        backend.sync_items([token])
        died = place_in_a_child_that_dies(backend, token, place, after=calls, helped=helped)
        was_there = os.path.lexists(backend.locate(place))
        assert not backend.is_placed(token, place) or was_there
        try:
            backend.place_item(token, place)
        except PlaceOccupied:
            # The claim of a name died before it was noted: an empty entry stays, the newcomer goes next door.
            assert not helped
            assert backend.stat(place)[1] == 0
            place = f"{calls}~2/p"
            backend.place_item(token, place)
        assert backend.is_placed(token, place)
        assert backend.digest(place, []).digest == content.digest
        backend.drop_staging(token)
        if not died:
            break
    assert not died
    assert calls >= 1


def place_in_a_child_that_dies(backend: PosixBackend, token: str, place: str, *, after: int, helped: bool) -> bool:
    """Run place_item in a forked process that exits before its call number `after` of what changes names."""
    child = os.fork()
    if child == 0:
        try:
            count = 0

            def counting(function: object) -> object:
                def call(*args: object, **options: object) -> object:
                    nonlocal count
                    if count == after:
                        os._exit(17)
                    count += 1
                    return function(*args, **options)

                return call

            for name in ("rename", "mkdir", "fchmod"):
                setattr(os, name, counting(getattr(os, name)))
            if helped:
                os.link = counting(os.link)
                durable._renameat2 = counting(durable._renameat2)
            else:
                durable._renameat2 = None

                def no_link(*_: object, **__: object) -> None:
                    raise OSError(errno.EPERM, "no links")

                os.link = no_link
            backend.place_item(token, place)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 17)
    return status == 17


@pytest.mark.parametrize("helped", [True, False])
@pytest.mark.parametrize("tree", [False, True])
def test_of_several_processes_racing_for_one_place_one_wins(
    root: Path, tmp_path: Path, helped: bool, tree: bool
) -> None:
    backend = posix(root)
    for turn in range(10):
        tokens = {}
        for number in range(4):
            content = f"{turn}.{number}".encode()
            source = tmp_path / f"{turn}.{number}"
            write_tree(source, {"f": content}) if tree else source.write_bytes(content)
            token = new_token()
            backend.stage(token)
            backend.copy_in(token, str(source), [])
            tokens[token] = content
        winners = race(backend, list(tokens), f"1/p{turn}", helped=helped)
        assert len(winners) == 1
        assert content_at(backend, f"1/p{turn}", "f" if tree else "") == tokens[winners[0]]


def race(backend: PosixBackend, tokens: list[str], place: str, *, helped: bool) -> list[str]:
    """Let one process per token try to place it; returns the tokens that got the place."""
    start_read, start_write = os.pipe()
    children = {}
    for token in tokens:
        child = os.fork()
        if child == 0:
            try:
                os.close(start_write)
                if not helped:
                    durable._renameat2 = None
                os.read(start_read, 1)  # returns for all at once when the parent closes its end
                backend.place_item(token, place)
                os._exit(0)
            except PlaceOccupied:
                os._exit(3)
            finally:
                os._exit(1)
        children[child] = token
    os.close(start_write)
    codes = {token: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, token in children.items()}
    os.close(start_read)
    assert set(codes.values()) <= {0, 3}
    return [token for token, code in codes.items() if code == 0]


def test_note_left_by_a_client_is_not_believed(backend: PosixBackend) -> None:
    deliver(backend, b"first", "1/f")
    place = Path(backend.locate("1/f"))
    token = new_token()
    note = Path(backend.stage(token)).parent / "placing.json"
    note.write_text(json.dumps({"inode": place.stat().st_ino, "claim": place.stat().st_ino}))
    os.chown(note, OTHER_USER, OTHER_USER)
    assert not backend.is_placed(token, "1/f")


def test_error_of_the_disk_is_never_missing_bytes(backend: PosixBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(backend, b"x", "1/f")
    reading = backend.read("1/f")
    for number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):

        def fail(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail)
            patch.setattr(os, "read", fail)
            with pytest.raises(StoreUnavailable):
                next(reading if number == errno.EIO else backend.read("1/f"))
            with pytest.raises(StoreUnavailable):
                backend.digest("1/f", [])


def test_memory_does_not_grow_with_members_or_size(root: Path, tmp_path: Path) -> None:
    """60,000 names in one directory and a file of 300 MB, in a process of its own that says its peak."""
    posix(root)
    many = root / "many"
    many.mkdir()
    (root / "few").mkdir()
    with durable.closing(os.open(many, os.O_RDONLY)) as fd:
        for number in range(60_000):
            os.close(os.open(f"{number:07}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
    with open(tmp_path / "large", "wb") as file:
        file.truncate(300 * 2**20)
    script = f"""
import json, resource, django; django.setup()
from pathlib import Path
from stores.backends import open_backend
from stores.backends.base import new_token
from stores.models import Store
root = Path({str(root)!r})
backend = open_backend(Store(name="attic", configuration={{"root": str(root)}},
    marker=json.loads((root / ".librarian/store.json").read_text())["marker"]))
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
backend.digest("few", ["xxh3", "md5"])
before = peak()
found = backend.digest("many", ["xxh3", "md5"])
start = peak()
token = new_token(); backend.stage(token)
backend.write_item(token, open({str(tmp_path / "large")!r}, "rb"), ["xxh3"])
backend.drop_staging(token)
large = peak() - start
members = 0
for member in found.members:
    assert member.path == f"{{members:07}}"
    members += 1
assert members == found.member_count == 60000
print(start - before, large, peak() - start)
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "librarian.settings"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    with_members, large_file, both = map(float, done.stdout.split())
    assert with_members < 50  # MiB
    assert large_file < 40
    assert both < 50


def test_an_error_of_the_disk_met_while_still_writing_is_never_lost(root, tmp_path, monkeypatch) -> None:
    """The kernel tells of it once; an fsync afterwards would succeed."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    backend = posix(root)
    monkeypatch.setattr("stores.backends.pipe._FLUSH_BYTES", 1)
    monkeypatch.setattr("stores.backends.pipe.os.fdatasync", fail)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(3 * 2**20))
    token = new_token()
    backend.stage(token)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        backend.copy_in(token, str(large), ["xxh3"])
    assert not backend.has_item(token)
