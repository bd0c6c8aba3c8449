"""Words that return in many verbs: times, sizes, tables, names shown safely."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime

import pytest

from hera_librarian.cli.arguments import moment, rate, size
from hera_librarian.cli.output import bold, size_text, table, visible

pytestmark = pytest.mark.database_independent


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20 12:30",
        "2026-11-20T12:30",
        "2026-11-20T14:30+02:00",
        "2026-11-20T12:30:00Z",
        "2026/11/20 12:30",
        "2461365.0208333335",
    ],
)
def test_times_are_utc(text):
    assert abs((moment(text) - datetime(2026, 11, 20, 12, 30, tzinfo=UTC)).total_seconds()) < 0.001


@pytest.mark.parametrize("text", ["2026-11-20", "2026/11/20", "20 Nov 2026", "November 20, 2026", "Nov 20 2026"])
def test_dates_are_midnights(text):
    assert moment(text) == datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "0001-01-01T00:00+14:00", "12:30"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ArgumentTypeError):
        moment(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("17", 17), ("20MB", 20_000_000), ("20MiB", 20 * 2**20), ("1.5k", 1500), ("2 GB", 2 * 10**9), ("9B", 9)],
)
def test_sizes(text, size_bytes):
    assert size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e6", "5 bananas", "0x10"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ArgumentTypeError):
        size(text)


def test_a_rate_may_say_per_second_and_is_not_nothing():
    assert rate("20MB/s") == 20_000_000
    with pytest.raises(ArgumentTypeError):
        rate("0MB")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0.0 B"), (18, "18.0 B"), (1023, "1023.0 B"), (1024, "1.0 kB"), (76_128_000_000, "70.9 GB")],
)
def test_sizes_for_people(size_bytes, text):
    assert size_text(size_bytes) == text


def test_tables_keep_what_is_false_or_zero(capsys):
    table(["Name", "Number", "Flag", "Time"], [["a", 0, False, None], ["much longer", 12, True, datetime(2026, 1, 2)]])
    assert capsys.readouterr().out.splitlines() == [
        "Name        | Number | Flag  | Time",
        "-" * 50,
        "a           | 0      | False |",
        "much longer | 12     | True  | 2026-01-02 00:00:00",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve name.uvh5", "naïve name.uvh5"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("two\nlines", "two\\nlines"),
        ("turned\u202earound", "turned\\u202earound"),
        ("no\udcffutf8", "no\\udcffutf8"),
    ],
)
def test_what_could_drive_a_terminal_is_shown_as_its_escape(text, shown):
    assert visible(text) == shown


def test_bold_is_for_terminals(capsys):
    assert bold("name") == "name"
