"""The error inbox: repeats fold, what is cleared opens anew, and two reporters at once make one row."""

import threading

import pytest
from django.db import connection, transaction

from librarian.common.inbox import clear_error, clear_from, clear_matching, report_error
from librarian.common.models import ErrorRecord

pytestmark = pytest.mark.django_db


def report(**changes):
    facts = {"severity": "error", "category": "configuration", "code": "disk_odd", "message": "the disk is odd"}
    return report_error(**{**facts, **changes})


def test_repeats_fold_into_one_row_that_keeps_the_latest_words():
    first = report(message="odd by 3", caller="job:look", target="store a")
    again = report(message="odd by 4", remedy="mend it", severity="critical", caller="job:look", target="store a")
    assert (again.pk, again.count, again.message, again.remedy) == (first.pk, 2, "odd by 4", "mend it")
    assert again.severity == "critical"
    assert again.last_raised_at > first.raised_at
    assert ErrorRecord.objects.count() == 1


@pytest.mark.parametrize("change", [{"code": "x"}, {"caller": "x"}, {"target": "x"}, {"category": "transfer"}])
def test_another_code_caller_target_or_category_is_another_trouble(change):
    assert report().pk != report(**change).pk


def test_parts_cannot_be_shifted_into_each_other():
    assert report(caller="ab", target="c").pk != report(caller="a", target="bc").pk


def test_a_cleared_trouble_opens_a_new_row_when_it_comes_back():
    first = report()
    clear_error(error=first, cleared_by="ada")
    assert first.cleared_at is not None
    assert first.cleared_by == "ada"
    second = report()
    assert (second.pk == first.pk, second.count) == (False, 1)


def test_clearing_again_keeps_who_cleared_first():
    error = report()
    clear_error(error=error, cleared_by="ada")
    clear_error(error=error, cleared_by="bob")
    assert error.cleared_by == "ada"


def test_clearing_by_its_words_touches_nothing_else():
    mended, other = report(target="store a"), report(target="store b")
    assert clear_matching(code="disk_odd", target="store a", cleared_by="job:look") == 1
    mended.refresh_from_db()
    other.refresh_from_db()
    assert mended.cleared_at is not None
    assert other.cleared_at is None


def test_clearing_all_of_a_caller():
    report(caller="job:look", target="a")
    report(caller="job:look", target="b")
    kept = report(caller="job:listen")
    assert clear_from(caller="job:look", codes=["disk_odd"], cleared_by="x") == 2
    assert list(ErrorRecord.objects.filter(cleared_at=None)) == [kept]


@pytest.mark.parametrize("change", [{"severity": "loud"}, {"category": "weather"}])
def test_an_unknown_severity_or_category_is_refused(change):
    with pytest.raises(ValueError):
        report(**change)


def test_any_bytes_of_a_name_can_be_reported():
    error = report(message="cannot read night\x00/\udcffzen.uvh5", caller="x" * 500, target="\udcff")
    error.refresh_from_db()
    assert error.message == "cannot read night\\x00/\\udcffzen.uvh5"
    assert len(error.caller) == 128


def test_a_very_long_message_is_cut():
    assert len(report(message="x" * 50_000).message) == 10_000


def test_a_report_inside_a_transaction_leaves_it_usable():
    report()
    with transaction.atomic():
        assert report().count == 2
        assert ErrorRecord.objects.count() == 1


def test_a_report_refused_by_the_constraint_is_tried_again(monkeypatch):
    """Between look and insert somebody reports the same; here the refusal undoes that one with ours."""
    create = ErrorRecord.objects.create

    def create_after_another(**fields):
        monkeypatch.setattr(ErrorRecord.objects, "create", create)
        create(**fields)
        return create(**fields)

    monkeypatch.setattr(ErrorRecord.objects, "create", create_after_another)
    assert report().count == 1
    assert ErrorRecord.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_reporters_at_the_same_time_make_one_row_and_lose_no_count():
    start = threading.Barrier(6)
    failures = []

    def work():
        try:
            start.wait(10)
            for _ in range(5):
                report()
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert list(ErrorRecord.objects.values_list("count", flat=True)) == [30]
