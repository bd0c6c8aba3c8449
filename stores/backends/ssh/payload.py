"""What is sent to a far host: the posix kind of store, all that it needs, and the few words that start it."""

import ast
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stores.backends.ssh import frames

OLDEST_PYTHON = (3, 11)
_TOP = Path(__file__).resolve().parents[3]
_FIRST = "stores.backends.ssh.far.main"
_OURS = ("stores", "librarian", "hera_librarian")
_STAND_INS = {  # for what a module names but nothing over there calls
    "django/core/serializers/json.py": "from json import JSONEncoder as DjangoJSONEncoder\n"
}

# Run over there by `exec`: reads the modules, makes them importable, and ends with `main` in its hands.
_LOADER = """
import importlib.abc, importlib.util, io, json, os, sys, zipfile
sys.path[:] = [entry for entry in sys.path if entry]

def receive(length):
    parts = []
    while length:
        part = os.read(0, min(length, 1 << 20))
        if not part:
            os._exit(1)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)

class Sent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, archive):
        self.sources = {name: archive.read(name) for name in archive.namelist()}

    def find_spec(self, name, path=None, target=None):
        below = name.replace(".", "/")
        for file in (below + "/__init__.py", below + ".py"):
            if file in self.sources:
                return importlib.util.spec_from_loader(name, self, origin=file, is_package=file.endswith("__init__.py"))
        return None

    def exec_module(self, module):
        origin = module.__spec__.origin
        exec(compile(self.sources[origin], origin, "exec"), module.__dict__)

size, described = map(int, receive(32).split())
sys.meta_path.insert(0, Sent(zipfile.ZipFile(io.BytesIO(receive(size)))))
description = json.loads(receive(described))
from stores.backends.ssh.far.main import main
main(description)
"""


def bootstrap() -> str:
    """Python for `python -c`, of one line, as any login shell can carry and any version of Python can read.

    It says which version it is; one that is new enough then runs the loader, byte by byte so that nothing is read of
    what follows it.
    """
    greeting = frames.GREETING.decode()
    return (
        f'import os,sys;os.write(1,("{greeting}%d %d\\n"%sys.version_info[:2]).encode());'
        f"sys.version_info<{OLDEST_PYTHON} and sys.exit(3);"
        f'exec(b"".join(os.read(0,1) for _ in range({len(_LOADER.encode())})))'
    )


def program(description: bytes) -> bytes:
    """What is written to the standard input of `bootstrap`."""
    modules = _zipped()
    return _LOADER.encode() + b"%15d %15d\n" % (len(modules), len(description)) + modules + description


@cache
def _zipped() -> bytes:
    sources = dict(_STAND_INS)
    for module in _needed(_FIRST):
        path = module.replace(".", "/") + ".py"
        sources[path] = (_TOP / path).read_text()
    for path in list(sources):
        for package in list(Path(path).parents)[:-1]:
            sources.setdefault(f"{package}/__init__.py", "")  # ours import much that nothing over there needs
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, text in sources.items():
                archive.writestr(path, text)
        return file.getvalue()


def _needed(first: str) -> set[str]:
    """Our modules that a module imports, and those that they import; without what is there for types only."""
    found, todo = set[str](), [first]
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += _imported(ast.parse((_TOP / (module.replace(".", "/") + ".py")).read_text()))
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.ImportFrom) and str(tree.module).split(".")[0] in _OURS:
        for name in (str(tree.module), *(f"{tree.module}.{alias.name}" for alias in tree.names)):
            if (_TOP / (name.replace(".", "/") + ".py")).exists():
                yield name
    for below in ast.iter_child_nodes(tree):
        yield from _imported(below)
