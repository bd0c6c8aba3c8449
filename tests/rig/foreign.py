"""A foreign Librarian (tests.foreign_librarian) in a process of its own, to be told what to do and to be killed."""

import base64
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.databases import ROOT
from tests.rig.processes import RigError, die_with_parent, free_port, signal_group, stop_group, wait_for


class ForeignSite:
    """One foreign Librarian: `.name`, `.port`, its rows and store below `folder`, which a restart keeps."""

    def __init__(self, name: str, folder: Path, *, store_id: int = 1) -> None:
        self.name = name
        self.folder = folder
        self.store_id = store_id
        self.store_path, self.staging_path = folder / "store", folder / "staging"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.foreign_librarian", "--root", str(self.folder)]
        command += ["--port", str(self.port), "--name", self.name, "--store-id", str(self.store_id)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        wait_for(self._answers, timeout_seconds=30, what=self.url)

    def kill(self) -> None:
        """Kill -9."""
        if self.process is not None:
            signal_group(self.process, signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> None:
        """Stop it. Harmless when it does not run."""
        if self.process is not None:
            stop_group(self.process)
            self.process = None

    def run(self, task: str, **options: Any) -> Any:
        """Run one of its tasks now and return what it says. RigError when the task dies."""
        return self.control("run", task=task, **options)

    def push(self, destination: str) -> None:
        """All that it does to bring its files to a peer, up to telling it that they are there."""
        self.run("send_clone", destination=destination)
        while self.run("consume_queue")["items"]:
            pass
        self.run("check_consumed_queue")

    def put_file(self, name: str, content: bytes | Mapping[str, bytes], **more: Any) -> None:
        """Give it a file: flat for bytes, a directory for a mapping of relative path to bytes."""
        members = {"": content} if isinstance(content, bytes) else content
        coded = {path: base64.b64encode(part).decode() for path, part in members.items()}
        self.control("put_file", name=name, members=coded, **more)

    def turn(self, **knobs: Any) -> None:
        """Set knobs (tests.foreign_librarian.KNOBS)."""
        self.control("turn", **knobs)

    def misbehave(self, endpoint: str, what: str, *, times: int = 1, seconds: float = 0) -> None:
        """Let the next `times` calls of an endpoint end as `what` says."""
        self.turn(faults=[{"endpoint": endpoint, "what": what, "times": times, "seconds": seconds}])

    @property
    def state(self) -> dict[str, list[dict[str, Any]]]:
        """All its rows, by table."""
        return self.control("state")

    def calls(self, endpoint: str) -> list[dict[str, Any]]:
        """What an endpoint was asked so far: user, body (parsed), status."""
        found = [each for each in self.state["calls"] if each["endpoint"] == endpoint]
        return [{**each, "body": json.loads(each["body"] or "null")} for each in found]

    def control(self, what: str, **body: Any) -> Any:
        """Ask its control page; not part of the protocol."""
        request = urllib.request.Request(f"{self.url}/control/{what}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["answer"]
        except urllib.error.HTTPError as problem:
            raise RigError(f"{self.name}: {what} {body.get('task', '')}: {problem.read().decode()}") from problem

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RigError(f"{self.name} stopped while starting:\n{(self.folder / 'log').read_text()}")
        try:
            self.control("turn")
        except OSError:
            return False
        return True


def know_each_other(one: ForeignSite, other: ForeignSite, *, level: int = 3) -> None:
    """Accounts and addresses in both directions between two foreign sites."""
    for site, peer in ((one, other), (other, one)):
        site.control("make_user", name=peer.name, password=f"{peer.name} secret", level=level)
        address = {"url": "http://127.0.0.1", "port": peer.port}
        peer_account = f"{site.name}:{site.name} secret"
        site.control("make_peer", name=peer.name, authenticator=peer_account, **address)
