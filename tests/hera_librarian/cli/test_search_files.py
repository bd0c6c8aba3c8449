"""`librarian search-files`: the lines that scripts read, the other forms, the filters, servers without version 3."""

import csv
import io
import json
import re

import pytest

from tests.hera_librarian.cli.running import NIGHT, environment_of, run_command
from tests.hera_librarian.foreign import NOT_FOUND, PASSWORD, USER, Foreign, answer

OLD_FILE = {
    "name": "2459122/obs",
    "create_time": "2026-11-20T12:16:09.477670",
    "size": 268,
    "checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
    "uploader": "admin",
    "source": "\x1b[31mred",
    "instances": [
        {"path": "/data/a/obs", "deletion_policy": 0, "created_time": "2026-11-20T12:16:09", "available": True},
        {
            "path": "/data/b/obs",
            "deletion_policy": 0,
            "created_time": "2026-11-20T12:16:09",
            "available": False,
        },
    ],
    "remote_instances": [{"librarian_name": "destination_librarian", "copy_time": "2026-11-20T12:16:13.233201"}],
}


@pytest.fixture
def foreign(home, tmp_path):
    """Run the command against a server that speaks only the wire: `foreign(answers, "search-files", …)`."""

    def run(answers, *words):
        with Foreign({"GET /api/v3/": NOT_FOUND, **answers}) as server:
            connections = {"old": {"host": server.host, "port": server.port, "user": USER, "password": PASSWORD}}
            verb, *rest = words
            ran = run_command(verb, "old", *rest, cwd=tmp_path, env=environment_of(home, connections))
            return ran, server.asked

    return run


def test_lines_as_scripts_read_them(librarian, site):
    ran = librarian("search-files", "reader", "-n", NIGHT[7])
    assert ran.code == 0
    first, *others = ran.lines
    assert re.fullmatch(
        rf"{NIGHT[7]} \(1\.6 kB\) - \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? - correlator - ingest", first
    )
    assert others == [
        "Instances:",
        f"    {site.store_path}/2461364/{NIGHT[7]} - AVAILABLE",
        "No remote instances of this file found.",
    ]


def test_nothing_found_is_no_failure(librarian):
    for words, said in ([[], "No results found.\n"], [["--json"], "[]\n"], [["--format", "names"], ""]):
        ran = librarian("search-files", "reader", "no-such-file", *words)
        assert (ran.code, ran.out) == (0, said)


def test_forms(librarian):
    words = ["search-files", "reader", "zen.2461364.0002*", "--format"]
    assert sorted(librarian(*words, "names").lines) == NIGHT[20:30]
    rows = list(csv.DictReader(io.StringIO(librarian(*words, "csv").out)))
    assert sorted(row["name"] for row in rows) == NIGHT[20:30]
    assert {row["obsid"] for row in rows} == {"1289234567"}
    assert sorted(row["name"] for row in librarian(*words, "json").document) == NIGHT[20:30]
    assert librarian(*words, "jsonl").records == librarian(*words, "json").document
    heading, dashes, *lines = librarian(*words, "table").lines
    assert [cell.strip() for cell in heading.split(" | ")][:3] == ["Name", "Created", "Observation"]
    assert set(dashes) == {"-"}
    assert len(lines) == 10
    with_copies = librarian(*words, "jsonl", "--instances").records
    assert all(row["instances"][0]["presence"] == "present" for row in with_copies)


def test_results_beyond_the_limit_are_mentioned_and_can_be_had(librarian):
    limited = librarian("search-files", "reader", "zen.*.uvh5", "--format", "names")
    assert len(limited.lines) == 64
    assert "only the newest 64 are shown" in limited.err
    everything = librarian("search-files", "reader", "zen.*.uvh5", "--format", "names", "--all")
    assert sorted(everything.lines) == NIGHT
    assert everything.err == ""
    assert librarian("search-files", "reader", "zen.*.uvh5", "--format", "names", "--max-results", "0").out == ""


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["--uploader", "correlator", "--source", "ingest"], 71),
        (["--kind", "directory", "--uploader", "correlator"], 1),
        (["--uploader", "correlator", "--size-max", "100"], 1),
        (["--name-contains", ".0006", "--store", "store"], 10),
        (["--uploader", "correlator", "--create-time-start", "2020-01-01", "--create-time-end", "9999-12-31"], 71),
        (["--uploader", "correlator", "--create-time-end", "2459122.5"], 0),
        (["--obsid", "1289234567", "--search", "kind=flat"], 70),
    ],
)
def test_filters(words, number, librarian):
    assert len(librarian("search-files", "reader", "--all", "--format", "names", *words).lines) == number


def test_both_ends_of_a_window_belong_to_it(librarian):
    [row] = librarian("search-files", "reader", NIGHT[0], "--json").document
    at = row["registered_at"]
    window = ["--create-time-start", at, "--create-time-end", at]
    assert [row["name"] for row in librarian("search-files", "reader", NIGHT[0], *window, "--json").document] == [
        NIGHT[0]
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a", "--name", "b"], 2, "twice"),
        (["--create-time-start", "yesterdayish"], 2, "not a time"),
        (["--create-time-start", "2026-02-01", "--create-time-end", "2026-01-01"], 2, "ends before it starts"),
        (["--size-min", "huge"], 2, "not a size"),
        (["--max-results", "5", "--all"], 2, "not allowed with"),
        (['{"name-matches": "%"}'], 1, "--name-glob"),
        (["--search", '{"name-matches": "%"}'], 1, "--name-glob"),
        (["--search", "name_glb=x"], 1, "name_glob"),
    ],
)
def test_bad_conditions_say_what_would_be_good(words, code, said, librarian):
    ran = librarian("search-files", "reader", *words)
    assert ran.code == code
    assert said in ran.err


@pytest.mark.database_independent
def test_a_server_without_version_3_is_searched_over_the_wire(foreign):
    words = ["search-files", "-u", "admin", "--create-time-end", "2026-11-21", "--max-results", "9"]
    ran, asked = foreign({"POST /api/v2/search/file": answer([OLD_FILE])}, *words)
    assert ran.lines == [
        "2459122/obs (268.0 B) - 2026-11-20 12:16:09.477670 - admin - \\x1b[31mred",
        "Instances:",
        "    /data/a/obs - AVAILABLE",
        "    /data/b/obs - NOT AVAILABLE",
        "Remote instances:",
        "    destination_librarian",
    ]
    message = asked[-1].message
    assert (message["uploader"], message["max_results"]) == ("admin", 9)
    assert message["create_time_window"][1].startswith("2026-11-21T00:00:00")


@pytest.mark.database_independent
def test_what_such_a_server_cannot_search_by_is_refused_and_nothing_found_is_not(foreign):
    ran, _ = foreign({}, "search-files", "--name-glob", "*.uv")
    assert ran.code == 1
    assert "only the wire protocol" in ran.err
    nothing = answer({"reason": "No files found.", "suggested_remedy": "Look elsewhere."}, 404)
    ran, _ = foreign({"POST /api/v2/search/file": nothing}, "search-files", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, [])


@pytest.mark.database_independent
def test_such_a_server_tells_where_a_file_lies(foreign):
    answers = {"POST /api/v2/search/file": answer([OLD_FILE])}
    ran, _ = foreign(answers, "locate-file", "obs", "--all")
    assert ran.lines == ["127.0.0.1:/data/a/obs"]
    ran, _ = foreign(answers, "download", "obs")
    assert ran.code == 1
