"""`librarian download`: what is fetched, where it lies, exit codes."""

import fcntl
import hashlib
import os
import pty
import struct
import subprocess
import termios

import pytest

from tests.hera_librarian.cli.running import NIGHT, command_line, environment_of


def content(name):
    return f"the bytes of {name}\n".encode() * 40


def test_names_and_patterns_are_fetched_and_listed_with_their_digests(librarian, tmp_path):
    ran = librarian("download", "reader", NIGHT[3], "zen.2461364.0001?.*", "zen.2461364.31004.uv", "--to", "night")
    assert ran.code == 0, ran.err
    folder = tmp_path / "night"
    assert {path.name for path in folder.iterdir()} == {
        NIGHT[3],
        *NIGHT[10:20],
        "zen.2461364.31004.uv",
        "SHA256SUMS",
    }
    assert (folder / NIGHT[3]).read_bytes() == content(NIGHT[3])
    assert (folder / "zen.2461364.31004.uv" / "visdata").read_bytes() == b"visdata"
    assert f"downloaded: {NIGHT[3]} -> night/{NIGHT[3]} (1.6 kB)" in ran.lines
    assert ran.lines[-1].startswith("12 downloaded; ")
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_what_is_there_is_not_fetched_again_and_other_bytes_are_kept(librarian, tmp_path):
    assert librarian("download", "reader", NIGHT[0]).code == 0
    again = librarian("download", "reader", NIGHT[0], "--json")
    assert [(each["outcome"], each["bytes_fetched"]) for each in again.records] == [("already here", 0)]
    (tmp_path / NIGHT[0]).write_bytes(b"mine\n")
    refused = librarian("download", "reader", NIGHT[0])
    assert refused.code == 1
    assert (tmp_path / NIGHT[0]).read_bytes() == b"mine\n"
    assert librarian("download", "reader", NIGHT[0], "--overwrite").code == 0
    assert (tmp_path / NIGHT[0]).read_bytes() == content(NIGHT[0])


def test_searches_choose_files(librarian, tmp_path):
    ran = librarian(
        "download", "reader", "--obsid", "1289234567", "--search", "name_contains=.0004", "--size-min", "1kB", "--json"
    )
    assert ran.code == 0
    assert {record["name"] for record in ran.records} == set(NIGHT[40:50])
    first = next(record for record in ran.records if record["name"] == NIGHT[40])
    assert first["digest"] == hashlib.sha256(content(NIGHT[40])).hexdigest()
    narrowed = librarian("download", "reader", "zen.2461364.0005*", "--kind", "directory")
    assert narrowed.code == 6


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "which files"),
        (["--to", "x"], 2, "which files"),
        (["a", "--name", "b"], 2, "twice"),
        (["a", "--parallel", "0"], 2, "--parallel"),
        (["--search", "novalue"], 2, "KEY=VALUE"),
        (["--search", '{"name-is-exactly": "x"}'], 1, "classic"),
        (["--search", "nonsense=1"], 1, "nonsense"),
        (["no-such-file"], 6, "no-such-file"),
        (["no-such-*"], 6, "No file matches"),
        (["--uploader", "nobody-at-all"], 6, "No file matches"),
    ],
)
def test_what_cannot_be_fetched_is_told_with_its_code(words, code, said, librarian):
    ran = librarian("download", "reader", *words)
    assert ran.code == code
    assert said in ran.err


def test_one_missing_file_does_not_stop_the_others(librarian, tmp_path):
    ran = librarian("download", "reader", NIGHT[1], "no-such-file", NIGHT[2], "--quiet")
    assert ran.code == 5
    assert ran.out == ""
    assert (tmp_path / NIGHT[2]).exists()


def test_credentials_and_absent_servers_are_told_once(librarian):
    wrong = librarian("download", "wrong", NIGHT[1], NIGHT[2])
    assert wrong.code == 4
    assert wrong.err.count("error:") == 1
    assert librarian("download", "nobody-listens", NIGHT[1]).code == 3


def test_a_directory_that_cannot_be_made_is_no_traceback(librarian, tmp_path):
    (tmp_path / "occupied").touch()
    ran = librarian("download", "reader", NIGHT[1], "--to", "occupied")
    assert ran.code == 1
    assert "occupied" in ran.err


def test_the_progress_bar_knows_the_size_of_a_file_that_is_named(connections, home, tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        ended = subprocess.run(
            command_line("download", "reader", NIGHT[1]),
            cwd=tmp_path,
            env=environment_of(home, connections, TERM="xterm"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
            check=False,
        )
        os.set_blocking(ours, False)
        shown = os.read(ours, 65536)
    finally:
        os.close(theirs)
        os.close(ours)
    assert ended.returncode == 0
    assert b"100%" in shown
