"""docs/errors.md lists every code that a caller or an operator can meet, with its status, and no other."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from files.services.findings import CODES
from librarian.common.errors import ArchiveError

pytestmark = pytest.mark.database_independent

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["librarian", "network", "files", "stores", "accounts"]
NAME = re.compile(r"[a-z]+(_[a-z]+)+|[a-z]{4,}")


def listed() -> dict[str, str]:
    """Code -> the rest of its line in the page."""
    page = (ROOT / "docs" / "errors.md").read_text()
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))


def error_classes() -> set[type[ArchiveError]]:
    """Every class of the family, in whatever module of ours."""
    for floor in FLOORS:
        package = importlib.import_module(floor)
        for module in pkgutil.walk_packages(package.__path__, f"{floor}."):
            if ".migrations" not in module.name and module.name != "librarian.wsgi":  # which starts a site
                importlib.import_module(module.name)
    found, waiting = set(), [ArchiveError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    return {kind for kind in found if kind.__module__.partition(".")[0] in FLOORS}


def codes_in_calls() -> Iterator[str]:
    """Texts given as `code=` to raised errors and to reports."""
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield from _texts(keyword.value for keyword in node.keywords if keyword.arg == "code")


def _texts(values: Iterator[ast.expr]) -> Iterator[str]:
    for value in values:
        for node in ast.walk(value):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                yield node.value


def test_every_error_is_listed_with_its_status():
    page = listed()
    for kind in error_classes():
        assert kind.code in page, f"add to docs/errors.md: | `{kind.code}` | {int(kind.status)} | … | {kind.remedy} |"
        assert page[kind.code].startswith(f"{int(kind.status)} | "), kind


def test_every_code_of_a_call_is_listed():
    page = listed()
    missing = {code for code in {*codes_in_calls(), *CODES.values()} if code not in page} - {"code", "invalid"}
    assert not missing, f"add to docs/errors.md: {', '.join(sorted(missing))}"


def test_nothing_is_listed_that_no_longer_exists():
    known = {kind.code for kind in error_classes()} | set(codes_in_calls()) | set(CODES.values())
    assert set(listed()) <= known, set(listed()) - known
