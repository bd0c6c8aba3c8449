"""Links that are open and at rest, by host, for whoever in this process needs one next. None is shared at a time."""

import atexit
import os
import threading
import time
from collections.abc import Mapping
from itertools import chain
from typing import Any

from django.conf import settings

from stores.backends.ssh import frames
from stores.backends.ssh.links import Link, LinkBroken
from stores.backends.ssh.opening import open_link
from stores.backends.ssh.sharing import forget_sharing

MOST_AT_REST = 4  # to one host
REST_SECONDS = 600.0
_SURE_SECONDS = 10.0  # after so long a rest a link is asked whether it still works


class Pool:
    """The links of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_rest: dict[str, list[Link]] = {}

    def take(self, store: Mapping[str, Any], configuration: Mapping[str, Any]) -> Link:
        """A link that nobody uses, a new one if need be. Raises StoreUnavailable, for the store that asks."""
        key = _key(configuration)
        self._close_old()
        while (link := self._pop(key)) is not None:
            if _works(link):
                return link
            if not link.is_closed:
                link.close()
            elif link.was_silent:
                forget_sharing(configuration)
        return open_link(store, configuration)

    def give_back(self, configuration: Mapping[str, Any], link: Link) -> None:
        """Let it rest for the next user."""
        link.used_at, link.has_rested = time.monotonic(), True
        with self._lock:
            resting = self._at_rest.setdefault(_key(configuration), [])
            if not link.is_closed and len(resting) < MOST_AT_REST:
                resting.append(link)
                return
        link.close()

    def close(self) -> None:
        """End all links at rest."""
        with self._lock:
            resting, self._at_rest = self._at_rest, {}
        for link in chain.from_iterable(resting.values()):
            link.close()

    def let_go(self) -> None:
        """Forget all links in a fork: they are its parent's."""
        resting, self._at_rest, self._lock = self._at_rest, {}, threading.Lock()
        for link in chain.from_iterable(resting.values()):
            link.let_go()

    def _pop(self, key: str) -> Link | None:
        with self._lock:
            resting = self._at_rest.get(key)
            return resting.pop() if resting else None

    def _close_old(self) -> None:
        before, old = time.monotonic() - REST_SECONDS, []
        with self._lock:
            for key, resting in list(self._at_rest.items()):
                old += [link for link in resting if link.used_at < before]
                self._at_rest[key] = [link for link in resting if link.used_at >= before]
                if not self._at_rest[key]:
                    del self._at_rest[key]
        for link in old:
            link.close()


def _key(configuration: Mapping[str, Any]) -> str:
    config = configuration.get("ssh_config") or settings.LIBRARIAN_SSH_CONFIG
    return "\0".join((configuration["host"], config, configuration.get("python") or ""))


def _works(link: Link) -> bool:
    if not link.is_sound:
        return False
    if time.monotonic() - link.used_at < _SURE_SECONDS:
        return True
    try:
        link.send(frames.CALL, frames.packed({"act": frames.PING, "store": None, "arguments": {}}))
        kind, _ = link.receive(within_seconds=_SURE_SECONDS)
        link.send(frames.OVER)
        link.flush()
    except LinkBroken:
        return False
    return kind == frames.ANSWER


links = Pool()
atexit.register(links.close)
os.register_at_fork(after_in_child=links.let_go)
