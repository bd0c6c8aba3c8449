"""Jobs for these tests. A cluster that knows them is `python -m tests.jobs.cluster`."""

import os
import subprocess
import sys
import time
from pathlib import Path

from librarian.common.children import running_child
from librarian.common.errors import StoreUnavailable
from librarian.common.jobtable import Job, forget_job, register_jobs

GIVE_UP_SECONDS = 60


def note(*, path, text=""):
    """Append a line, so that a test can count how often the work was done."""
    with Path(path).open("a") as stream:
        stream.write(f"{os.getpid()} {text}\n")
    return {"noted": 1}


def wait(*, folder=""):
    """Note the beginning, then wait until the test says go."""
    folder = folder or os.environ["TEST_JOBS_FOLDER"]
    note(path=Path(folder) / "began")
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not (Path(folder) / "go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody said go")
        time.sleep(0.02)
    return {"waited": 1}


def overrun(*, folder):
    """Swallow every Exception and wait for a program that has children of its own: never done by itself."""
    script = f"sleep 300 & echo $! > {folder}/grandchild.new && mv {folder}/grandchild.new {folder}/grandchild; wait"
    with running_child(["/bin/sh", "-c", script], stdout=subprocess.DEVNULL):
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue


def fail():
    raise ValueError("seven is not even")


def meet_a_store_that_is_away():
    raise StoreUnavailable("The store tape is not mounted.", remedy="Mount /tape.")


def leave():
    sys.exit("the cluster's own clock")


def succeed():
    return {"done": 1, "share": float("nan")}


JOBS = [
    Job("test_note", "tests.jobs.work.note", 3600, "default", 60, "A test."),
    Job("test_wait", "tests.jobs.work.wait", 3600, "default", 120, "A test."),
    Job("test_overrun", "tests.jobs.work.overrun", 3600, "default", 2, "A test."),
    Job("test_fail", "tests.jobs.work.fail", 3600, "default", 60, "A test."),
    Job("test_away", "tests.jobs.work.meet_a_store_that_is_away", 3600, "default", 60, "A test."),
    Job("test_leave", "tests.jobs.work.leave", 3600, "default", 60, "A test."),
    Job("test_succeed", "tests.jobs.work.succeed", 90, "bulk", 60, "A test."),
    Job("test_missing", "tests.jobs.work.nothing_there", 3600, "default", 60, "A test."),
]


def register():
    register_jobs(JOBS)


def forget():
    for job in JOBS:
        forget_job(job.name)
