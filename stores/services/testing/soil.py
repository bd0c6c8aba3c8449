"""What the facts of a store's directories mean, for one on this machine and for one on a storage node alike."""

from collections.abc import Iterator, Mapping
from typing import Any

from librarian.common.findings import Finding, doubts, fails, works
from stores.backends.places import CORNER
from stores.models import Store

FEW_INODES_SHARE, FEW_INODES = 0.01, 10_000
Facts = Mapping[str, Any]


def directories_of(store: Store) -> tuple[str, str]:
    """Root and staging of a store that lies in a directory."""
    root = store.configuration["root"]
    return root, store.configuration.get("staging") or f"{root}/{CORNER}/staging"


def tell(store: Store, facts: Facts) -> Iterator[Finding]:
    """Findings about mount, marker, directories and room."""
    root, staging = facts["root"], facts["staging"]
    if root["error"]:
        yield _no_directory(root, facts["mount"])
        return
    yield _mount(facts)
    yield _marker(store, facts)
    for what, directory in (("root", root), ("staging area", staging)):
        yield _directory(what, directory)
    if not staging["error"]:
        if root["device"] != staging["device"]:
            yield fails(
                "file system",
                f"{staging['path']} lies on another file system than {root['path']}",
                "Configure a staging area on the file system of the root: files are linked into place, never copied.",
            )
        if store.group_writable_staging and staging["closed_to_group"]:
            yield _closed(staging)
    yield _inodes(root)


def _no_directory(root: Facts, mount: Facts) -> Finding:
    reason = f"{root['path']}: {root['error'].lower()}"
    if root["error"] == "Permission denied":
        return fails("directory", reason, "Give the user that works there the right to enter it.")
    below = f"; its place lies on what is mounted at {mount['point']}" if mount["point"] else ""
    return fails("directory", reason + below, "Mount the disk, or correct the configured directory.")


def _mount(facts: Facts) -> Finding:
    mount = facts["mount"]
    said = " ".join(filter(None, (mount["source"], f"({mount['type']})" if mount["type"] else "")))
    where = f"{said or 'it'} is mounted at {mount['point']}"
    if facts["root"]["read_only"]:
        remedy = f"mount -o remount,rw {mount['point']}; when it goes read-only by itself, dmesg tells of the disk."
        return fails("mount", f"{where} read-only", remedy)
    if facts["marker"]["error"] == "missing" and facts["root"]["empty"]:
        own = mount["point"] == facts["root"]["path"]
        reason = f"{facts['root']['path']} is empty" + (
            "" if own else f", and nothing of its own is mounted there: {where}"
        )
        return fails("mount", reason, "Mount the disk that belongs there (see /etc/fstab).")
    return works("mount", where)


def _marker(store: Store, facts: Facts) -> Finding:
    marker = facts["marker"]
    root = facts["root"]["path"]
    if marker["error"] == "missing":
        remedy = f"Mount the disk of store {store.name}; if this is it, run 'Write the marker' in the staff admin."
        return fails("marker", f"{root} carries no marker of a store", remedy)
    if marker["error"]:
        return fails(
            "marker", f"that of {root} is {marker['error']}", "Mend the disk, or restore .librarian/store.json."
        )
    if marker["marker"] != str(store.marker):
        reason = f"foreign: {root} carries that of store {marker['name']} ({marker['marker']})"
        remedy = f"Mount the disk of store {store.name} there, or configure another directory."
        return fails("marker", reason, remedy)
    return works("marker", "ours")


def _directory(what: str, directory: Facts) -> Finding:
    path = directory["path"]
    if directory["error"]:
        return fails(what, f"{path}: {directory['error'].lower()}", f"Make {path}, or mend its permissions.")
    mode = f"{directory['mode']:04o}"
    if not directory["writable"]:
        reason = f"the user that works there may not write to {path} (mode {mode})"
        return fails(what, reason, f"Give it the right: chown or chmod u+rwx {path}.")
    if directory["mode"] & 0o002 and not directory["mode"] & 0o1000:
        return doubts(what, f"everybody may write to {path} (mode {mode})", f"chmod o-w {path}")
    return works(what, f"{path} (mode {mode}) may be written")


def _closed(staging: Facts) -> Finding:
    path = staging["closed_to_group"]
    return doubts(
        "group",
        f"staging is to be written by the group, and {path} lets neither group nor others through",
        f"chmod g+x {path}, or switch 'group writable staging' off if nobody delivers over a shared disk.",
    )


def _inodes(root: Facts) -> Finding:
    total, free = root["inodes"], root["free_inodes"]
    if not total:
        return works("inodes", "this file system does not count them")
    if not free:
        return fails("inodes", "none is free: no file can be made", "Remove small files elsewhere on this disk.")
    if free < min(FEW_INODES, total * FEW_INODES_SHARE):
        return doubts("inodes", f"only {free} of {total} are free", "Remove small files elsewhere on this disk.")
    return works("inodes", f"{free} are free")
