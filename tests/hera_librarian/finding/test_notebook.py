"""The example notebook and the code of its page run against a real site, as a scientist would run them."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import requests

from tests.rig.servers import ADMIN, ADMIN_PASSWORD

DOCS = Path(__file__).resolve().parents[3] / "docs"
NOTEBOOK = DOCS / "notebooks" / "first_night.ipynb"


@pytest.fixture
def desk(site, tmp_path, monkeypatch):
    """A scientist's shell: a folder, and the two variables that the pages tell to set."""
    answer = requests.post(
        f"{site.url}/api/v3/tokens/",
        json={"name": tmp_path.name, "level": 1},
        auth=(ADMIN, ADMIN_PASSWORD),
        timeout=30,
    )
    answer.raise_for_status()
    monkeypatch.setenv("LIBRARIAN", site.url)
    monkeypatch.setenv("LIBRARIAN_TOKEN", answer.json()["token"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_cell(code: str, names: dict) -> object:
    """Run a cell as a notebook does: the value of its last expression is shown."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


def code_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def check_sums(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_the_notebook_is_one_and_has_no_outputs():
    book = json.loads(NOTEBOOK.read_text())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert set(book) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in ids)
    for cell in book["cells"]:
        common = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == (common | {"execution_count", "outputs"} if cell["cell_type"] == "code" else common)
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
        assert all(line.endswith("\n") for line in cell["source"][:-1])


def test_the_cells_of_the_notebook_run(desk):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    names: dict = {"__name__": "__main__"}
    shown = {cell["id"]: run_cell("".join(cell["source"]), names) for cell in cells}
    assert names["file"].name in shown["one-file"]
    assert names["file"].name in shown["search"]
    check_sums(desk / "first_night")
    assert "brightest channel" in shown["visibilities"]
    assert [result.ok for result in names["results"]] == [True] * 3
    assert not any("lib_" in str(value) for value in shown.values())


def test_the_code_of_the_page_runs(desk):
    names: dict = {}
    for code in code_of("notebook.md"):
        run_cell(code, names)
    assert names["total"].unit.to_string() == "Mbyte"
    assert names["rows"][0]["name"] == names["file"].name
    assert names["first_row"].size
    assert names["pixels"].size
    assert names["header"]
    assert names["result"].ok
    check_sums(desk / "first_night")


def test_the_code_of_the_page_for_scientists_runs(desk, capsys):
    for code in code_of("scientists.md"):
        run_cell(code, {})
    printed = capsys.readouterr().out
    assert "zen.2459122" in printed
    assert "downloaded zen.2459122" in printed
    check_sums(desk / "night")
