"""Names: what is legal, how a name is filed in each mode, where its file lies."""

from datetime import date

import pytest

from files.names import choose_place, julian_day, next_place, normalise_name
from librarian.common.errors import InvalidName

pytestmark = pytest.mark.database_independent


@pytest.mark.parametrize(
    ("given", "name", "directory"),
    [
        ("zen.2457561.66007.phases.hdf", "zen.2457561.66007.phases.hdf", ""),
        ("2557561/zen.2557561.66007.phases.hdf", "zen.2557561.66007.phases.hdf", "2557561"),
        ("a/b/c.uv", "c.uv", "a/b"),
        ("./c.uv", "c.uv", ""),
        ("a/c.uv/", "c.uv", "a"),
        ("night é ☾.log", "night é ☾.log", ""),
    ],
)
def test_flat_mode_files_by_the_last_component(given: str, name: str, directory: str) -> None:
    filed = normalise_name(given)
    assert (filed.name, filed.directory) == (name, directory)


def test_path_mode_files_by_the_whole_path(settings) -> None:
    settings.LIBRARIAN_FILE_NAMES = "path"
    filed = normalise_name("2457561/zen.uv/")
    assert (filed.name, filed.directory) == ("2457561/zen.uv", "2457561")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "empty"),
        ("/", "absolute"),
        ("/etc/passwd", "absolute"),
        ("../x", "component '..'"),
        ("a/../b", "component '..'"),
        ("a/./b", "component '.'"),
        ("a//b", "empty component"),
        ("..", "component '..'"),
        ("a\nb", "control characters"),
        ("a\x00b", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\u2028b", "control characters"),
        ("a\ud800b", "control characters"),
        ("x" * 300, "longer than 255 bytes"),
        ("é" * 200, "longer than 255 bytes"),
        (".librarian/x", "every store keeps for itself"),
        ("./.librarian/record/1", "every store keeps for itself"),
        ("d/" * 600 + "x", "1024 are allowed"),
    ],
)
def test_illegal_names_are_refused_with_the_reason(given: str, why: str) -> None:
    with pytest.raises(InvalidName) as refused:
        normalise_name(given)
    assert why in refused.value.reason
    assert "\n" not in refused.value.reason


def test_a_path_of_over_256_characters_is_refused_as_a_name(settings) -> None:
    settings.LIBRARIAN_FILE_NAMES = "path"
    with pytest.raises(InvalidName, match="256 are allowed"):
        normalise_name("/".join(["d" * 100] * 3))


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("zen.2457561.66007.phases.hdf", 2457561),
        ("correlator.2459122.log", 2459122),
        ("2459122_summary.txt", 2459122),
        ("zen.12345678.1.uv", None),
        ("notes.txt", None),
        ("backup-20261120.dump", None),
    ],
)
def test_julian_day_of_a_name(name: str, day: int | None) -> None:
    assert julian_day(name) == day


def test_place_follows_the_directory_then_the_julian_day_then_the_date() -> None:
    today = date(2026, 11, 20)
    assert choose_place(normalise_name("cal/zen.2457561.1.uv"), today=today) == "cal/zen.2457561.1.uv"
    assert choose_place(normalise_name("zen.2457561.1.uv"), today=today) == "2457561/zen.2457561.1.uv"
    assert choose_place(normalise_name("notes.txt"), today=today) == "2026-11-20/notes.txt"
    assert next_place("2457561/zen.uv", 2) == "2457561~2/zen.uv"
    assert next_place("a/b/zen.uv", 2) == "a/b~2/zen.uv"
    assert next_place("a/b/zen.uv", 3) == "a~3/b/zen.uv"


@pytest.mark.parametrize("letter", ["d", "é"])
def test_the_next_place_beside_a_long_directory_is_legal_too(letter: str) -> None:
    directory = letter * (255 // len(letter.encode()))
    place = next_place(f"cal/{directory}/zen.uv", 12)
    assert place.startswith(f"cal/{letter}")
    assert place.endswith("~12/zen.uv")
    assert len(place.split("/")[1].encode()) <= 255
