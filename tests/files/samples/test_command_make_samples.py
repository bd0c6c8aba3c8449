"""`manage.py make_samples` writes what its options say and tells what it wrote."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from files.management.commands.make_samples import Command

pytestmark = pytest.mark.database_independent

TINY = ("--antennas", "2", "--channels", "4", "--pixels", "8")


def run(*arguments: str) -> str:
    output = StringIO()
    call_command(Command(stdout=output), *arguments)
    return output.getvalue()


def products(directory: Path) -> list[Path]:
    return [path for day in directory.iterdir() for path in day.iterdir()]


def test_a_night_of_24_files_unless_told_otherwise(tmp_path: Path) -> None:
    output = run(str(tmp_path), *TINY)
    assert len(products(tmp_path)) == 24
    assert "uvh5: 14 files" in output
    assert "Wrote 24 files" in output


def test_number_start_and_listing_by_option(tmp_path: Path) -> None:
    output = run(str(tmp_path), *TINY, "--files", "3", "--start-jd", "2460000.5", "--verbosity", "2")
    assert sorted(map(str, products(tmp_path))) == sorted(output.splitlines()[:3])
    assert {path.parent.name for path in products(tmp_path)} == {"2460000"}


def test_small_files_alone_or_beside_a_night(tmp_path: Path) -> None:
    output = run(str(tmp_path / "alone"), "--small-files", "5", "--size", "700")
    assert [path.stat().st_size for path in products(tmp_path / "alone")] == [700] * 5
    assert "5 small files of 700 bytes" in output
    run(str(tmp_path / "both"), *TINY, "--small-files", "5", "--files", "2")
    assert len(products(tmp_path / "both")) == 7


def test_what_exists_is_named_and_left_alone(tmp_path: Path) -> None:
    run(str(tmp_path), *TINY, "--files", "1")
    (path,) = products(tmp_path)
    before = path.read_bytes()
    with pytest.raises(CommandError, match=path.name):
        run(str(tmp_path), *TINY, "--files", "1", "--seed", "7")
    assert path.read_bytes() == before


def test_senseless_options_end_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="antenna_count must be between"):
        run(str(tmp_path), "--antennas", "0")
