"""Like patterns mean the same on both databases, case included; shell patterns become like patterns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.lookups import check_like, escape_like, like_to_glob, shell_to_like
from files.models import File
from tests.make import make_file

NAMES = [
    "zen.a.uvh5",
    "Zen.a.uvh5",
    "zen_a_uvh5",
    "zen%a",
    "a*b",
    "a?b",
    "a[bc]d",
    "abd",
    "a\\b",
    "ünïcode",
    "a^b",
    "a]b",
]


def matches(pattern: str, name: str) -> bool:
    """Whether a like pattern matches, told by a regular expression and not by a database."""
    parts = re.findall(r"\\(.)|([%_])|([^\\%_])", pattern, re.DOTALL)
    text = "".join(
        re.escape(escaped or plain) if escaped or plain else {"%": ".*", "_": "."}[special]
        for escaped, special, plain in parts
    )
    return re.fullmatch(text, name, re.DOTALL) is not None


@pytest.fixture
def names(db):
    for name in NAMES:
        make_file(name)
    return NAMES


@pytest.mark.parametrize(
    "pattern",
    ["zen.%", "Z%", "%uvh5", "zen_a_uvh5", r"zen\_a\_uvh5", r"zen\%a", "a*b", "a?b", "a[bc]d", r"a\\b", "_n_code", "%",
     "", "%%", "ÜNÏCODE", r"\z\e\n%", "a^b", "a]b", "a_b", "%[%"],
)  # fmt: skip
def test_a_pattern_finds_what_it_matches_and_nothing_else(names, pattern):
    found = set(File.objects.filter(name__like=pattern).values_list("name", flat=True))
    assert found == {name for name in names if matches(pattern, name)}


@pytest.mark.django_db
@given(
    pattern=st.text(alphabet="ab%_\\*?[]^-A", max_size=8),
    name=st.text(alphabet="ab%_\\*?[]^-A", min_size=1, max_size=6),
)
def test_any_pattern_means_the_same_to_the_database_as_in_words(pattern, name):
    from django.db import connection

    try:
        check_like(pattern)
    except ValueError:
        return
    if connection.vendor == "sqlite":
        sql, params = "SELECT %s GLOB %s", [name, like_to_glob(pattern)]
    else:
        sql, params = "SELECT %s LIKE %s", [name, pattern]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        assert bool(cursor.fetchone()[0]) == matches(pattern, name)


@pytest.mark.parametrize(
    ("shell", "like"),
    [("*.uvh5", "%.uvh5"), ("a?c", "a_c"), ("a_c%", r"a\_c\%"), (r"a\*b", "a*b"), (r"\[x", "[x"), (r"a\\b", r"a\\b")],
)
def test_a_shell_pattern_becomes_a_like_pattern(shell, like):
    assert shell_to_like(shell) == like


@pytest.mark.parametrize("pattern", ["[ab]*", "x\\"])
def test_a_shell_pattern_that_cannot_be_kept_is_refused(pattern):
    with pytest.raises(ValueError, match="bracket|backslash"):
        shell_to_like(pattern)


def test_escaped_text_matches_only_itself(names):
    for name in names:
        assert list(File.objects.filter(name__like=escape_like(name)).values_list("name", flat=True)) == [name]


def test_a_pattern_ending_in_a_backslash_is_refused_before_the_database_sees_it(db):
    with pytest.raises(ValueError, match="backslash"):
        File.objects.filter(name__like="a\\").exists()
