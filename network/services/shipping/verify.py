#!/usr/bin/env python3
"""Check a disk that travelled, without any server or network, with nothing but Python 3.8 or newer.

    python3 verify.py [--seal SEAL] [--quick] [DIRECTORY]

DIRECTORY is the root of the disk, by default the one that this program lies in. Beside it lie

    librarian-manifest.json   the files that the disk carries, each with its size and its digest
    SHA256SUMS                the SHA-256 of every single file, as the program `sha256sum` writes it

Every byte is read once and compared with the manifest. Give the seal that the sender told you (not the one on the disk)
to be sure that the manifest itself is the sender's: the seal is its SHA-256.

What it ends with:
    0   everything is there and unharmed
    1   something is missing or changed, or the seal is another one
    2   it could not be checked: no manifest, or one that cannot be understood
    3   everything is there and unharmed, and there are files besides that nobody listed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import stat
import sys
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

GOOD, BAD, UNCHECKED, EXTRA = 0, 1, 2, 3
MANIFEST, SUMS = "librarian-manifest.json", "SHA256SUMS"
OWN_PAPERS = (MANIFEST, SUMS, "index.html", "verify.py")
OWN_CORNER = ".librarian"
SYSTEM_FOLDERS = ("lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trash", ".Spotlight-V100", ".fseventsd")
BLOCK_BYTES = 1024 * 1024


class CannotCheck(Exception):
    """There is nothing to compare with."""


# --- What should be there ---------------------------------------------------------------------------------------------


def read_manifest(root: str, seal: str | None) -> tuple[list[dict[str, Any]], bool]:
    """The entries of the manifest, and whether it is the one with this seal (true if none was given)."""
    path = os.path.join(root, MANIFEST)
    try:
        found, _ = sha256_of(path)
        entries = read_lines(path)
        if entries is None:
            with open(path, "rb") as file:
                entries = [needed(each) for each in json.loads(file.read().decode("utf-8"))["store_files"]]
    except OSError as error:
        raise CannotCheck(f"{MANIFEST} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CannotCheck(f"{MANIFEST} is damaged: it is no manifest.") from error
    say(f"seal of the manifest: {found}")
    return entries, seal is None or found == seal.strip().lower()


def read_lines(path: str) -> list[dict[str, Any]] | None:
    """The entries of a manifest with one a line, as it is written; None for one that is laid out in another way.

    A manifest of a million files has a gigabyte: of each entry only what is compared is kept.
    """
    entries = []
    with open(path, "rb") as file:
        if not file.readline().endswith(b'"store_files":[\n'):
            return None
        for line in file:
            if line.startswith(b"]"):
                count = json.loads(b"{" + line[2:])["file_count"]
                return entries if count == len(entries) and not file.readline() else None
            if line.strip():
                entries.append(needed(json.loads(line.rstrip(b",\n"))))
    return None


def needed(entry: dict[str, Any]) -> dict[str, Any]:
    """What is compared of an entry."""
    return {key: entry[key] for key in ("name", "place", "kind", "size", "digest") if entry.get(key) is not None}


def read_sums(root: str) -> dict[str, str]:
    """SHA-256 by path, from SHA256SUMS; empty if there is no such file."""
    sums = {}
    try:
        with open(os.path.join(root, SUMS), "rb") as file:
            for raw in file:
                line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
                escaped = line.startswith("\\")
                digest, separator, path = line[1 if escaped else 0 :].partition("  ")
                if separator and len(digest) == 64:
                    sums[unescaped(path) if escaped else path] = digest
    except FileNotFoundError:
        say(f"There is no {SUMS}; only whole products are compared.")
    return sums


def unescaped(path: str) -> str:
    """A path as it is, from the form in which sha256sum writes one with a backslash or a line end."""
    out, characters = [], iter(path)
    for character in characters:
        if character == "\\":
            character = {"n": "\n", "r": "\r"}.get(next(characters, ""), "\\")
        out.append(character)
    return "".join(out)


def place_of(entry: dict[str, Any]) -> str:
    """Where a file lies on the disk, relative to its root. Raises CannotCheck for a place outside of it."""
    place = str(entry.get("place") or entry["name"])
    parts = place.split("/")
    if place.startswith("/") or ".." in parts or "" in parts or "." in parts:
        raise CannotCheck(f"{place!r} is not a place on the disk.")
    return place


# --- What is there ----------------------------------------------------------------------------------------------------


def sha256_of(path: str) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    hasher, size = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        while True:
            block = file.read(BLOCK_BYTES)
            if not block:
                return hasher.hexdigest(), size
            hasher.update(block)
            size += len(block)


def members_of(top: str) -> Iterator[tuple[str, bool]]:
    """Files of a directory product and its empty directories (True), by their paths inside of it.

    A link to a directory counts as a file, which it is not.
    """
    for folder, folders, names in os.walk(top, onerror=_raise):
        folders.sort()
        names += linked(folder, folders)
        inside = os.path.relpath(folder, top)
        if not folders and not names and inside != ".":
            yield inside.replace(os.sep, "/"), True
        for name in names:
            yield os.path.normpath(os.path.join(inside, name)).replace(os.sep, "/"), False


def linked(folder: str, folders: list[str]) -> list[str]:
    """Those of the directories in a directory that are links: nobody looks behind them."""
    return [name for name in folders if os.path.islink(os.path.join(folder, name))]


def size_of(path: str) -> int | None:
    """Bytes of a file; None for what is no regular file: reading a pipe or a device might never end."""
    seen = os.stat(path)
    return seen.st_size if stat.S_ISREG(seen.st_mode) else None


def _raise(error: OSError) -> None:
    raise error


class Check:
    """Compares a disk with its lists, and tells of each difference as it is found."""

    def __init__(self, root: str, sums: dict[str, str], quick: bool = False) -> None:
        self.root = root
        self.sums = sums
        self._sorted = sorted(sums)
        self.quick = quick
        self.good = self.missing = self.changed = self.extra = self.bytes_read = 0

    def entry(self, entry: dict[str, Any]) -> None:
        """Compare one file of the manifest."""
        place = place_of(entry)
        path = os.path.join(self.root, place)
        if os.path.islink(path) or not os.path.realpath(path).startswith(os.path.realpath(self.root) + os.sep):
            self._tell("changed", place, "it is, or lies behind, a link")
            return
        try:
            compare = self._directory if os.path.isdir(path) else self._flat
            problems = compare(place, path, entry)
        except FileNotFoundError:
            self._tell("missing", place)
            return
        except OSError as error:
            problems = [f"it cannot be read: {error.strerror}"]
        if problems:
            for problem in problems:
                say(f"        {problem}")
            self._tell("changed", place, "see above" if len(problems) > 1 else problems[0])
        else:
            self.good += 1

    def _flat(self, place: str, path: str, entry: dict[str, Any]) -> list[str]:
        if entry.get("kind") == "directory":
            return ["a file lies where a directory should be"]
        size = size_of(path)
        if size is None:
            return ["it is no file of bytes"]
        if size != entry["size"]:
            return [f"it has {size} bytes, not {entry['size']}"]
        if self.quick:
            return []
        digest, count = sha256_of(path)
        self.bytes_read += count
        expected = entry.get("digest") or self.sums.get(place)
        if expected is None:
            return ["no SHA-256 of it is known"]
        return [] if digest == expected else ["its bytes are others than those that were packed"]

    def _directory(self, place: str, path: str, entry: dict[str, Any]) -> list[str]:
        """A directory's digest is the SHA-256 over a record of each of its files and empty directories, sorted."""
        if entry.get("kind") == "flat":
            return ["a directory lies where a file should be"]
        records, problems, seen, size = [], [], set(), 0
        inside = os.path.realpath(path) + os.sep
        for member, is_empty_directory in members_of(path):
            if is_empty_directory:
                records.append((os.fsencode(member), b"d %s\0" % os.fsencode(member)))
                continue
            full = os.path.join(path, member)
            if not os.path.realpath(full).startswith(inside):
                problems.append(f"{shown(place)}/{shown(member)} leads out of the product")
                continue
            count = size_of(full)
            if count is None:
                problems.append(f"{shown(place)}/{shown(member)} is no file of bytes")
                continue
            size += count
            if self.quick:
                continue
            digest, count = sha256_of(full)
            self.bytes_read += count
            seen.add(f"{place}/{member}")
            if self.sums.get(f"{place}/{member}", digest) != digest:
                problems.append(f"{shown(place)}/{shown(member)} has other bytes")
            record = b"f %d %s %s\0" % (count, digest.encode(), os.fsencode(member))
            records.append((os.fsencode(member), record))
        if self.quick:
            return problems or ([] if size == entry["size"] else [f"it has {size} bytes, not {entry['size']}"])
        listed = set(self._listed_in(place))
        problems += [f"{shown(name)} is missing" for name in sorted(listed - seen)]
        if self.sums:
            problems += [f"{shown(name)} was added" for name in sorted(seen - listed)]
        if not entry.get("digest") and not listed:
            problems.append("no digest of it is known")
        tree = hashlib.sha256(b"".join(record for _, record in sorted(records))).hexdigest()
        if not problems and entry.get("digest") and tree != entry["digest"]:
            problems.append("its members are others than those that were packed")
        return problems

    def _listed_in(self, place: str) -> list[str]:
        """Paths of SHA256SUMS that lie in a directory product."""
        return self._sorted[bisect_left(self._sorted, place + "/") : bisect_left(self._sorted, place + "0")]

    def look_for_extra(self, places: list[str]) -> None:
        """Tell of files that nobody listed."""
        known = set(places)
        for folder, folders, names in os.walk(self.root):
            inside = os.path.relpath(folder, self.root).replace(os.sep, "/")
            prefix = "" if inside == "." else inside + "/"
            names += linked(folder, folders)
            if not prefix:
                names = [name for name in names if name not in OWN_PAPERS]
                folders[:] = [name for name in folders if name != OWN_CORNER and name not in SYSTEM_FOLDERS]
            folders[:] = [name for name in folders if prefix + name not in known]
            for name in names:
                if prefix + name not in known:
                    self._tell("extra", prefix + name)

    def _tell(self, what: str, place: str, why: str = "") -> None:
        setattr(self, what, getattr(self, what) + 1)
        say(f"{what:8}{shown(place)}{': ' + why if why else ''}")

    def verdict(self) -> int:
        """What the program ends with."""
        say(
            f"{self.good} good, {self.missing} missing, {self.changed} changed, {self.extra} extra; "
            f"{self.bytes_read} bytes read"
        )
        if self.missing or self.changed:
            return BAD
        return EXTRA if self.extra else GOOD


def say(line: str) -> None:
    """Write a line."""
    sys.stdout.write(line + "\n")


def shown(path: str) -> str:
    """A path as it may stand on a terminal."""
    return path if path.isprintable() else ascii(path)[1:-1]


# --- The command ------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Check the disk; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check a disk that travelled.", epilog="0 good, 1 bad, 2 not checked.")
    parser.add_argument("directory", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--seal", help="SHA-256 of the manifest, as the sender told it")
    parser.add_argument("--quick", action="store_true", help="look at names and sizes only, read no bytes")
    wanted = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        entries, is_sealed = read_manifest(wanted.directory, wanted.seal)
        places = [place_of(entry) for entry in entries]
        check = Check(wanted.directory, read_sums(wanted.directory), wanted.quick)
        for entry in entries:
            check.entry(entry)
        check.look_for_extra(places)
    except (CannotCheck, KeyError, TypeError, AttributeError) as problem:
        sys.stderr.write(f"It cannot be checked: {problem}\n")
        return UNCHECKED
    verdict = check.verdict()
    if not is_sealed:
        sys.stderr.write("THE SEAL IS ANOTHER ONE: this is not the manifest that you were told of.\n")
        return BAD
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
