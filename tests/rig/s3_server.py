"""An S3-speaking server on loopback: moto's, in a process of its own, so that real HTTP and the real SDK are used.

`python -m tests.rig.s3_server <port>` runs it in the foreground.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.rig.processes import RigError, die_with_parent, free_port, stop_group, tail, wait_for

KEY_ID = "AKIATESTSOFTHELIBRARY"
SECRET = "not/a-secret+of=anybody"


class S3Server:
    """One server; its buckets are in its memory.

    Attributes
    ----------
    port : int
    url : str
        For `endpoint_url`.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="librarian-s3-")
        self._log = Path(self._folder.name) / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty."""
        environment = {**os.environ, "MOTO_S3_CUSTOM_ENDPOINTS": "", "PYTHONUNBUFFERED": "1"}
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.rig.s3_server", str(self.port)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(9),
            )
        wait_for(self._answers, timeout_seconds=60, what="the S3 server")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RigError(f"the S3 server did not start:\n{tail(self._log)}")
        try:
            return requests.get(f"{self.url}/moto-api/", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """Stop it; its buckets are gone."""
        if self._process is not None:
            stop_group(self._process)
        self._process = None
        self._folder.cleanup()

    @contextmanager
    def checking_credentials(self) -> Iterator[None]:
        """Refuse keys that it does not know, which are all."""
        self._check_after("0")
        try:
            yield
        finally:
            self._check_after("inf")

    def _check_after(self, actions: str) -> None:
        requests.post(f"{self.url}/moto-api/reset-auth", data=actions, timeout=10).raise_for_status()


class _OneWriter:
    """Lets one request change things at a time: moto looks whether a key is taken and writes it in two steps, where the
    services that it stands for promise one."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._application(environ, start_response)
        with self._lock:
            return self._application(environ, start_response)


def _serve(port: int) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # else each request is a line of its own
        disable_nagle_algorithm = True  # else each answer waits for an acknowledgement

        def log_request(self, *arguments: object) -> None:
            pass

    application = _OneWriter(DomainDispatcherApplication(create_backend_app))
    make_server("127.0.0.1", port, application, threaded=True, request_handler=Quiet).serve_forever()


@contextmanager
def running() -> Iterator[S3Server]:
    """A server for as long as this lasts."""
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
