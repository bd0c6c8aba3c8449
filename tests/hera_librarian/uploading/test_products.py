"""What is one product on this disk, and which names go into a request at all."""

import os

import pytest

from hera_librarian.uploading.problems import LocalProblem
from hera_librarian.uploading.products import check_destination, find_products, is_directory_product, judge

pytestmark = pytest.mark.database_independent


@pytest.fixture
def night(tmp_path):
    for name in ("a.uvh5", "deep/b.uvh5", "zen.uv/header", "miriad/header", "miriad/vartable", "miriad/visdata"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"bytes")
    (tmp_path / ".b.uvh5.Xy12").write_bytes(b"rsync writes it")
    (tmp_path / "link").symlink_to("a.uvh5")
    return tmp_path


def found(*paths, **options):
    return {each.destination: each for each in find_products(paths, **options)}


def test_directories_that_are_one_product_are_never_walked_into(night):
    products = found(night, hidden=False)
    assert list(products) == ["a.uvh5", "deep/b.uvh5", "link", "miriad", "zen.uv"]
    assert [name for name, each in products.items() if each.is_directory] == ["miriad", "zen.uv"]


def test_patterns_hold_for_the_last_component_and_hidden_names_can_be_passed_over(night):
    assert list(found(night, pattern="*.uvh5")) == ["a.uvh5", "deep/b.uvh5"]
    assert ".b.uvh5.Xy12" in found(night)
    assert "deep/b.uvh5" not in found(night, never_into=[str(night / "deep")])
    assert list(found(night, directory_products=["deep"], hidden=False)) == [
        "a.uvh5",
        "deep",
        "link",
        "miriad",
        "zen.uv/header",
    ]


def test_a_link_in_a_tree_is_a_problem_and_one_that_is_named_stands_for_its_target(night):
    assert "link" in found(night)["link"].problem
    named = judge(night / "link")
    assert (named.path, named.destination, named.problem) == (str(night / "link"), "link", "")
    (night / "astray").symlink_to("nothing")
    astray = judge(night / "astray")
    assert astray.path == str(night / "astray")
    assert astray.problem == f"it is a link to {night / 'nothing'}, which does not exist"


def test_what_cannot_be_uploaded_says_why(night):
    os.mkfifo(night / "pipe")
    assert judge(night / "nothing").problem == "it does not exist"
    assert judge(night / "pipe").problem == "it is neither a file nor a directory"


def test_a_miriad_dataset_needs_all_three_items(night):
    assert is_directory_product(str(night / "miriad"))
    (night / "miriad" / "visdata").unlink()
    assert not is_directory_product(str(night / "miriad"))


@pytest.mark.parametrize(
    "name", ["", "/a", "../a", "a/../b", "a//b", "a\nb", "x" * 256, os.fsdecode(b"\xff"), "a\x85b"]
)
def test_names_that_no_site_files_are_refused_before_anything_is_sent(name):
    with pytest.raises(LocalProblem) as refused:
        check_destination(name)
    assert refused.value.code == "invalid_name"


@pytest.mark.parametrize(("name", "kept"), [("./a/b", "a/b"), ("a.uv/", "a.uv"), ("ø/…", "ø/…")])
def test_names_are_read_as_posix_reads_them(name, kept):
    assert check_destination(name) == kept
