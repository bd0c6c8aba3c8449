"""The list of digests is one that `sha256sum` reads, whatever the names and whatever was in it."""

import hashlib
import subprocess

import pytest

from hera_librarian.finding.sums import Sums, read_sums

pytestmark = pytest.mark.database_independent

NAMES = ["plain.log", " begins with a blank", "back\\slash", "line\nend", "é.log", "*star", "-dash", "sub/inside"]


def test_odd_names_survive_and_lists_are_merged(tmp_path):
    (tmp_path / "sub").mkdir()
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())
    for half in (NAMES[:4], NAMES[4:]):
        sums = Sums(tmp_path)
        for name in half:
            sums.add(name, digests[name])
        sums.write()
    assert read_sums(tmp_path / "SHA256SUMS") == digests
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)

    sums = Sums(tmp_path)
    sums.add("plain.log", "0" * 64)
    sums.write()
    assert read_sums(tmp_path / "SHA256SUMS") == {**digests, "plain.log": "0" * 64}


def test_a_list_that_sha256sum_wrote_is_read(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    written = subprocess.run(["sha256sum", "--", *NAMES], cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "SHA256SUMS").write_bytes(written)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    assert read_sums(tmp_path / "SHA256SUMS") == expected
