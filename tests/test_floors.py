"""Imports run one way (style section 3): the contract in pyproject.toml holds, and nothing stands outside it."""

import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

pytestmark = pytest.mark.database_independent

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"tests", "benchmarks", "docs", "deploy", "static", "templates", "var"}  # no part of the running site


def contract() -> tuple[set[str], set[str]]:
    """Root packages, and the modules named by the layers."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = next(entry for entry in options["contracts"] if entry["id"] == "floors")
    named = {name.strip(" ()") for layer in floors["layers"] for name in layer.split(":")}
    return set(options["root_packages"]), named


def test_no_floor_imports_a_floor_above_it(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


def test_every_package_stands_on_a_floor():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - OUTSIDE
    roots, named = contract()
    assert packages <= roots, "add the new package to root_packages and to a layer"
    assert packages - {"librarian"} <= named


def test_every_module_of_the_project_package_is_named_in_the_top_layer():
    folder = ROOT / "librarian"
    modules = {f"librarian.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
    modules |= {f"librarian.{path.parent.name}" for path in folder.glob("*/__init__.py")}
    _, named = contract()
    assert modules <= named, "name the new module in the top layer of the contract"
