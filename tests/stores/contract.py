"""What every kind of store must do. A kind's test module derives a class from StoreContract and gives it a backend.

Nothing here looks behind the contract of `stores/backends/base.py`; products to copy in lie on this machine.
"""

import hashlib
import io
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import xxhash

from librarian.common.errors import LostRace
from stores.backends.base import (
    ChangedWhileRead,
    Member,
    MissingBytes,
    Part,
    PlaceOccupied,
    RecordLine,
    StoreBackend,
    TreeEntry,
    UnsafeProduct,
    new_token,
)
from tests.make import tree_digest

LARGE = 9 * 2**20 + 12345  # more than two blocks, and not a whole number of them
WIRE_TREE = {  # the worked example of the wire protocol
    "a.txt": b"alpha\n",
    "b.bin": bytes(range(256)),
    "empty": None,
    "sub/a.txt": b"alpha\n",
    "sub/deep/.hidden": b"",
}
WIRE_CHECKSUMS = {
    "xxh3": "08aca7d8835b35675d24e9d7346392f5",
    "md5": "8ddfed00b980fdab7a30753f47a61970",
    "sha1": "737c6d134e75438844e55db5b8a8c524699c2d88",
    "sha256": "a37d6201a292b4e974f5311358cb8642ff099c1a78e354c902879e119b3a4fd6",
}
FACTS = {"kind": "flat", "size_bytes": 3, "obsid": None, "member_count": 0}


def write_tree(top: Path, members: dict[str, bytes | None]) -> Path:
    """Make a directory product on this machine; None is an empty directory."""
    top.mkdir(parents=True)
    for path, content in members.items():
        if content is None:
            (top / path).mkdir(parents=True)
        else:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(content)
    return top


def deliver(backend: StoreBackend, content: bytes, place: str) -> str:
    """Bring a flat file in by all steps; returns its token, whose staging is left."""
    token = new_token()
    backend.stage(token)
    backend.write_item(token, io.BytesIO(content), ["xxh3"])
    backend.sync_items([token])
    backend.place_item(token, place)
    backend.sync_places([place])
    return token


def deliver_tree(backend: StoreBackend, source: Path, place: str) -> str:
    """Bring a directory product in by all steps; returns its token."""
    token = new_token()
    backend.stage(token)
    backend.copy_in(token, str(source), ["xxh3"])
    backend.sync_items([token])
    backend.place_item(token, place)
    backend.sync_places([place])
    return token


def append(
    backend: StoreBackend,
    token: str,
    content: bytes,
    *,
    at: int,
    part: Part = "item",
    writer: str = "w",
    take_over: bool = True,
    hasher: Any = None,
    accept: Callable[[int], bool] | None = None,
) -> int:
    """Send one piece, as a request does."""
    if take_over:
        assert backend.take_over(token, part, writer=writer, durable_bytes=0) == at
    return backend.append(
        token,
        part,
        io.BytesIO(content),
        writer=writer,
        at_bytes=at,
        hashers={"sha256": hasher} if hasher else {},
        on_durable=lambda _: None,
        accept=accept,
    )


def entries_of(members: dict[str, bytes | None]) -> list[TreeEntry]:
    """Members of a product as a stream tells them, in an order that nobody sorted."""
    return [
        TreeEntry(path, "directory")
        if content is None
        else TreeEntry(path, "file", open=lambda content=content: nullcontext(io.BytesIO(content)))
        for path, content in reversed(members.items())
    ]


def content_at(backend: StoreBackend, place: str, member: str = "") -> bytes:
    return b"".join(backend.read(place, member))


class StoreContract:
    """Derive and define a fixture `backend`: an initialised, empty store."""

    @pytest.fixture
    def power_cut(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Makes the machine that holds the staging one that was started anew; here it is this one."""
        return lambda: monkeypatch.setattr("stores.backends.arriving.boot_id", lambda: "another")

    # --- In ---

    @pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, LARGE])
    def test_streamed_file_arrives_with_its_digests(self, backend: StoreBackend, size: int) -> None:
        content = os.urandom(size)
        token, seen = new_token(), []
        backend.stage(token)
        found = backend.write_item(token, io.BytesIO(content), ["xxh3", "md5"], seen.append)
        assert (found.kind, found.size_bytes, found.member_count) == ("flat", size, 0)
        assert found.digest == hashlib.sha256(content).hexdigest()
        assert found.checksums == {
            "xxh3": xxhash.xxh3_128(content).hexdigest(),
            "md5": hashlib.md5(content).hexdigest(),
        }
        assert sum(seen) == size
        backend.sync_items([token])
        backend.place_item(token, "2459122/f")
        backend.sync_places(["2459122/f"])
        backend.drop_staging(token)
        assert content_at(backend, "2459122/f") == content
        assert backend.stat("2459122/f") == ("flat", size)
        assert backend.digest("2459122/f", ["xxh3"]).digest == found.digest

    def test_short_reads_of_a_stream_are_put_together(self, backend: StoreBackend) -> None:
        class Trickle(io.RawIOBase):
            def __init__(self, content: bytes) -> None:
                self.rest = io.BytesIO(content)

            def read(self, size: int = -1) -> bytes:
                return self.rest.read(min(size, 100_000))

        content = os.urandom(LARGE)
        token = new_token()
        backend.stage(token)
        assert backend.write_item(token, Trickle(content), []).digest == hashlib.sha256(content).hexdigest()

    def test_copied_file_equals_its_source(self, backend: StoreBackend, tmp_path: Path) -> None:
        source = tmp_path / "night.uvh5"
        source.write_bytes(os.urandom(LARGE))
        token = new_token()
        backend.stage(token)
        found = backend.copy_in(token, str(source), ["sha256"])
        assert found.digest == found.checksums["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
        backend.place_item(token, "1/f")
        assert content_at(backend, "1/f") == source.read_bytes()

    def test_directory_has_the_wire_checksum_and_our_tree_digest(self, backend: StoreBackend, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "d.uv", WIRE_TREE)
        token = new_token()
        backend.stage(token)
        found = backend.copy_in(token, str(source), list(WIRE_CHECKSUMS))
        assert found.checksums == WIRE_CHECKSUMS
        assert (found.kind, found.size_bytes, found.member_count) == ("directory", 268, 5)
        assert found.digest == tree_digest(WIRE_TREE)
        for _ in range(2):  # may be iterated more than once
            assert [member.path for member in found.members] == sorted(WIRE_TREE, key=str.encode)
        hidden = hashlib.sha256(b"").hexdigest()
        assert list(found.members)[-1] == Member("file", "sub/deep/.hidden", 0, hidden)
        assert list(found.members)[2] == Member("empty_directory", "empty")
        backend.sync_items([token])
        backend.place_item(token, "1/d.uv")
        backend.sync_places(["1/d.uv"])
        backend.drop_staging(token)
        assert backend.stat("1/d.uv") == ("directory", 268)
        again = backend.digest("1/d.uv", list(WIRE_CHECKSUMS))
        assert (again.digest, again.checksums, again.size_bytes) == (found.digest, WIRE_CHECKSUMS, 268)
        assert content_at(backend, "1/d.uv", "sub/a.txt") == b"alpha\n"

    def test_tree_digest_sorts_whole_paths(self, backend: StoreBackend, tmp_path: Path) -> None:
        # '-' and '.' sort before the slash, '0' after it: sorting each directory by names alone gives another order
        members = {
            "a/x": b"1",
            "a-b": b"2",
            "a.txt": b"3",
            "a0": b"4",
            "é/ü": b"5",
            "b": None,
            "b-": b"6",
            "b!/c": None,
        }
        source = write_tree(tmp_path / "d", members)
        token = new_token()
        backend.stage(token)
        found = backend.copy_in(token, str(source), [])
        assert found.digest == tree_digest(members)
        assert [member.path for member in found.members] == sorted(members, key=str.encode)

    def test_link_to_a_file_inside_is_stored_as_its_bytes(self, backend: StoreBackend, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "d", {"a.txt": b"alpha\n", "real/x": b"x"})
        (source / "real" / "up").symlink_to("../a.txt")
        (source / "over").symlink_to("real/up")
        (source / "absolute").symlink_to(source / "real" / "x")
        as_bytes = {"a.txt": b"alpha\n", "real/x": b"x", "real/up": b"alpha\n", "over": b"alpha\n", "absolute": b"x"}
        token = new_token()
        backend.stage(token)
        found = backend.copy_in(token, str(source), [])
        assert (found.digest, found.size_bytes) == (tree_digest(as_bytes), 20)
        backend.place_item(token, "1/d")
        assert content_at(backend, "1/d", "over") == b"alpha\n"
        assert backend.digest("1/d", []).digest == found.digest

    @pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "nothing", "sub", "loop", "sub/../../outside"])
    def test_any_other_link_is_refused(self, backend: StoreBackend, tmp_path: Path, target: str) -> None:
        (tmp_path / "outside").write_bytes(b"secret")
        source = write_tree(tmp_path / "d", {"sub/a": b"1"})
        (source / "loop").symlink_to(target)
        token = new_token()
        backend.stage(token)
        with pytest.raises(UnsafeProduct):
            backend.copy_in(token, str(source), [])
        assert not backend.has_item(token)

    def test_pipe_control_character_and_bad_bytes_are_refused(self, backend: StoreBackend, tmp_path: Path) -> None:
        for name in (b"new\nline", b"bad\xff", "line\u2028".encode()):
            source = write_tree(tmp_path / name.hex(), {"ok": b"1"})
            with open(os.fsencode(source) + b"/" + name, "wb"):
                pass
            token = new_token()
            backend.stage(token)
            with pytest.raises(UnsafeProduct):
                backend.copy_in(token, str(source), [])
        source = write_tree(tmp_path / "pipe", {"ok": b"1"})
        os.mkfifo(source / "p")
        with pytest.raises(UnsafeProduct):
            backend.copy_in(token, str(source), [])
        with pytest.raises(UnsafeProduct):
            backend.copy_in(token, str(source / "p"), [])
        (tmp_path / "link").symlink_to(source / "ok")
        with pytest.raises(UnsafeProduct):
            backend.copy_in(token, str(tmp_path / "link"), [])

    @pytest.mark.parametrize("size", [1000, LARGE])
    def test_source_that_grows_while_read_is_refused(self, backend: StoreBackend, tmp_path: Path, size: int) -> None:
        source = tmp_path / "growing"
        source.write_bytes(b"x" * size)
        os.utime(source, (1, 1))

        def grow(_: int) -> None:
            with open(source, "ab") as file:
                file.write(b"more")

        token = new_token()
        backend.stage(token)
        with pytest.raises(ChangedWhileRead):
            backend.copy_in(token, str(source), [], grow)
        assert not backend.has_item(token)

    def test_directory_that_gains_a_file_while_read_is_refused(self, backend: StoreBackend, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "d", {"a": b"1", "sub/b": b"2"})
        for folder in (source, source / "sub"):
            os.utime(folder, (1, 1))

        for place in ("late", "sub/late"):

            def add(_: int, place: str = place) -> None:
                (source / place).write_bytes(b"")

            token = new_token()
            backend.stage(token)
            with pytest.raises(ChangedWhileRead):
                backend.copy_in(token, str(source), [], add)
            assert not backend.has_item(token)
            (source / place).unlink()

    def test_error_of_the_caller_leaves_no_partial_item(self, backend: StoreBackend, tmp_path: Path) -> None:
        def stop(_: int) -> None:
            raise KeyError("lost the claim")

        write_tree(tmp_path / "d", {"a": b"1", "b": b"2"})
        (tmp_path / "large").write_bytes(bytes(LARGE))
        token = new_token()
        backend.stage(token)
        for source in ("d", "large", "d/a"):
            with pytest.raises(KeyError):
                backend.copy_in(token, str(tmp_path / source), [], stop)
            assert not backend.has_item(token)

    def test_no_such_source_is_missing(self, backend: StoreBackend, tmp_path: Path) -> None:
        token = new_token()
        backend.stage(token)
        with pytest.raises(MissingBytes):
            backend.copy_in(token, str(tmp_path / "nothing"), [])

    def test_write_repeated_replaces_the_item(self, backend: StoreBackend, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "d", {"a": b"1"})
        token = new_token()
        backend.stage(token)
        backend.write_item(token, io.BytesIO(b"first"), [])
        for _ in range(2):
            backend.copy_in(token, str(source), [])
        backend.write_item(token, io.BytesIO(b"last"), [])
        backend.place_item(token, "1/f")
        assert content_at(backend, "1/f") == b"last"

    def test_what_we_wrote_is_adopted_with_the_same_content(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token)
        written = backend.write_item(token, io.BytesIO(b"bytes"), ["xxh3"])
        assert backend.has_item(token)
        assert backend.adopt(token, ["xxh3"]) == written

    def test_what_is_adopted_fresh_is_the_same(self, backend: StoreBackend, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "d", WIRE_TREE)
        flat, tree = new_token(), new_token()
        for token in (flat, tree):
            backend.stage(token)
        written = backend.write_item(flat, io.BytesIO(os.urandom(LARGE)), ["xxh3"])
        copied = backend.copy_in(tree, str(source), ["xxh3"])
        assert backend.adopt(flat, ["xxh3"], fresh=True) == written
        assert backend.adopt(tree, ["xxh3"], fresh=True).digest == copied.digest

    def test_a_refused_item_is_kept_aside(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token)
        backend.write_item(token, io.BytesIO(b"other bytes"), [])
        aside = backend.set_aside_item(token)
        assert backend.set_aside_item(token) == aside  # repeated after a crash
        backend.drop_staging(token)
        assert content_at(backend, aside) == b"other bytes"
        assert aside not in [entry.place for entry in backend.list()]

    def test_no_item_can_be_set_aside_that_is_not_there(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token)
        with pytest.raises(MissingBytes):
            backend.set_aside_item(token)

    def test_nothing_delivered_is_missing(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token)
        assert not backend.has_item(token)
        with pytest.raises(MissingBytes):
            backend.adopt(token, [])
        with pytest.raises(MissingBytes):
            backend.place_item(token, "1/f")

    # Bytes that arrive piece by piece.

    def test_pieces_make_one_item_whose_digest_is_taken_on_the_way(self, backend: StoreBackend) -> None:
        content = os.urandom(LARGE)
        token, hasher = new_token(), hashlib.sha256()
        backend.stage(token, private=True)
        for start, end in ((0, 1000), (1000, LARGE - 7), (LARGE - 7, LARGE)):
            assert append(backend, token, content[start:end], at=start, hasher=hasher) == end - start
        assert backend.part_size(token, "item") == LARGE
        assert hasher.digest() == hashlib.sha256(content).digest()
        assert backend.keep_item(token) == LARGE
        backend.sync_items([token])
        backend.place_item(token, "night/pieces")
        backend.sync_places(["night/pieces"])
        assert content_at(backend, "night/pieces") == content

    def test_whoever_takes_over_finds_a_size_that_stays(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token, private=True)
        backend.take_over(token, "item", writer="first", durable_bytes=0)

        class Interrupted(io.RawIOBase):
            """The first writer's connection, in the midst of which the second comes."""

            parts = [b"a" * LARGE, b"b" * LARGE]

            def read(self, _size: int = -1) -> bytes:
                if len(self.parts) == 1:
                    self.size = backend.take_over(token, "item", writer="second", durable_bytes=0)
                return self.parts.pop(0)[:_size] if self.parts else b""

        source = Interrupted()
        with pytest.raises(LostRace):
            backend.append(token, "item", source, writer="first", at_bytes=0, hashers={}, on_durable=lambda _: None)
        assert backend.part_size(token, "item") == source.size
        assert append(backend, token, b"c", at=source.size, writer="second", take_over=False) == 1
        assert backend.part_size(token, "item") == source.size + 1

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_what_is_yet_to_be_checked_counts_for_nothing(self, backend: StoreBackend, size: int) -> None:
        token = new_token()
        backend.stage(token, private=True)
        append(backend, token, b"kept", at=0)
        seen: list[int] = []

        def looked_at(came: int) -> bool:
            """Another request comes between the last byte and the answer, as one does that finds a dead process."""
            seen.extend((came, backend.take_over(token, "item", writer="other", durable_bytes=0)))
            return True

        with pytest.raises(LostRace):
            append(backend, token, os.urandom(size), at=4, accept=looked_at)
        assert seen == [size, 4]
        assert append(backend, token, os.urandom(size), at=4, accept=lambda came: False) == 0
        assert append(backend, token, b"more", at=4, accept=lambda came: came == 4) == 4
        assert backend.take_over(token, "item", writer="w", durable_bytes=0) == 8

    def test_bytes_of_before_a_power_cut_count_only_as_far_as_they_were_synced(
        self, backend: StoreBackend, power_cut: Callable[[], None]
    ) -> None:
        token = new_token()
        backend.stage(token, private=True)
        append(backend, token, b"x" * 1000, at=0)
        assert backend.take_over(token, "item", writer="w", durable_bytes=300) == 1000, "the machine never stopped"
        append(backend, token, b"y" * 10, at=1000)
        power_cut()
        assert backend.take_over(token, "item", writer="w", durable_bytes=300) == 300

    def test_what_has_its_place_is_never_cut_off(self, backend: StoreBackend, power_cut: Callable[[], None]) -> None:
        """By a request on another host that read the upload's row before the commit."""
        token = new_token()
        backend.stage(token, private=True)
        append(backend, token, b"x" * 1000, at=0)
        backend.keep_item(token)
        backend.place_item(token, "night/kept")
        power_cut()
        try:
            assert backend.take_over(token, "item", writer="late", durable_bytes=0) == 1000
        except LostRace:
            pass  # the item was moved there
        assert backend.is_placed(token, "night/kept")
        assert content_at(backend, "night/kept") == b"x" * 1000

    def test_what_a_tar_brought_is_read_again(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token, private=True)
        append(backend, token, b"0123456789", at=0, part="received")
        with backend.open_part(token, "received") as file:
            file.seek(3)
            assert file.read(4) == b"3456"
        assert not backend.has_item(token), "a stream that brings a product is not the product"

    def test_tree_written_from_entries_equals_one_copied_in(self, backend: StoreBackend, tmp_path: Path) -> None:
        copied = new_token()
        backend.stage(copied)
        source = write_tree(tmp_path / "product", WIRE_TREE)
        expected = backend.copy_in(copied, str(source), ["xxh3"])
        token = new_token()
        backend.stage(token, private=True)
        content = backend.write_tree(token, entries_of(WIRE_TREE), ["xxh3"])
        assert (content.digest, content.checksums, content.size_bytes) == (
            expected.digest,
            expected.checksums,
            expected.size_bytes,
        )

    @pytest.mark.parametrize(
        "entries",
        [
            [TreeEntry("../x", "directory")],
            [TreeEntry("/etc", "directory")],
            [TreeEntry("a//b", "directory")],
            [TreeEntry("a\nb", "directory")],
            [TreeEntry("way", "link", target="/tmp"), TreeEntry("way/x", "directory")],
            [TreeEntry("out", "link", target="../../../../etc/passwd")],
            [TreeEntry("out", "link", target="/etc/passwd")],
            [TreeEntry("a", "link", target="b"), TreeEntry("b", "link", target="a")],
            [TreeEntry("a", "same", target="b")],
            [TreeEntry("a", "same", target="../../../../../etc/passwd")],
            [TreeEntry("/".join("d" * 130), "directory")],
            [TreeEntry("far", "link", target="x" * 5000)],
        ],
        ids=lambda entries: entries[-1].path[:20],
    )
    def test_entries_that_trick_are_refused_and_leave_nothing(
        self, backend: StoreBackend, entries: list[TreeEntry]
    ) -> None:
        token = new_token()
        backend.stage(token, private=True)
        with pytest.raises(UnsafeProduct):
            backend.write_tree(token, entries, ["xxh3"])

    def test_member_that_comes_twice_is_refused(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token, private=True)
        twice = [*entries_of({"a": b"1"}), *entries_of({"a": b"2"})]
        with pytest.raises(UnsafeProduct, match="twice"):
            backend.write_tree(token, twice, ["xxh3"])
        assert not backend.has_item(token)

    def test_links_inside_a_tree_are_stored_as_their_bytes(self, backend: StoreBackend) -> None:
        token = new_token()
        backend.stage(token, private=True)
        entries = [*entries_of({"d/a": b"bytes"}), TreeEntry("b", "link", "d/a"), TreeEntry("c", "same", "d/a")]
        content = backend.write_tree(token, entries, ["xxh3"])
        assert content.digest == tree_digest({"b": b"bytes", "c": b"bytes", "d/a": b"bytes"})

    def test_writing_a_tree_is_told_entry_by_entry(self, backend: StoreBackend) -> None:
        """A million empty ones take longer than a claim is believed."""
        token, seen = new_token(), list[int]()
        backend.stage(token, private=True)
        backend.write_tree(token, [TreeEntry(str(n), "directory") for n in range(5)], ["xxh3"], seen.append)
        assert len(seen) >= 5

    @pytest.mark.parametrize("kind", ["link", "same"])
    def test_links_that_stand_for_too_much_are_refused(self, backend: StoreBackend, kind: str) -> None:
        token, links = new_token(), [TreeEntry(str(n), kind, "a") for n in range(10)]
        backend.stage(token, private=True)
        seen: list[int] = []
        with pytest.raises(UnsafeProduct, match="stand for many more bytes"):
            backend.write_tree(
                token, [*entries_of({"a": b"1" * 1000}), *links], ["xxh3"], seen.append, limit_bytes=5000
            )
        assert sum(seen) <= 2 * 5000
        content = backend.write_tree(token, [*entries_of({"a": b"1" * 1000}), *links], ["xxh3"], limit_bytes=11_000)
        assert content.size_bytes == 11_000

    def test_staging_location_fits_the_wire_and_hides_the_name(self, backend: StoreBackend) -> None:
        token = new_token()
        assert backend.stage(token) == backend.stage(token) == backend.item_location(token)
        assert backend.item_location(token).endswith(f"/{token}/item")
        assert len(backend.item_location(token)) <= 256

    # --- Places ---

    def test_occupied_place_is_never_overwritten(self, backend: StoreBackend, tmp_path: Path) -> None:
        deliver(backend, b"first", "1/f")
        deliver_tree(backend, write_tree(tmp_path / "d", {"a": b"1"}), "1/d")
        deliver_tree(backend, write_tree(tmp_path / "e", {}), "1/e")
        for place in ("1/f", "1/d", "1/e"):
            with pytest.raises(PlaceOccupied):
                deliver(backend, b"second", place)
            with pytest.raises(PlaceOccupied):
                deliver_tree(backend, tmp_path / "d", place)
        with pytest.raises(PlaceOccupied):
            deliver(backend, b"second", "1/f/below")
        assert content_at(backend, "1/f") == b"first"
        assert content_at(backend, "1/d", "a") == b"1"

    def test_placing_twice_is_harmless(self, backend: StoreBackend, tmp_path: Path) -> None:
        for place, token in (
            ("1/f", deliver(backend, b"flat", "1/f")),
            ("1/d", deliver_tree(backend, write_tree(tmp_path / "d", {"a": b"1"}), "1/d")),
        ):
            assert backend.is_placed(token, place)
            assert not backend.is_placed(token, "1/other")
            assert not backend.is_placed(new_token(), place)
            backend.place_item(token, place)
            backend.sync_places([place])
            backend.drop_staging(token)
            backend.drop_staging(token)
            assert backend.stat(place)

    def test_failed_first_choice_can_go_elsewhere(self, backend: StoreBackend, tmp_path: Path) -> None:
        deliver(backend, b"first", "1/x")
        source = write_tree(tmp_path / "d", {"a": b"1"})
        token = new_token()
        backend.stage(token)
        backend.copy_in(token, str(source), [])
        with pytest.raises(PlaceOccupied):
            backend.place_item(token, "1/x")
        backend.place_item(token, "1~2/x")
        assert backend.is_placed(token, "1~2/x")
        assert not backend.is_placed(token, "1/x")

    @pytest.mark.parametrize(
        "place", ["/etc/x", "../x", "a/../../x", "", "a//b", ".", ".librarian/x", "a\nb", "a/" * 3]
    )
    def test_climbing_and_reserved_places_are_refused(self, backend: StoreBackend, place: str) -> None:
        token = new_token()
        backend.stage(token)
        backend.write_item(token, io.BytesIO(b"x"), [])
        with pytest.raises(ValueError, match="place|corner"):
            backend.place_item(token, place)

    @pytest.mark.parametrize("token", ["../../../../x", "short", "ABCDEFGHIJKL", "abcdefghijk/", ""])
    def test_only_tokens_name_staging(self, backend: StoreBackend, token: str) -> None:
        for act in (backend.stage, backend.drop_staging, backend.has_item, backend.item_location):
            with pytest.raises(ValueError, match="token"):
                act(token)

    def test_many_items_share_one_batch(self, backend: StoreBackend) -> None:
        tokens = {f"{number % 3}/f{number}": new_token() for number in range(40)}
        for place, token in tokens.items():
            backend.stage(token)
            backend.write_item(token, io.BytesIO(place.encode()), [])
        backend.sync_items(tokens.values())
        for place, token in tokens.items():
            backend.place_item(token, place)
        backend.sync_places(tokens)
        assert sorted(token for token, _ in backend.list_staging()) == sorted(tokens.values())
        for token in tokens.values():
            backend.drop_staging(token)
        assert list(backend.list_staging()) == []
        assert {entry.place: entry.size_bytes for entry in backend.list()} == {place: len(place) for place in tokens}
        assert {entry.place for entry in backend.list("2")} == {place for place in tokens if place.startswith("2/")}

    # --- Bytes held ---

    def test_part_of_a_file_is_read(self, backend: StoreBackend) -> None:
        content = os.urandom(LARGE)
        deliver(backend, content, "1/f")
        for offset, length in ((0, 10), (5_000_000, 6), (LARGE - 3, None), (LARGE - 3, 100), (LARGE + 5, 10), (7, 0)):
            expected = content[offset:] if length is None else content[offset : offset + length]
            assert b"".join(backend.read("1/f", offset=offset, length=length)) == expected

    def test_missing_bytes_are_named_missing(self, backend: StoreBackend, tmp_path: Path) -> None:
        deliver_tree(backend, write_tree(tmp_path / "d", {"a/b": b"1"}), "1/d")
        for act in (backend.stat, backend.read, lambda place: backend.digest(place, [])):
            with pytest.raises(MissingBytes):
                act("1/nothing")
            with pytest.raises(MissingBytes):
                act("nowhere/at/all")
        for member in ("c", "a", "a/b/c"):
            with pytest.raises(MissingBytes):
                backend.read("1/d", member)
        with pytest.raises(ValueError, match="place"):
            backend.read("1/d", "../f")

    def test_bytes_set_aside_are_kept(self, backend: StoreBackend, tmp_path: Path) -> None:
        deliver(backend, b"bad", "1/f")
        deliver_tree(backend, write_tree(tmp_path / "d", {"a": b"1"}), "1/d")
        token = new_token()
        aside, tree_aside = backend.set_aside("1/f", token), backend.set_aside("1/d", token)
        assert backend.set_aside("1/f", token) == aside  # repeated after a crash
        assert content_at(backend, aside) == b"bad"
        assert content_at(backend, tree_aside, "a") == b"1"
        with pytest.raises(MissingBytes):
            backend.stat("1/f")
        assert list(backend.list()) == []
        deliver(backend, b"good", "1/f")
        assert content_at(backend, "1/f") == b"good"
        with pytest.raises(MissingBytes):
            backend.set_aside("1/nothing", new_token())

    def test_removed_bytes_are_gone_and_removing_twice_is_harmless(self, backend: StoreBackend, tmp_path: Path) -> None:
        deliver(backend, b"x", "1/f")
        deliver_tree(backend, write_tree(tmp_path / "d", {"a/b/c": b"1"}), "1/d")
        for place in ("1/f", "1/d", "1/d", "9/nothing"):
            backend.remove(place)
        assert list(backend.list()) == []

    def test_address_and_place_name_each_other(self, backend: StoreBackend) -> None:
        deliver(backend, b"x", "2459122/f")
        assert backend.place_of(backend.locate("2459122/f")) == "2459122/f"
        assert backend.place_of("/somewhere/else") is None
        assert backend.place_of(backend.item_location(new_token())) is None

    # --- The store itself ---

    def test_initialised_store_is_available_and_measured(self, backend: StoreBackend) -> None:
        backend.initialise()  # again: harmless
        assert backend.carries_marker()
        assert backend.check().available
        space = backend.space()
        assert 0 <= space.free_bytes <= space.capacity_bytes

    # --- The commit record ---

    def test_record_tells_what_was_committed(self, backend: StoreBackend) -> None:
        members = [Member("file", f"m{number}", number, "0" * 64) for number in range(1200)]
        tree = RecordLine("1/d", {**FACTS, "kind": "directory", "member_count": 1200, "uploader": "Zoë"})
        flat = RecordLine("1/f", FACTS)
        backend.append_record([(flat, ()), (tree, iter(members))])
        backend.append_record([(flat, ())])  # a line told twice is harmless
        told = [(line, list(members)) for line, members in backend.read_record()]
        assert told == [(flat, []), (tree, members), (flat, [])]
        assert [line for line, _ in backend.read_record()] == [flat, tree, flat]  # members passed over
        assert backend.record_problems == []
