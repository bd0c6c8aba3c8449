"""The manual tells of the program as it is: what it names exists, and no name is missing."""

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.urls import URLPattern

from files.invariants import INVARIANTS
from librarian import api_urls
from librarian.common.jobtable import all_jobs
from stores.backends.local import digest_local

pytestmark = pytest.mark.database_independent

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OURS = {"accounts", "stores", "files", "common", "network"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def page(name: str) -> str:
    return (ROOT / name).read_text()


def quoted(text: str) -> set[str]:
    """What stands between single backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


# --- Links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", outside_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("source", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(source: Path) -> None:
    for link in LINK.findall(outside_code(source.read_text())):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (source.parent / path).resolve() if path else source
        assert target.exists(), f"{link} does not exist"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{link}: there is no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        source = waiting.pop()
        if source in seen or source.suffix != ".md" or not source.exists():
            continue
        seen.add(source)
        links = LINK.findall(outside_code(source.read_text()))
        waiting += [(source.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link]
    assert set(PAGES) <= seen


# --- Names ------------------------------------------------------------------------------------------------------------


def database_truths() -> set[str]:
    """Names of all constraints and triggers, on either database, and of the checks."""
    constraints = {
        constraint.name
        for model in apps.get_models()
        if model._meta.app_label in OURS
        for constraint in model._meta.constraints
    }
    scripts = [path for floor in ("files", "network", "librarian/common") for path in ROOT.glob(f"{floor}/sql/*.sql")]
    written = "".join(path.read_text() for path in [*scripts, *ROOT.glob("*/migrations/*.py")])
    triggers = set(re.findall(r"^CREATE TRIGGER (\w+)", written, re.MULTILINE))
    added = set(re.findall(r"ADD CONSTRAINT (\w+)", written))
    return constraints | triggers | added | {invariant.name for invariant in INVARIANTS}


def test_the_page_of_invariants_tells_of_every_truth() -> None:
    assert database_truths() - quoted(page("docs/invariants.md")) == set()


def test_the_page_of_invariants_tells_of_no_truth_that_is_gone() -> None:
    told = {
        name
        for line in page("docs/invariants.md").splitlines()
        for guard in re.findall(r"(?:constraints?|triggers?|check) ((?:`\w+`(?:, )?)+)", line)
        for name in re.findall(r"\w+", guard)
    }
    assert told, "the form of the page has changed; this test must follow"
    assert told - database_truths() == set()


def test_the_page_of_the_api_tells_of_every_wire_endpoint_and_of_no_other() -> None:
    here = {
        str(each.pattern) for each in api_urls.wire if isinstance(each, URLPattern) and "^" not in str(each.pattern)
    }
    section = page("docs/api.md").partition("### Endpoints that exist")[2].partition("\n### ")[0]
    told = {name for line in section.splitlines() if line.startswith("| `") for name in quoted(line.split("|")[1])}
    assert told == here


def test_the_page_of_operators_tells_of_every_job_and_of_no_other() -> None:
    section = page("docs/operators.md").partition("## See that the jobs run")[2].partition("\n## ")[0]
    told = {name for line in section.splitlines() if line.startswith("| `") for name in quoted(line.split("|")[1])}
    assert told == {job.name for job in all_jobs()}


# --- Commands ---------------------------------------------------------------------------------------------------------


def commands_shown() -> Iterator[tuple[str, str]]:
    """Page and rest of the line of each `manage.py …` in code."""
    for source in PAGES:
        text = source.read_text()
        for line in re.findall(r"manage\.py ([a-z_]+[^`\n]*)", text.replace("\\\n", " ")):
            yield source.name, line


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a sentence with an apostrophe
        return line.split()


def _options(parser: ArgumentParser, words: list[str]) -> set[str]:
    """Options of a command; where it has commands of its own, of the one among the words, which must be there."""
    options = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            inner = next((word for word in words if not word.startswith("-")), None)
            if inner is not None:
                options |= _options(action.choices[inner], words[words.index(inner) + 1 :])
    return options


def test_every_command_and_option_that_is_shown_exists() -> None:
    known = get_commands()
    for where, line in commands_shown():
        name, *words = _words(line)
        assert name in known, f"{where}: there is no command {name}"
        options = _options(load_command_class(known[name], name).create_parser("manage.py", name), words)
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0].rstrip(".,;)") in options, f"{where}: {name} has no option {word}"


def test_every_target_of_make_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    for source in PAGES:
        shown = set(re.findall(r"^make ([a-z]+)", source.read_text(), re.MULTILINE))
        shown |= set(re.findall(r"`make ([a-z]+)", source.read_text()))
        assert shown <= targets, source.name


def test_every_setting_that_is_mentioned_is_one() -> None:
    read = set(re.findall(r'"(LIBRARIAN_[A-Z_]+)"', page("librarian/settings.py")))
    read |= {"LIBRARIAN_ENV_FILE", "LIBRARIAN_TOKEN"}  # read elsewhere; of the examples
    read |= {"LIBRARIAN_CLIENT_CONNECTIONS", "LIBRARIAN_NEW_PASSWORD", "LIBRARIAN_PEER_AUTHENTICATOR"}  # of the client
    for source in PAGES:
        assert set(re.findall(r"LIBRARIAN_[A-Z_]+[A-Z]", source.read_text())) <= read, source.name


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_the_worked_example_of_the_tree_digest_is_right(tmp_path: Path) -> None:
    product = tmp_path / "demo.uv"
    (product / "data").mkdir(parents=True)
    (product / "flags").mkdir()
    (product / "data" / "visdata").write_bytes(b"0123456789")
    (product / "header").write_bytes(b"nchan 4\n")
    content = digest_local(str(product), ["xxh3", "md5"])
    told = quoted(page("docs/glossary.md"))
    assert content.digest in told
    assert {f"{algorithm}:::{digest}" for algorithm, digest in content.checksums.items()} <= told
    assert {member.sha256 for member in content.members if member.sha256} <= told


def test_help_texts_name_only_pages_that_exist() -> None:
    """Code, commands and settings point people to pages of the manual."""
    sources = [*ROOT.glob("*/**/*.py"), *ROOT.glob("deploy/*"), ROOT / "Makefile"]
    for source in sources:
        if ".venv" in source.parts or source.is_dir() or source == Path(__file__).resolve():
            continue
        for name in re.findall(r"\bdocs/[a-z0-9_/-]+\.md", source.read_text(errors="ignore")):
            assert (ROOT / name).exists(), f"{source.relative_to(ROOT)} names {name}"
