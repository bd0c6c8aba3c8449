"""The suite's own promises: what did not run is not passed, and both databases count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig import run
from tests.rig.run import Outcome, closing_line, look_again, report

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.database_independent


def run_inner_suite(folder: Path, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with our plugin on one file, as another program."""
    (folder / "test_inner.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    inherited = {name: value for name, value in os.environ.items() if name not in ("ALLOW_PARTIAL", "RIG_SUMMARY")}
    inherited.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.rig.plugin",
            "-p",
            "no:django",
            "-p",
            "no:xdist",
            "test_inner.py",
        ],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SKIPS_A_TEST = "import pytest\ndef test_needs_a_printer():\n    pytest.skip('no printer here')\n"
SKIPS_THE_MODULE = "import pytest\npytest.importorskip('no_such_module')\n"


@pytest.mark.parametrize("source", [SKIPS_A_TEST, SKIPS_THE_MODULE])
def test_a_skip_fails_the_run_and_says_why(tmp_path, source):
    answer = run_inner_suite(tmp_path, source)
    assert answer.returncode != 0
    assert "Not run, so not passed" in answer.stdout


def test_a_skip_is_accepted_when_an_incomplete_run_is_allowed(tmp_path):
    answer = run_inner_suite(tmp_path, SKIPS_A_TEST, ALLOW_PARTIAL="1")
    assert answer.returncode == 0
    assert "1 skipped" in answer.stdout


def test_an_expected_failure_is_no_skip(tmp_path):
    source = "import pytest\n@pytest.mark.xfail\ndef test_known():\n    raise AssertionError\n"
    assert run_inner_suite(tmp_path, source).returncode == 0


def test_closing_line_counts_both_runs_in_the_words_of_pytest():
    first = Outcome("SQLite", 1, {"failed": 1, "passed": 40})
    second = Outcome("PostgreSQL", 0, {"passed": 30, "warnings": 1})
    assert closing_line([first, second], 61.5).strip("= ") == "1 failed, 70 passed, 1 warning in 61.50s (0:01:01)"


@pytest.mark.parametrize(
    ("codes", "narrowed", "expected"),
    [
        ((0, 0), False, 0),
        ((1, 0), False, 1),
        ((0, 1), False, 1),
        ((0, 5), False, 5),  # a whole suite that finds no test on one database is broken
        ((0, 5), True, 0),
        ((5, 5), True, 5),
        ((1, 5), True, 5),
    ],
)
def test_the_exit_code_is_that_of_the_worse_run(codes, narrowed, expected):
    outcomes = [Outcome(name, code) for name, code in zip(("SQLite", "PostgreSQL"), codes, strict=True)]
    assert report(outcomes, 1.0, narrowed=narrowed) == expected


@pytest.mark.parametrize(
    ("bad", "second", "is_good"),
    [
        (["a"], {"passed": 1}, True),
        (["a@group", "a@group"], {"passed": 1}, True),  # it failed, and its fixture after it
        (["a", "b"], {"passed": 1, "failed": 1}, False),
        (["a", "b", "c", "d"], {"passed": 4}, False),
    ],
)
def test_a_few_that_fail_are_looked_at_again_alone(monkeypatch, capsys, bad, second, is_good):
    asked = []

    def run_again(database, marks, names, *, processes, **environment):
        asked.append((names, processes))
        return Outcome(database, 1 if second.get("failed") else 0, dict(second))

    monkeypatch.setattr(run, "run_pytest", run_again)
    outcome = Outcome("SQLite", 1, {"failed": len(bad), "passed": 10}, list(bad))
    look_again(outcome, "not soak")
    assert asked == ([] if len(bad) > 3 else [(sorted({name.partition("@")[0] for name in bad}), "0")])
    assert report([outcome], 1.0, narrowed=False) == (0 if is_good else 1)
    assert ("UNSTEADY a" in capsys.readouterr().out) == is_good
