"""What is one product on this disk: a file, or a directory that is never walked into. As the server decides it."""

import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hera_librarian.uploading.problems import LocalProblem

DIRECTORY_PRODUCTS = ("*.uv", "*.uvA", "*.uvh")
MIRIAD_ITEMS = ("header", "vartable", "visdata")  # what makes a directory a MIRIAD dataset
MAX_COMPONENT_BYTES = 255


@dataclass(frozen=True, slots=True)
class Product:
    """A path to upload and the relative name it is handed over as. `problem` says why it cannot be uploaded."""

    path: str
    destination: str
    is_directory: bool = False
    problem: str = ""


def find_products(
    paths: Iterable[str | os.PathLike[str]],
    *,
    pattern: str = "*",
    directory_products: Sequence[str] = DIRECTORY_PRODUCTS,
    never_into: Collection[str] = (),
    hidden: bool = True,
) -> Iterator[Product]:
    """Products below `paths`, in the order of their names, one directory listing in memory at a time.

    Parameters
    ----------
    paths : iterable of path
        One that is itself a product is handed over by its own name; what lies in a walked directory by its path
        relative to it.
    pattern : str
        Shell pattern for the last component.
    directory_products : sequence of str
        Shell patterns of directories that are one product each, besides MIRIAD datasets.
    never_into : collection of str
        Absolute paths that are passed over.
    hidden : bool
        False passes over names that begin with a dot, as many programs call what they still write.
    """
    chosen = _Choice(pattern, tuple(directory_products), frozenset(never_into), hidden)
    for given in paths:
        path = os.path.abspath(given)
        if not os.path.lexists(path):
            yield Product(path, os.path.basename(path), problem="it does not exist")
        elif os.path.isdir(path) and not is_directory_product(path, directory_products):
            yield from _walk(path, "", chosen)
        else:
            yield judge(path)


def products_below(
    directory: str,
    *,
    pattern: str = "*",
    directory_products: Sequence[str] = DIRECTORY_PRODUCTS,
    never_into: Collection[str] = (),
) -> Iterator[Product]:
    """Products in a directory that is walked whatever it is called; names that begin with a dot are passed over."""
    chosen = _Choice(pattern, tuple(directory_products), frozenset(never_into), hidden=False)
    yield from _walk(directory, "", chosen)


def judge(path: str | os.PathLike[str], destination: str = "") -> Product:
    """The product that a path given by a person is; a link stands for what it points to, and keeps its own path."""
    named = os.path.abspath(path)
    product = _judge(os.path.realpath(named), destination or os.path.basename(named))
    problem = product.problem
    if problem and os.path.islink(named):
        problem = f"it is a link to {product.path}, which {problem.removeprefix('it ')}"
    return replace(product, path=named, problem=problem)


def is_directory_product(path: str, directory_products: Sequence[str] = DIRECTORY_PRODUCTS) -> bool:
    """True if a directory is one product: it matches a pattern, or holds the items of a MIRIAD dataset."""
    name = os.path.basename(path)
    if any(fnmatch.fnmatchcase(name, glob) for glob in directory_products):
        return True
    return all(os.path.isfile(os.path.join(path, item)) for item in MIRIAD_ITEMS)


def check_destination(text: str) -> str:
    """`text` as a tar and a header can carry it. Raises LocalProblem (`invalid_name`) for what no site files.

    The server judges in the end; here it keeps one bad name from spoiling the batch it would travel in.
    """
    path = text.removeprefix("./").rstrip("/")
    problem = ""
    if not path or path.startswith("/"):
        problem = "is empty or absolute"
    elif not path.isascii() and not _is_utf8(path):
        problem = "is not valid UTF-8"
    elif any(ord(letter) < 32 or 127 <= ord(letter) < 160 or letter in "\u2028\u2029" for letter in path):
        problem = "has control characters"
    elif any(part in ("", ".", "..") for part in path.split("/")):
        problem = "has the component '..', '.' or an empty one"
    elif any(len(part.encode()) > MAX_COMPONENT_BYTES for part in path.split("/")):
        problem = f"has a component of more than {MAX_COMPONENT_BYTES} bytes"
    if problem:
        raise LocalProblem("invalid_name", f"The name {text!a} {problem}.", "Give it another name.")
    return path


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of the disk that are no UTF-8 arrive as lone surrogates
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Choice:
    pattern: str
    directory_products: tuple[str, ...]
    never_into: frozenset[str]
    hidden: bool


def _walk(top: str, relative: str, chosen: _Choice) -> Iterator[Product]:
    here = os.path.join(top, relative)
    try:
        with os.scandir(here) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except FileNotFoundError:
        return  # moved away since it was listed
    except OSError as problem:
        yield Product(here, relative or os.path.basename(top), problem=f"it cannot be listed ({problem.strerror})")
        return
    for entry in entries:
        if entry.path in chosen.never_into or (not chosen.hidden and entry.name.startswith(".")):
            continue
        below = os.path.join(relative, entry.name)
        if _is_directory(entry) and not is_directory_product(entry.path, chosen.directory_products):
            yield from _walk(top, below, chosen)
        elif fnmatch.fnmatchcase(entry.name, chosen.pattern):
            yield _judge(os.path.join(top, below), below, entry)


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # gone since it was listed


def _judge(path: str, destination: str, entry: "os.DirEntry[str] | None" = None) -> Product:
    if os.path.islink(path) if entry is None else entry.is_symlink():
        return Product(path, destination, problem="it is a link; name what it points to")
    try:
        if os.path.isfile(path) if entry is None else entry.is_file(follow_symlinks=False):
            return Product(path, destination)
        if os.path.isdir(path) if entry is None else entry.is_dir(follow_symlinks=False):
            return Product(path, destination, is_directory=True)
    except OSError as problem:
        return Product(path, destination, problem=f"it cannot be looked at ({problem.strerror})")
    missing = not os.path.lexists(path)
    return Product(
        path, destination, problem="it does not exist" if missing else "it is neither a file nor a directory"
    )
