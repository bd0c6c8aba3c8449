"""`search-errors` and `clear-error`."""

import pytest

HEADINGS = ["ID", "Severity", "Category", "Message", "Raised", "Cleared", "Cleared Time", "Caller"]


@pytest.fixture(scope="module")
def trouble(site):
    """Id of an open trouble."""
    said = "severity='warning', category='store_full', code='store_full', message='Store tape is | nearly full'"
    return site.evaluate(f"__import__('librarian.common.inbox', fromlist=['-']).report_error({said}, caller='test').pk")


def test_open_troubles_are_a_table(librarian, trouble):
    ran = librarian("search-errors", "karoo", "-c", "store_full", "--id", trouble)
    assert ran.code == 0
    headings, _, row = ran.lines
    assert [cell.strip() for cell in headings.split(" | ")] == HEADINGS
    assert row.startswith(f"{trouble} ")
    assert " | warning  | store_full | Store tape is | nearly full | " in row
    assert " | False   |              | " in row
    [document] = librarian("search-errors", "karoo", "--id", trouble, "--json").document
    assert (document["severity"], document["cleared"], document["cleared_time"]) == ("warning", False, None)


def test_conditions_and_clearing(librarian, trouble):
    nothing = librarian("search-errors", "karoo", "--id", trouble, "--severity", "critical")
    assert (nothing.code, nothing.out) == (0, "No errors found.\n")
    assert librarian("search-errors", "karoo", "--severity", "loud").code == 2
    before = librarian("search-errors", "karoo", "--id", trouble, "--create-time-end", "2020-01-01", "--json")
    assert before.document == []
    assert librarian("clear-error", "karoo", trouble).out == f"Error {trouble} cleared.\n"
    assert librarian("search-errors", "karoo", "--id", trouble).out == "No errors found.\n"
    [cleared] = librarian("search-errors", "karoo", "--id", trouble, "--include-resolved", "--json").document
    assert cleared["cleared"] is True
    again = librarian("clear-error", "karoo", trouble, "--json")
    assert again.code == 1
    assert again.document["error"]["reason"].startswith("Error with ID")
    assert librarian("clear-error", "karoo", "999999").code == 1


def test_the_inbox_is_for_administrators(librarian):
    assert librarian("search-errors", "reader").code == 4
