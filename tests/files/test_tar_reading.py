"""Tar streams that strangers send: sorted into products, and refused with a reason when they try something."""

import io
import os
import tarfile
from collections.abc import Callable

import pytest

from files.services.tar_products import MAX_PRODUCTS, Tar, batch_products, directory_entries
from files.services.tar_reading import PRODUCT_FLAG, BadTar
from librarian.common.errors import ArchiveError, TooLarge

pytestmark = pytest.mark.database_independent


def make_tar(*entries: tuple[str, object], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, content): bytes, None for a directory, or a callable that finishes the header."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif callable(content):
                content(info)
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def opened(stream: bytes) -> Tar:
    return Tar(io.BytesIO(stream), len(stream))


def products(stream: bytes) -> list[tuple[str, str, int]]:
    return [(product.handed_as, product.kind, product.size) for product in batch_products(opened(stream))]


def members(stream: bytes, name: str = "obs.uv") -> dict[str, bytes | None]:
    found = {}
    for entry in directory_entries(opened(stream), name):
        if entry.kind == "directory":
            found[entry.path] = None
        else:
            with entry.open() as source:
                found[entry.path] = source.read()
    return found


def kind(of: bytes, **fields: object) -> Callable[[tarfile.TarInfo], None]:
    def finish(info: tarfile.TarInfo) -> None:
        info.type = of
        for name, value in fields.items():
            setattr(info, name, value)

    return finish


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_batch_is_sorted_into_flat_files_and_directories(format: int) -> None:
    stream = make_tar(
        ("./night", None),
        ("./night/a.uvh5", b"12345"),
        ("night/obs.uv", None),
        ("night/obs.uv/header", b"h"),
        ("night/obs.uv/sub/visdata", b"vis"),
        ("b.log", b""),
        format=format,
    )
    assert products(stream) == [("night/a.uvh5", "flat", 5), ("night/obs.uv", "directory", 4), ("b.log", "flat", 0)]


def test_a_directory_may_say_that_it_is_a_product() -> None:
    def flagged(info: tarfile.TarInfo) -> None:
        info.type, info.pax_headers = tarfile.DIRTYPE, {PRODUCT_FLAG: "directory"}

    assert products(make_tar(("cal", flagged), ("cal/a", b"1"), ("cal/b", b"2"))) == [("cal", "directory", 2)]


@pytest.mark.parametrize("top", ["obs.uv/", "./obs.uv/", "", "./"])
def test_a_directory_product_comes_with_or_without_its_own_name(top: str) -> None:
    stream = make_tar((f"{top}header", b"h"), (f"{top}sub/visdata", b"v"), (f"{top}empty", None))
    assert members(stream) == {"header": b"h", "sub/visdata": b"v", "empty": None}


def test_a_member_like_the_product_itself_stays_where_it_is() -> None:
    assert members(make_tar(("obs.uv/a", b"1"), ("b", b"2"))) == {"obs.uv/a": b"1", "b": b"2"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("../../etc/passwd", b"x")], "climbs"),
        ([("/etc/passwd", b"x")], "climbs, is absolute"),
        ([("a/../../b", b"x")], "climbs"),
        ([("a\nb", b"x")], "control characters"),
        ([("tty", kind(tarfile.CHRTYPE))], "device"),
        ([("disk", kind(tarfile.BLKTYPE))], "device"),
        ([("pipe", kind(tarfile.FIFOTYPE))], "pipe"),
        ([("hole", kind(tarfile.GNUTYPE_SPARSE, size=0))], "sparse|cannot be read"),
        ([("x", kind(tarfile.REGTYPE, pax_headers={"GNU.sparse.size": "1099511627776", "GNU.sparse.major": "1"}))],
         "sparse"),
        ([("out", kind(tarfile.LNKTYPE, linkname="../../../etc/passwd"))], "climbs"),
        ([("n" * 300, b"x")], "longer than 255"),
        ([("a", b"1"), ("./a", b"2")], "twice"),
        ([("o.uv/l", kind(tarfile.SYMTYPE, linkname=""))], "impossible target"),
        ([("o.uv/l", kind(tarfile.SYMTYPE, linkname="x" * 5000))], "impossible target"),
        ([("o.uv/l", kind(tarfile.SYMTYPE, pax_headers={"linkpath": "a\0b"}))], "impossible target"),
        ([("a", kind(tarfile.REGTYPE, pax_headers={"size": "-1"}))], "has the size"),
        ([("a", kind(tarfile.REGTYPE, pax_headers={"size": "1099511627776"}))], "claims"),
        ([("a", kind(tarfile.REGTYPE, pax_headers={"path": "../b"}))], "climbs"),
        ([("o.uv/a", b"1"), ("x", b"2"), ("o.uv/b", b"3")], "do not stand together"),
    ],
)  # fmt: skip
def test_tricks_are_refused_before_anything_is_taken(entries: list, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        products(make_tar(("first", b"innocent"), *entries))


def test_a_link_as_a_product_is_refused_alone() -> None:
    found = batch_products(opened(make_tar(("a", b"1"), ("b", kind(tarfile.SYMTYPE, linkname="/etc/passwd")))))
    assert [bool(product.problem) for product in found] == [False, True]


def test_a_claim_of_a_terabyte_is_refused() -> None:
    header = tarfile.TarInfo("big")
    header.size = 2**40
    with pytest.raises(BadTar, match="claims|unexpected end"):
        products(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))


def test_a_header_that_would_fill_the_memory_is_refused() -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 2**32
    with pytest.raises(BadTar, match="claims"):
        products(header.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))


def block(of: bytes, content: bytes, *, claims: int | None = None) -> bytes:
    """An entry as bytes, of any kind, whatever it claims to hold."""
    header = tarfile.TarInfo("h")
    header.type, header.size = of, len(content) if claims is None else claims
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (block(tarfile.XHDTYPE, b"1" * 2**20), "damaged"),
        (block(tarfile.XHDTYPE, b"999999 a=b\n"), "damaged"),
        (block(tarfile.XHDTYPE, b"0 a=b\n"), "damaged"),
        (block(tarfile.XHDTYPE, b"") * 3000, "headers"),
        (block(tarfile.GNUTYPE_LONGNAME, b"name\0") * 3000, "headers"),
        (block(tarfile.XGLTYPE, b"9 size=3\n"), "all entries at once"),
        (block(tarfile.XGLTYPE, b"11 path=ab\n"), "all entries at once"),
        (block(tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), "sparse"),
    ],
    ids=["digits", "beyond its end", "of no length", "pax in a row", "names in a row", "size for all", "path for all",
         "sparse map"],
)  # fmt: skip
def test_headers_that_would_cost_more_than_they_are_worth_are_refused(headers: bytes, words: str) -> None:
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1) -> bytes:
            block = super().read(size)
            self.read_bytes += len(block)
            return block

    stream = headers + block(tarfile.REGTYPE, b"9999999999\n" + b"1\n" * 2**20) + bytes(1024)
    counting = Counting(stream)
    with pytest.raises(BadTar, match=words):
        batch_products(Tar(counting, len(stream)))
    assert counting.read_bytes < 2**20 + 10_000


def test_what_a_tar_says_of_all_entries_that_matters_to_none_is_let_be() -> None:
    assert products(block(tarfile.XGLTYPE, b"13 comment=x\n") + make_tar(("a", b"1"))) == [("a", "flat", 1)]


def test_a_long_name_counts_and_not_what_is_cut_off_within_a_character() -> None:
    name = "é" * 60
    entry = bytearray(block(tarfile.REGTYPE, b"1"))
    entry[:99] = name.encode()[:99]
    entry[148:156] = b"%06o\0 " % (sum(entry[:148]) + 8 * 32 + sum(entry[156:512]))
    record = b" path=" + name.encode() + b"\n"
    said = b"%d%b" % (len(record) + 3, record)
    assert products(block(tarfile.XHDTYPE, said) + bytes(entry) + bytes(1024)) == [(name, "flat", 1)]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda tar: tar[:700], "cannot be read|not complete|ends"),
        (lambda tar: tar[:512], "cannot be read|more than the whole stream"),
        (lambda tar: b"", "cannot be read|empty"),
        (lambda tar: os.urandom(10240), "cannot be read"),
        (lambda tar: tar + make_tar(("second", b"lost")), "not complete"),
        (lambda tar: tar.rstrip(b"\0") + bytes(-len(tar.rstrip(b"\0")) % 512), "not complete"),
        (lambda tar: tar[:1024] + b"\xff" * 512 + tar[1024 + 512 :], "not complete|cannot be read"),
        (lambda tar: b"\x1f\x8b" + tar, "cannot be read"),
    ],
    ids=["cut in a file", "cut after a header", "empty", "noise", "two tars", "no end", "bad second header", "gzip"],
)
def test_a_stream_that_is_not_whole_is_refused(broken: Callable[[bytes], bytes], words: str) -> None:
    tar = make_tar(("one", b"1" * 100), ("two", b"2" * 100))
    with pytest.raises(BadTar, match=words):
        products(broken(tar))


def test_more_products_than_a_batch_may_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("files.services.tar_products.MAX_PRODUCTS", 3)
    assert len(products(make_tar(*((str(n), b"") for n in range(3))))) == 3
    with pytest.raises(TooLarge, match="more than 3 products"):
        products(make_tar(*((str(n), b"") for n in range(4))))
    assert MAX_PRODUCTS == 100_000


def test_names_that_are_not_utf8_are_refused() -> None:
    stream = bytearray(make_tar(("caf\xe9", b"x"), format=tarfile.GNU_FORMAT))
    at = stream.index("é".encode())
    stream[at : at + 2] = b"\xff\xfe"
    total = sum(stream[:148]) + 8 * 32 + sum(stream[156:512])
    stream[148:156] = b"%06o\0 " % total
    with pytest.raises(ArchiveError, match="not valid UTF-8"):
        products(bytes(stream))
