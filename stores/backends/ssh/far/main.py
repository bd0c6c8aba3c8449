"""The far end's loop: one call after the other until the line is gone."""

import json
import logging
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from stores.backends.ssh import frames
from stores.backends.ssh.far.hashing import supply_xxhash
from stores.backends.ssh.far.talk import CalledOff, Talk


def main(description: dict[str, Any]) -> None:
    """Serve calls about any store of this host; `description` holds `alive_seconds` and `idle_seconds`."""
    os.umask(0o022)
    talk = Talk(alive_seconds=description["alive_seconds"], idle_seconds=description["idle_seconds"])
    logging.getLogger().addHandler(_Forwarded(talk))
    has_xxhash = supply_xxhash(talk)
    from stores.backends.ssh.far.acts import Acts  # needs xxhash, or what stands in for it

    talk.tell_facts(frames.ANSWER, {"python": sys.version.split()[0], "has_xxhash": has_xxhash})
    stores: dict[str, Acts] = {}
    while True:
        call = talk.next_call()
        _serve_one(talk, call, lambda store: _of(stores, store, lambda: Acts(SimpleNamespace(**store), talk)))


def _of(stores: dict[str, Any], store: dict[str, Any], make: Callable[[], Any]) -> Any:
    key = json.dumps(store, sort_keys=True)
    if key not in stores:
        stores[key] = make()
    return stores[key]


def _serve_one(talk: Talk, call: dict[str, Any], acts_of: Callable[[dict[str, Any]], Any]) -> None:
    from librarian.common.errors import ArchiveError

    talk.is_busy = True
    try:
        answer = acts_of(call["store"]).do(call["act"], call["arguments"]) if call["act"] != frames.PING else None
        talk.tell_facts(frames.ANSWER, answer)
    except ArchiveError as error:
        told = {"code": error.code, "reason": error.reason, "remedy": error.suggested_remedy, "extra": error.extra}
        talk.tell_facts(frames.ERROR, told)
    except CalledOff:
        talk.tell_facts(frames.ERROR, {"code": frames.CALLED_OFF, "reason": ""})
    except ValueError as error:
        talk.tell_facts(frames.ERROR, {"code": frames.NO_PLACE, "reason": str(error)})
    except Exception as error:  # said over there, where people look; this process is still sound
        talk.tell_facts(frames.ERROR, {"code": "", "reason": f"{type(error).__name__}: {error}"})
    finally:
        talk.is_busy = False
    talk.skip_to_over()


class _Forwarded(logging.Handler):
    """Lines of the log are written by the near end."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(logging.WARNING)
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        self._talk.tell_facts(frames.LOG, {"level": record.levelno, "text": record.getMessage()})
