"""`make test`: the whole suite on SQLite, then all that touches a database on a PostgreSQL started for it.

Many tests stop and cut real processes while both cores are busy. A few that failed in the whole run get a second look,
alone; those that pass then are called unsteady, by name, at the end: they want mending, and do not hide the others.

Tests marked `database_independent` run once. What is missing (Chromium, sshd and rsync, PostgreSQL) is found, installed
or named before the first test. The last line has pytest's form and counts both runs; the exit code is that of the
worse.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.rig import chromium, postgres, sshd
from tests.rig.processes import RigError, exit_on_sigterm

PROCESSES = os.environ.get("TEST_PROCESSES", "2")
NOTHING_COLLECTED = 5
INTERRUPTED = 2
GROUP = re.compile(r"@[\w.-]+\Z")  # xdist ends the name of a test with its group
SLOWEST = ("--durations=40", "--durations-min=5")  # where the time of the suite goes
MOST_UNSTEADY = 3  # more failures than that are no matter of timing
# pytest's own order and words in its closing line
KINDS = ("failed", "passed", "skipped", "xfailed", "xpassed", "warnings", "error")


@dataclass
class Outcome:
    """What one run of pytest came to."""

    database: str
    exit_code: int
    counts: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)


def run_pytest(
    database: str, marks: str, arguments: list[str], *, processes: str = PROCESSES, **environment: str
) -> Outcome:
    """Run pytest once; its output goes straight to the terminal."""
    print(f"\n##### The suite on {database}: pytest -m '{marks}' {' '.join(arguments)}", flush=True)
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "PYTEST_ADDOPTS")}
    with tempfile.TemporaryDirectory(prefix="librarian-rig-") as folder:
        summary = Path(folder) / "summary.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-n", processes, "--dist", "loadgroup", *SLOWEST, "-m", marks, *arguments],
            env={**inherited, "RIG_SUMMARY": str(summary), **environment},
        )
        code = _wait(process)
        written = json.loads(summary.read_text()) if summary.exists() else {"counts": {}, "bad": []}
    return Outcome(database, code, written["counts"], written["bad"])


def look_again(outcome: Outcome, marks: str, **environment: str) -> None:
    """Run the few tests that failed once more, alone; what passes then is unsteady instead of bad."""
    if not 0 < len(outcome.bad) <= MOST_UNSTEADY or outcome.counts.get("error"):
        return
    print(f"\n##### A second look at what failed on {outcome.database}", flush=True)
    names = list(dict.fromkeys(GROUP.sub("", name) for name in outcome.bad))
    again = run_pytest(outcome.database, marks, names, processes="0", **environment)
    if again.exit_code == 0 and again.counts.get("passed") == len(names):
        outcome.unsteady, outcome.bad, outcome.exit_code = outcome.bad, [], 0
        outcome.counts["passed"] = outcome.counts.get("passed", 0) + outcome.counts.pop("failed", 0)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for pytest; on Ctrl-C or SIGTERM let it clean up before we go."""
    try:
        return process.wait()
    except (KeyboardInterrupt, SystemExit):
        # Ctrl-C reached pytest as well, which is stopping its servers.
        for number in (signal.SIGINT, signal.SIGKILL):
            try:
                process.wait(20)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(number)
        raise


def closing_line(outcomes: list[Outcome], seconds: float) -> str:
    """Both runs in the form of pytest's closing line."""
    totals = {kind: sum(outcome.counts.get(kind, 0) for outcome in outcomes) for kind in KINDS}
    words = {"error": "error" if totals["error"] == 1 else "errors"}
    if totals["warnings"] == 1:
        words["warnings"] = "warning"
    parts = [f"{totals[kind]} {words.get(kind, kind)}" for kind in KINDS if totals[kind]] or ["no tests ran"]
    minutes, rest = divmod(int(seconds), 60)
    clock = f" ({minutes // 60}:{minutes % 60:02}:{rest:02})" if seconds >= 60 else ""
    return f" {', '.join(parts)} in {seconds:.2f}s{clock} ".center(100, "=")


def report(outcomes: list[Outcome], seconds: float, *, narrowed: bool) -> int:
    """Print failures of both runs and the closing line; return the exit code.

    A run that collected nothing is no failure where the caller narrowed it (`-k` may fit one database's tests only),
    as long as the other run did collect something.
    """
    print("\n##### Both runs together")
    for outcome in outcomes:
        note = "" if outcome.counts or outcome.exit_code in (0, NOTHING_COLLECTED) else " before it could count"
        print(f"{outcome.database}: exit code {outcome.exit_code}{note}")
        for name in outcome.bad:
            print(f"  FAILED {name}")
        for name in outcome.unsteady:
            print(f"  UNSTEADY {name}: it failed among the others and passed alone; mend it")
    print(closing_line(outcomes, seconds), flush=True)
    codes = {outcome.exit_code for outcome in outcomes}
    if narrowed and 0 in codes:
        codes.discard(NOTHING_COLLECTED)
    return max(codes)


def _run(database: str, marks: str, arguments: list[str], **environment: str) -> Outcome:
    outcome = run_pytest(database, marks, arguments, **environment)
    if not arguments:
        look_again(outcome, marks, **environment)
    return outcome


def main(arguments: list[str]) -> int:
    """Run the suite; `--soak` as the first argument chooses the long tests instead."""
    soak = arguments[:1] == ["--soak"]
    marks, arguments = ("soak", arguments[1:]) if soak else ("not soak", arguments)
    exit_on_sigterm()
    started = time.monotonic()
    try:
        try:
            print(f"Chromium: {chromium.find_or_install()}", flush=True)
        except RigError as error:
            if os.environ.get("ALLOW_PARTIAL") != "1":
                raise
            print(f"{error}\nALLOW_PARTIAL=1: going on without the tests of pages", flush=True)
        try:
            print(f"sshd: {sshd.find_or_install()['sshd']}", flush=True)
        except RigError as error:
            if os.environ.get("ALLOW_PARTIAL") != "1":
                raise
            print(f"{error}\nALLOW_PARTIAL=1: going on without the tests of rsync", flush=True)
        # The long tests also start every process as a site does: by a new interpreter.
        forks = {"TEST_FORKS": "no"} if soak else {}
        outcomes = [_run("SQLite", marks, arguments, **forks)]
        if outcomes[0].exit_code != INTERRUPTED:
            with postgres.running() as server:
                print(f"\n{postgres.describe(server)}", flush=True)
                # What starts several sites or a browser costs most of the time, and asks the database least.
                chosen = "(soak or one_database)" if soak else "not soak and not one_database"
                chosen += " and not database_independent"
                outcomes.append(_run("PostgreSQL", chosen, arguments, DATABASE_URL=server.url, **forks))
    except RigError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return report(outcomes, time.monotonic() - started, narrowed=bool(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
