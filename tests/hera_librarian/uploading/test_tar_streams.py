"""Tar streams made on the fly: what any tar reader gets from them, and the same bytes from every offset."""

import io
import os
import tarfile

import pytest

from hera_librarian.checksums import combine_directory_digests, new_hasher
from hera_librarian.uploading.identity import scan_members
from hera_librarian.uploading.problems import LocalChanged, LocalProblem
from hera_librarian.uploading.tar_streams import BatchSource, TreeSource, pack_product

pytestmark = pytest.mark.database_independent
LONG = "a" * 120


@pytest.fixture
def product(tmp_path):
    """A directory product with everything that may be in one."""
    top = tmp_path / "zen.2459122.uv"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "header").write_bytes(b"header")
    (top / "vartable").write_bytes(b"")
    (top / "visdata").write_bytes(os.urandom(3000))
    (top / "deep" / "er" / f"ø-{LONG}").write_bytes(b"long name")
    (top / "deep" / "link").symlink_to("../header")
    return top


def whole(source, block_bytes=700):
    source.block_bytes = block_bytes
    return b"".join(bytes(block) for block in source.blocks(0, source.length_bytes))


def xxh3(data):
    hasher = new_hasher("xxh3")
    hasher.update(data)
    return hasher.hexdigest()


def test_any_tar_reader_gets_the_product_back(product):
    stream = whole(TreeSource(str(product), product.name))
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        members = {member.name: member for member in tar}
        assert list(members) == [
            "zen.2459122.uv",
            f"zen.2459122.uv/deep/er/ø-{LONG}",
            "zen.2459122.uv/deep/link",
            "zen.2459122.uv/empty",
            "zen.2459122.uv/header",
            "zen.2459122.uv/vartable",
            "zen.2459122.uv/visdata",
        ]
        assert tar.extractfile("zen.2459122.uv/deep/link").read() == b"header"
        assert tar.extractfile("zen.2459122.uv/visdata").read() == (product / "visdata").read_bytes()
        assert members["zen.2459122.uv/empty"].isdir()
        assert {(member.mtime, member.uid, member.uname) for member in members.values()} == {(0, 0, "")}
        assert {member.mode for member in members.values()} == {0o644, 0o755}


def test_only_what_needs_a_pax_header_has_one(product):
    stream = whole(TreeSource(str(product), product.name))
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        assert [member.name for member in tar if member.pax_headers] == [f"zen.2459122.uv/deep/er/ø-{LONG}"]


def test_the_stream_is_the_same_from_every_offset_and_for_another_user(product):
    stream = whole(TreeSource(str(product), product.name))
    (product / "header").chmod(0o600)
    for offset in range(0, len(stream), 97):
        again = TreeSource(str(product), product.name)
        again.block_bytes = 300
        again.catch_up(offset)
        rest = b"".join(bytes(block) for block in again.blocks(offset, len(stream)))
        assert rest == stream[offset:]
        assert again.stream_checksum() == f"xxh3:::{xxh3(stream)}"
        files = [member for member in again.members if not member.is_directory]
        digests = [xxh3((product / member.path).read_bytes()) for member in files]
        assert again.checksum() == f"xxh3:::{combine_directory_digests('xxh3', digests)}"


def test_bytes_that_are_read_again_after_a_cut_are_hashed_once(product):
    source = TreeSource(str(product), product.name)
    stream = whole(source)
    for start in (0, 513, 2000):
        assert b"".join(bytes(block) for block in source.blocks(start, 4000)) == stream[start:4000]
    assert source.stream_checksum() == f"xxh3:::{xxh3(stream)}"


def test_offsets_that_were_never_hashed_are_refused(product):
    with pytest.raises(ValueError, match="have not been hashed"):
        next(TreeSource(str(product), product.name).blocks(512, 1024))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda top: (top / "out").symlink_to("/etc/passwd"), "leaves the product"),
        (lambda top: (top / "up").symlink_to("../secret"), "leaves the product"),
        (lambda top: (top / "folder").symlink_to("deep"), "link to no file"),
        (lambda top: (top / "dangling").symlink_to("nothing"), "link to no file"),
        (lambda top: os.mkfifo(top / "pipe"), "device, socket or pipe"),
        (lambda top: (top / os.fsdecode(b"\xff")).write_bytes(b""), "not UTF-8"),
    ],
)
def test_what_no_product_can_have_is_refused_with_its_reason(product, spoil, said):
    (product.parent / "secret").write_bytes(b"secret")
    spoil(product)
    with pytest.raises(LocalProblem, match=said) as refused:
        TreeSource(str(product), product.name)
    assert refused.value.code == "unsafe_product"
    assert refused.value.suggested_remedy


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "new").write_bytes(b"new"),
        lambda top: (top / "vartable").unlink(),
        lambda top: (top / "header").write_bytes(b"longer than before"),
        lambda top: (top / "empty").rmdir(),
        lambda top: os.utime(top / "header", ns=(1, 1)),
    ],
)
def test_a_product_that_changed_is_noticed(product, change):
    source = TreeSource(str(product), product.name)
    source.check()
    change(product)
    with pytest.raises(LocalChanged, match="changed while it was read"):
        source.check()


def test_a_member_that_was_replaced_is_noticed_while_it_is_read(product):
    source = TreeSource(str(product), product.name)
    (product / "new").write_bytes((product / "visdata").read_bytes())
    (product / "new").rename(product / "visdata")
    with pytest.raises(LocalChanged):
        whole(source)


def test_a_batch_marks_each_directory_product_and_knows_every_checksum(product, tmp_path):
    (tmp_path / "log").write_bytes(b"one line")
    packed = [
        pack_product(str(tmp_path / "log"), "2459122/log", is_directory=False),
        pack_product(str(product), "2459122/zen.2459122.uv", is_directory=True),
    ]
    source = BatchSource(packed)
    stream = b"".join(bytes(block) for block in source.blocks(0, source.length_bytes))
    assert len(stream) == source.length_bytes
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        marked = [member.name for member in tar if member.pax_headers.get("LIBRARIAN.product") == "directory"]
        assert marked == ["2459122/zen.2459122.uv"]
        assert tar.extractfile("2459122/log").read() == b"one line"
        assert tar.extractfile("2459122/zen.2459122.uv/header").read() == b"header"
    assert packed[0].checksum == f"xxh3:::{xxh3(b'one line')}"
    whole(tree := TreeSource(str(product), product.name))
    assert packed[1].checksum == tree.checksum()


def test_members_come_in_the_order_of_the_tree_digest(tmp_path):
    for name in ("a/x", "a-b", "a.b", "b"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"")
    assert [member.path for member in scan_members(str(tmp_path / "p"))] == ["a-b", "a.b", "a/x", "b"]
