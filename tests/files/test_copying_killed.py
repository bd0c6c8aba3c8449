"""Copying in processes of their own: killed at every durable step, and several at once."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from librarian.common.steps import COPY_STEPS, STEPS
from tests.rig.jobs import Jobs, Killed
from tests.rig.servers import Site

pytestmark = pytest.mark.xdist_group("copying-killed")

# "staged" is of what arrives otherwise: copies announce that their bytes are written.
KILLED_AT = (*COPY_STEPS, *(step for step in STEPS if step != "staged"))
OFTEN = ("copies_claimed", "intent", "copies_written", "placed", "recorded")
COPY = "from files.services.copying import copy_files; copy_files()"
SET_UP = """
from tests.make import make_store
for name in ("source", "disk", "next"):
    make_store(Path({folder!r}), name=name)
"""
WANT = """
from files.services.copying import want_copies
from tests.make import make_file
content = {{"header": b"head", "sub/visdata": b"data" * 5000, "empty": None}}
source, disk, following = (Store.objects.get(name=name) for name in ("source", "disk", "next"))
files = [
    make_file({name!r} + ".uvh5", content=b"a night" * 1000, store=source),
    make_file({name!r} + ".uv", content=content, store=source),
    *(make_file({name!r} + f".{{number}}.uvh5", content=b"%d" % number, store=source) for number in range({more})),
]
want_copies(file_ids=[file.pk for file in files], targets=[disk.pk, following.pk], group="person:ada")
"""
MADE = """[list(StoreCopy.objects.filter(file__name__startswith={name!r}).values_list("state", "store__name", "claim")),
 Instance.objects.filter(file__name__startswith={name!r}, presence="present", condition="good").count(),
 [path.name for path in Path(Store.objects.get(name="disk").configuration["root"]).rglob({name!r} + ".uv*")],
 Upload.objects.live().count()]"""
AUDIT = "__import__('tests.fault_audit').fault_audit.sweep_and_audit()['left']"
NOTHING_LEFT = {"live uploads": 0, "staging": 0, "broken histories": [], "broken invariants": []}


@pytest.fixture(scope="module")
def site(tmp_path_factory: Any) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("copying")
    site = Site("copying", folder / "site")
    site.prepare(store=False)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def jobs(site: Site) -> Iterator[Jobs]:
    with Jobs(site, LIBRARIAN_KILL_AT=f"@{site.folder.parent / 'kill-at'}") as running:
        running.execute(SET_UP.format(folder=str(site.folder.parent)))
        yield running
        assert running.evaluate(AUDIT) == NOTHING_LEFT


def kill_at(jobs: Jobs, step: str, *, name: str) -> None:
    """Want a flat file and a directory, and let the copying die at a step."""
    jobs.execute(WANT.format(name=name, more=0))
    marker = jobs.site.folder.parent / "kill-at"
    marker.write_text(step)
    with pytest.raises(Killed):
        jobs.execute(COPY)
    assert not marker.exists()


def assert_copied_once(jobs: Jobs, name: str, *, files: int = 2) -> None:
    rows, instances, placed, live = jobs.evaluate(MADE.format(name=name))
    assert rows == [["done", "disk", ""]] * files
    assert (instances, live) == (2 * files, 0)
    assert sorted(placed) == [f"{name}.uv", f"{name}.uvh5"]


@pytest.mark.parametrize("step", OFTEN)
def test_a_killed_copying_is_gone_on_with(jobs: Jobs, step: str) -> None:
    kill_at(jobs, step, name=f"zen.2457561.{step}")
    jobs.execute(COPY)
    assert_copied_once(jobs, f"zen.2457561.{step}")


@pytest.mark.soak
@pytest.mark.parametrize("step", sorted(set(KILLED_AT) - set(OFTEN), key=KILLED_AT.index))
def test_a_copying_killed_at_any_other_step_is_gone_on_with(jobs: Jobs, step: str) -> None:
    kill_at(jobs, step, name=f"zen.2457562.{step}")
    jobs.execute(COPY)
    assert_copied_once(jobs, f"zen.2457562.{step}")


@pytest.mark.parametrize("step", ["copies_read_back", "placed"])
def test_the_sweeper_may_come_first(jobs: Jobs, step: str) -> None:
    name = f"zen.2457563.{step}"
    kill_at(jobs, step, name=name)
    jobs.execute("from files.services.sweeping import finish_commits; finish_commits()")
    jobs.execute(COPY)
    assert_copied_once(jobs, name)


def test_several_at_once_copy_each_file_once(site: Site, jobs: Jobs) -> None:
    name = "zen.2457564.several"
    jobs.execute(WANT.format(name=name, more=40))
    with Jobs(site) as others:
        others.evaluate("1")
        both = [threading.Thread(target=each.execute, args=(COPY,)) for each in (jobs, others)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    jobs.execute(COPY)
    assert_copied_once(jobs, name, files=42)
