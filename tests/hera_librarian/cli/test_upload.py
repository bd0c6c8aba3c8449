"""`librarian upload`: names, outcomes, exit codes, resuming; the bytes arrive."""

import fcntl
import hashlib
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest

from hera_librarian.cli.products import plan_uploads
from tests.hera_librarian.cli.running import command_line, environment_of
from tests.hera_librarian.proxy import Proxy


@pytest.fixture
def made(tmp_path):
    """Make a file whose name and bytes are this test's own: `made("a.log")`."""

    def make(name, content=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"the bytes of {name}\n".encode() if content is None else content)
        return path

    return make


def filed(librarian, name):
    [row] = librarian("search-files", "reader", "--name", name, "--json", "--instances").document
    return row


def test_a_file_is_handed_over_under_its_new_name(librarian, made):
    path = made("one.log")
    ran = librarian("upload", "pipeline", "one.log", "2461364/renamed-one.log")
    assert ran.code == 0
    [line] = ran.lines
    assert line.startswith(f"new: {path} -> ")
    assert line.endswith("renamed-one.log (21.0 B)")
    row = filed(librarian, "renamed-one.log")
    assert row["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["instances"][0]["path"] == "2461364/renamed-one.log"
    assert row["instances"][0]["deletion_policy"] == 0


def test_json_gives_one_object_a_product(librarian, made):
    made("json.log")
    first = librarian("upload", "pipeline", "json.log", "--json", "json.log", "--way", "http")
    [record] = first.records
    assert first.code == 0
    assert (record["name"], record["outcome"], record["way"], record["ok"]) == ("json.log", "new", "http", True)
    assert record["checksum"].startswith("xxh3:::")


def test_doing_it_twice_is_harmless_and_other_bytes_are_refused(librarian, made):
    made("twice.log")
    assert librarian("upload", "pipeline", "twice.log", "twice.log").code == 0
    again = librarian("upload", "pipeline", "twice.log", "twice.log")
    assert again.code == 0
    assert again.out.startswith("already here: ")
    made("twice.log", b"other bytes\n")
    other = librarian("upload", "pipeline", "twice.log", "twice.log", "--json")
    assert other.code == 1
    assert other.records[0]["code"] == "name_taken"
    assert "already exists" in other.err


@pytest.mark.parametrize("way", ["disk", "http"])
def test_a_directory_is_one_product_on_every_way(way, librarian, made):
    made(f"{way}.uv/header")
    made(f"{way}.uv/deep/visdata")
    ran = librarian(
        "upload", "pipeline", f"{way}.uv", f"{way}.uv", "--way", way, "--null-obsid", "--deletion", "allowed"
    )
    assert ran.code == 0, ran.err
    row = filed(librarian, f"{way}.uv")
    assert row["kind"] == "directory"
    assert row["instances"][0]["deletion_policy"] == 1


def test_several_paths_and_patterns_go_into_a_directory(librarian, made):
    for name in ("many-1.log", "many-2.log", "other-many.log"):
        made(name)
    ran = librarian("upload", "pipeline", "many-*.log", "other-many.log", "many", "--obsid", "1289234599")
    assert ran.code == 0
    assert ran.lines[-1] == "3 new; 76.0 B"
    row = filed(librarian, "many-2.log")
    assert row["obsid"] == 1289234599
    assert row["instances"][0]["path"] == "many/many-2.log"


def test_one_bad_product_does_not_stop_the_others(librarian, made):
    made("good-1.log")
    made("good-2.log")
    ran = librarian("upload", "pipeline", "good-1.log", "not-there.log", "good-2.log", ".", "--json")
    assert ran.code == 5
    assert {record["outcome"] for record in ran.records if "good" in record["path"]} == {"new"}
    assert [record["ok"] for record in ran.records if "not-there" in record["path"]] == [False]
    assert "not-there.log" in ran.err


def test_when_nothing_could_be_handed_over_the_exit_code_is_1(librarian):
    ran = librarian("upload", "pipeline", "not-there.log", "not-there.log")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a.log"], 2, "no destination"),
        (["a.log", "/absolute"], 2, "absolute"),
        (["a.log", ""], 2, "empty"),
        (["b/a.log", "a.log", "."], 2, "More than one of these paths would be named a.log"),
        (["a.log", "x", "--deletion", "perhaps"], 2, "--deletion"),
        (["a.log", "x", "--null-obsid", "--obsid", "5"], 2, "not allowed with"),
        (["a.log", "x", "--bandwidth", "0"], 2, "more than 0"),
        (["a.log", "x", "--meta", "direct"], 2, "--meta"),
        (["a.log", "x", "--meta", "json-stdin"], 1, "Leave --meta out"),
        (["*.nothing", "."], 6, "Nothing matches *.nothing"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_sent(words, code, said, librarian, made):
    made("a.log")
    made("b/a.log")
    ran = librarian("upload", "pipeline", *words)
    assert ran.code == code
    assert said in ran.err
    assert ran.out == ""


def test_options_of_older_scripts_are_accepted_and_secrets_among_them_not_repeated(librarian, made):
    made("older.log")
    options = ["--pre-staged", "store:dir", "--use_globus", "--client_id", "me", "--transfer_token", "S3CRET"]
    ran = librarian("upload", "--meta", "infer", *options, "pipeline", "older.log", "older.log")
    assert ran.code == 0
    assert ran.err.count("is ignored") == 4
    assert "S3CRET" not in ran.err + ran.out


def test_too_low_a_level_and_a_server_that_is_away_end_the_command(librarian, made):
    made("refused.log")
    assert librarian("upload", "reader", "refused.log", "refused.log", "--way", "http").code == 4
    assert librarian("upload", "nobody-listens", "refused.log", "refused.log").code == 3


def test_the_progress_bar_is_for_terminals(connections, home, made, tmp_path):
    made("watched.bin", os.urandom(3_000_000))
    words = ["upload", "pipeline", "watched.bin", "watched.bin", "--bandwidth", "3MB", "--way", "http"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        ended = subprocess.run(
            command_line(*words),
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
    assert b"B/s" in shown
    assert ended.stdout.startswith(b"new: ")


def test_a_killed_upload_goes_on_in_the_next_process(site, connections, home, librarian, made, tmp_path):
    path = made("killed.bin", os.urandom(40_000_000))
    words = ["upload", "slow", "killed.bin", "killed.bin", "--way", "http"]
    with Proxy(site.port) as proxy:
        slow = {"slow": {**connections["pipeline"], "port": proxy.port}}
        running = subprocess.Popen(
            command_line(*words, "--bandwidth", "10MB"),
            cwd=tmp_path,
            env=environment_of(home, connections | slow),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            proxy.wait_until_sent(12_000_000)
        finally:
            running.send_signal(signal.SIGKILL)
            running.wait(10)
        before = proxy.sent
        assert before < 39_000_000, "killed too late to show anything"
        ran = librarian(*words, "--json", more_connections=slow)
        assert ran.code == 0, ran.err
        assert ran.records[0]["outcome"] == "new"
        assert proxy.sent - before < 35_000_000, "the part that had arrived was sent again"
    assert filed(librarian, "killed.bin")["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.database_independent
@pytest.mark.parametrize(
    ("paths", "destination", "names"),
    [
        (["a.log"], "b.log", ["b.log"]),
        (["a.log"], "d/", ["d/a.log"]),
        (["a.log"], ".", ["a.log"]),
        (["a.log", "b.log"], "d", ["d/a.log", "d/b.log"]),
        (["a.log", "b.log"], "./", ["a.log", "b.log"]),
        (["a.*"], "d", ["d/a.log"]),
        (["sub/**/*.log"], "d", ["d/deep.log"]),
        (["sub/."], "d/", ["d/sub"]),
        (["sub/"], "d/", ["d/sub"]),
        (["odd[1].log"], "d/", ["d/odd[1].log"]),
    ],
)
def test_destinations(paths, destination, names, tmp_path, monkeypatch):
    (tmp_path / "sub" / "inner").mkdir(parents=True)
    for name in ("a.log", "b.log", "odd[1].log", "sub/inner/deep.log"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert [name for _, name in plan_uploads(paths, destination)] == names
