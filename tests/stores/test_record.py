"""The commit record: what is changed, missing or torn is seen, and writers never spoil each other's lines."""

import json
import os
import threading
from pathlib import Path

import pytest

from librarian.common.errors import StoreUnavailable
from stores.backends import durable, open_backend, record
from stores.backends.base import Member, RecordLine
from stores.backends.posix import PosixBackend
from stores.models import Store

pytestmark = pytest.mark.database_independent
MEMBERS = [Member("file", f"m{number}", 1, "0" * 64) for number in range(3)]


@pytest.fixture
def backend(tmp_path: Path) -> PosixBackend:
    made = open_backend(Store(name="attic", configuration={"root": str(tmp_path / "store")}))
    made.initialise()
    return made


def line(number: int, members: int = 0) -> RecordLine:
    return RecordLine(f"1/f{number}", {"name": f"f{number}", "member_count": members})


def segments(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "store" / ".librarian" / "record").glob("*.jsonl"))


def told(backend: PosixBackend) -> list[str]:
    return [line.place for line, _ in backend.read_record()]


def write_three(backend: PosixBackend, tmp_path: Path) -> Path:
    backend.append_record([(line(1), ()), (line(2, 3), MEMBERS), (line(3), ())])
    [segment] = segments(tmp_path)
    assert told(backend) == ["1/f1", "1/f2", "1/f3"]
    assert backend.record_problems == []
    return segment


def change_lines(segment: Path, change: object) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    change(lines)
    segment.write_bytes(b"".join(lines))


def test_changed_line_is_not_believed(backend: PosixBackend, tmp_path: Path) -> None:
    segment = write_three(backend, tmp_path)
    segment.write_bytes(segment.read_bytes().replace(b'"f1"', b'"f9"'))
    assert told(backend) == ["1/f2", "1/f3"]
    [problem] = backend.record_problems
    assert f"{segment.name}, line 2" in problem
    assert "changed" in problem


@pytest.mark.parametrize("number", [1, 2, 3])
def test_removed_line_is_noticed(backend: PosixBackend, tmp_path: Path, number: int) -> None:
    segment = write_three(backend, tmp_path)
    change_lines(segment, lambda lines: lines.pop(number))
    told(backend)
    assert any("gone" in problem for problem in backend.record_problems)


def test_exchanged_lines_are_noticed(backend: PosixBackend, tmp_path: Path) -> None:
    segment = write_three(backend, tmp_path)
    change_lines(segment, lambda lines: lines.insert(1, lines.pop(4)))
    told(backend)
    assert backend.record_problems


def test_torn_last_line_is_reported_and_the_rest_told(backend: PosixBackend, tmp_path: Path) -> None:
    segment = write_three(backend, tmp_path)
    os.truncate(segment, segment.stat().st_size - 5)
    assert told(backend) == ["1/f1", "1/f2"]
    [problem] = backend.record_problems
    assert "torn" in problem


def test_members_that_are_missing_are_counted(backend: PosixBackend, tmp_path: Path) -> None:
    segment = write_three(backend, tmp_path)
    change_lines(segment, lambda lines: lines.pop(3))
    told(backend)
    assert any("has 3 members, of which 0" in problem for problem in backend.record_problems)


@pytest.mark.parametrize("text", [b"\xff\xfe\n", b"[]\n", b"3\n", b'{"digest": 1}\n', b"[" * 100_000 + b"\n", b"\n"])
def test_garbage_is_reported_not_raised(backend: PosixBackend, tmp_path: Path, text: bytes) -> None:
    segment = write_three(backend, tmp_path)
    change_lines(segment, lambda lines: lines.insert(2, text))
    assert told(backend) == ["1/f1", "1/f2", "1/f3"]
    assert any("line 3" in problem for problem in backend.record_problems)


def test_line_of_another_store_is_reported(backend: PosixBackend, tmp_path: Path) -> None:
    other = open_backend(Store(name="cellar", configuration={"root": str(tmp_path / "other")}))
    other.initialise()
    other.append_record([(line(7), ())])
    [foreign] = (tmp_path / "other" / ".librarian" / "record").glob("*.jsonl")
    write_three(backend, tmp_path)
    foreign.rename(segments(tmp_path)[0].with_name("2000-01-01-x.jsonl"))
    assert "1/f7" in told(backend)
    assert any("cellar" in problem for problem in backend.record_problems)


def test_full_segment_is_continued_and_its_lost_end_noticed(
    backend: PosixBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "MAX_SEGMENT_BYTES", 1)
    backend.append_record([(line(1), ()), (line(2), ())])
    [first] = segments(tmp_path)
    backend.append_record([(line(3), ())])
    assert len(segments(tmp_path)) == 2
    assert sorted(told(backend)) == ["1/f1", "1/f2", "1/f3"]
    assert backend.record_problems == []
    change_lines(first, lambda lines: lines.pop())
    told(backend)
    assert any(first.name in problem and "lost its end" in problem for problem in backend.record_problems)
    first.unlink()
    told(backend)
    assert any(first.name in problem and "is gone" in problem for problem in backend.record_problems)


def test_threads_share_a_segment_and_processes_do_not(backend: PosixBackend, tmp_path: Path) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 20):
            backend.append_record([(line(number), ())])

    threads = [threading.Thread(target=write, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(segments(tmp_path)) == 1
    children = []
    for number in range(4, 7):
        child = os.fork()
        if child == 0:
            try:
                write(100 * number)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    write(700)
    assert len(segments(tmp_path)) == 4
    expected = {f"1/f{100 * start + number}" for start in range(8) for number in range(20)}
    places = told(backend)
    assert len(places) == len(expected)
    assert set(places) == expected
    assert backend.record_problems == []


def test_append_that_fails_leaves_nothing_behind(
    backend: PosixBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_three(backend, tmp_path)

    def torn(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_all", torn)
        with pytest.raises(StoreUnavailable):
            backend.append_record([(line(4), ()), (line(5), ())])
    backend.append_record([(line(6), ())])
    assert told(backend) == ["1/f1", "1/f2", "1/f3", "1/f6"]
    assert backend.record_problems == []


def test_segment_that_was_touched_is_not_continued(backend: PosixBackend, tmp_path: Path) -> None:
    segment = write_three(backend, tmp_path)
    with open(segment, "ab") as file:
        file.write(b"half a li")
    backend.append_record([(line(4), ())])
    assert len(segments(tmp_path)) == 2
    assert set(told(backend)) == {"1/f1", "1/f2", "1/f3", "1/f4"}
    assert any("torn" in problem for problem in backend.record_problems)


def test_lines_are_canonical_json_that_names_the_store(backend: PosixBackend, tmp_path: Path) -> None:
    segment = write_three(backend, tmp_path)
    for raw in segment.read_bytes().splitlines():
        assert record.canonical(json.loads(raw)) == raw
    header = json.loads(segment.read_bytes().splitlines()[0])
    assert (header["kind"], header["store"]) == ("segment", "attic")
    assert header["marker"] == str(backend.store.marker)
