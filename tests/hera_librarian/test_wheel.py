"""The wheel of the client, built, installed into an empty environment and used there, without Django."""

import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from tests.rig.servers import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    answer = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=400, check=False, **options
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: a build leaves folders behind in the tree it builds from."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    shutil.copytree(ROOT / "hera_librarian", source / "hera_librarian", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "librarian").mkdir()  # the packages of the site must not come along
    (source / "librarian" / "__init__.py").write_text("")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, source)
    (built,) = target.glob("hera_librarian-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of programs of an environment that has the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    return folder / "bin"


def test_the_wheel_holds_the_client_alone(wheel):
    names = run(sys.executable, "-m", "zipfile", "--list", wheel).splitlines()[1:]
    tops = {name.split()[0].split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hera_librarian"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hera_librarian").rglob("*.py")}
    assert modules <= {name.split()[0] for name in names}


def test_command_and_client_work_without_django(installed, shared_site, tmp_path):
    environment = {
        "HOME": str(tmp_path),
        "PATH": str(installed),
        "MINE": f"{ADMIN}:{ADMIN_PASSWORD}",
        "LIBRARIAN_CLIENT_CONNECTIONS": f'{{"karoo": {{"url": "{shared_site.url}", "authenticator_env": "MINE"}}}}',
    }
    here = {"cwd": tmp_path, "env": environment}
    assert "upload" in run(installed / "librarian", "--help", **here)
    version = run(installed / "python", "-c", "import hera_librarian; print(hera_librarian.__version__)", **here)
    assert version.strip() in run(installed / "librarian", "--version", **here)
    code = (
        "import importlib.util as u; from hera_librarian import LibrarianClient, AdminClient;"
        "assert not [name for name in ('django', 'rest_framework', 'astropy', 'h5py') if u.find_spec(name)];"
        "print(AdminClient('karoo').ping(require_login=True).name)"
    )
    assert run(installed / "python", "-c", code, **here).strip() == "karoo"
    (tmp_path / "product.txt").write_bytes(b"from the wheel\n")
    run(installed / "librarian", "upload", "karoo", "product.txt", "wheel/product.txt", **here)
    assert "product.txt" in run(installed / "librarian", "search-files", "karoo", "--name", "product.txt", **here)


def test_client_and_site_ask_for_the_same_versions():
    """One environment may hold both; the notebook's extra too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    site = set((ROOT / "requirements.txt").read_text().splitlines())
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["notebook"]):
        name = wanted.split(">")[0]
        pinned = {line for line in site if line.split(">")[0] == name}
        assert pinned <= {wanted}, f"{wanted} here, {pinned} in requirements.txt"
