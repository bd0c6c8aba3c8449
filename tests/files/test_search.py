"""The search language as far as it goes: what each clause finds, and how a wrong one is refused."""

from datetime import timedelta

import pytest
from django.utils import timezone

from files.models import File
from files.search import InvalidSearch, compile_search
from tests.make import make_file

pytestmark = pytest.mark.django_db


def found(text: str) -> set[str]:
    return set(File.objects.filter(compile_search(text)).values_list("name", flat=True))


@pytest.fixture
def files():
    now = timezone.now()
    for name, days in (("zen.1.uvh5", 1), ("zen.2.uv", 5), ("Zen.3.uvh5", 9), ("a_b.txt", 9), ("axb.txt", 9)):
        make_file(name, registered_at=now - timedelta(days=days))


def test_clauses_find_what_the_classic_language_says(files) -> None:
    assert found('{"name-matches": "%"}') == {"zen.1.uvh5", "zen.2.uv", "Zen.3.uvh5", "a_b.txt", "axb.txt"}
    assert found('{"name-matches": "zen.%"}') == {"zen.1.uvh5", "zen.2.uv"}  # case counts, on both databases
    assert found('{"name-like": "%.uvh5"}') == {"zen.1.uvh5", "Zen.3.uvh5"}
    assert found('{"name-matches": "a\\\\_b%"}') == {"a_b.txt"}
    assert found('{"not-older-than": 3}') == {"zen.1.uvh5"}
    assert found('{"not-newer-than": 3, "not-older-than": 7}') == {"zen.2.uv"}
    assert found('{"and": {"name-matches": "%uvh5", "and": {"not-newer-than": 0.5}}}') == {"zen.1.uvh5", "Zen.3.uvh5"}


def test_comments_end_at_the_line_and_spare_strings(files) -> None:
    assert found('{"name-matches": "zen.%", # all zen\n "not-older-than": 3}') == {"zen.1.uvh5"}
    assert found('{"name-matches": "%#1%"}') == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "no clause"),
        ('{"and": {}}', "and: there is no clause"),
        ('{"and": [{"name-matches": "a"}]}', "and: an object"),
        ('{"name-matches": 3}', "name-matches: a text"),
        ('{"name-matches": "a\\\\"}', "backslash"),
        ('{"name-matches": "a\\u0000"}', "null character"),
        ('{"not-older-than": "3"}', "not-older-than: a number of days"),
        ('{"not-older-than": true}', "not-older-than: a number of days"),
        ('{"not-older-than": -1}', "0 to"),
        ('{"not-older-than": NaN}', "not valid JSON"),
        ('{"not-older-than": 1e999}', "a number of days"),
        ('{"and": {"size-is-exactly": 3}}', "and/size-is-exactly: there is no such clause"),
        ('{"name-matches": "a", "name-matches": "b"}', "stands twice"),
        ('{"and": ' * 40 + '{"name-matches": "%"}' + "}" * 40, "nested"),
        ("[" * 100_000, "characters"),
        ("[" * 15_000, "not valid JSON"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidSearch) as refused:
        compile_search(text)
    assert said in refused.value.reason
