"""The Globus of the tests: an HTTP server that speaks Globus Auth and the Transfer API as far as a sender uses them.

The service itself lives in a cloud that tests cannot reach, so this is the one part that is played. It answers in the
documented forms (docs.globus.org/api/transfer, /api/auth) to the SDK of Globus, and what moves bytes moves them
(tests/rig/globus_tasks.py).

    with GlobusServer() as globus:
        globus.mover.collections |= {OURS: root, THEIRS: Path("/")}
        globus.mover.writable.append(staging)
"""

import base64
import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.rig.globus_tasks import Mover, Task

CLIENT = "c11e0000-0000-4000-8000-000000000001"
SECRET = "s3cr3t-of-the-app"
REFRESH = "refresh-token-of-a-person"
CODE = "code-that-a-person-copies"
SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
Answer = tuple[int, Any]


@dataclass
class Refusal:
    """One answer that is ordered: the next call whose `METHOD path` it matches gets it, `times` times."""

    what: str
    status: int
    code: str = "ServiceUnavailable"
    message: str = "The service is resting"
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    done_first: bool = False  # what was asked for is done all the same
    cut: bool = False  # and no answer is given: the connection ends


class GlobusServer:
    """Globus on loopback, with `.url` for both of its services."""

    def __init__(self) -> None:
        self.mover = Mover()
        self.tasks: dict[str, Task] = {}
        self.by_submission: dict[str, Task | None] = {}
        self.tokens: set[str] = set()
        self.refusals: list[Refusal] = []
        self.calls: list[str] = []  # "METHOD path"
        self.scopes: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "GlobusServer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for task in self.tasks.values():
            task.cancelled.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def refuse(self, what: str, status: int, code: str = "ServiceUnavailable", **more: Any) -> None:
        """Order an answer: `refuse("GET /v0.10/task/", 503)`."""
        self.refusals.append(Refusal(what, status, code, **more))

    def expire_tokens(self) -> None:
        """The access tokens that it gave out are worth nothing from now on."""
        self.tokens.clear()

    def count(self, what: str) -> int:
        """How many calls there were whose `METHOD path` this is, or the beginning of."""
        return sum(call.startswith(what) for call in self.calls)

    @property
    def last(self) -> Task:
        """The task that was submitted last."""
        return list(self.tasks.values())[-1]

    # --- Answers ------------------------------------------------------------------------------------------------------

    def answer(self, call: str, query: dict[str, list[str]], body: Any, authorization: str) -> Answer | Refusal:
        with self._lock:
            self.calls.append(call)
            for refusal in self.refusals:
                if refusal.times and call.startswith(refusal.what):
                    refusal.times -= 1
                    if refusal.done_first:
                        self._answer(call, query, body, authorization)
                    return refusal
            return self._answer(call, query, body, authorization)

    def _answer(self, call: str, query: dict[str, list[str]], body: Any, authorization: str) -> Answer:
        if call == "POST /v2/oauth2/token":
            return self._token(body, authorization)
        if authorization.removeprefix("Bearer ") not in self.tokens:
            return _error(401, "AuthenticationFailed", "Token is not valid")
        if call == "GET /v0.10/submission_id":
            given = str(uuid.uuid4())
            self.by_submission[given] = None
            return 200, {"DATA_TYPE": "submission_id", "value": given}
        if call == "POST /v0.10/transfer":
            return self._submit(body)
        if call == "GET /v0.10/task_list":
            return 200, _list("task_list", [task.as_json() for task in self._listed(query)])
        found = re.fullmatch(r"(GET|POST) /v0.10/task/([^/]+)(?:/(\w+))?", call)
        task = self.tasks.get(found[2]) if found else None
        if task is None:
            return _error(404, "ClientError.NotFound", "No task of this id")
        return self._of_task(task, found[3])

    def _token(self, form: dict[str, list[str]], authorization: str) -> Answer:
        grant = form.get("grant_type", [""])[0]
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if grant == "client_credentials" and authorization != basic:
            return 401, {"error": "invalid_client"}
        if grant == "authorization_code" and form["code"] != [CODE]:
            return 400, {"error": "invalid_grant"}
        if grant == "refresh_token" and (form["refresh_token"], form["client_id"]) != ([REFRESH], [CLIENT]):
            return 400, {"error": "invalid_grant"}
        self.scopes.append(form.get("scope", [SCOPE])[0])
        token = f"access-{uuid.uuid4()}"
        self.tokens.add(token)
        told = {"access_token": token, "scope": SCOPE, "expires_in": 172800, "token_type": "Bearer"}
        if grant == "authorization_code":
            told["refresh_token"] = REFRESH
        return 200, {**told, "resource_server": "transfer.api.globus.org", "other_tokens": []}

    def _submit(self, document: dict[str, Any]) -> Answer:
        submission = document.get("submission_id")
        if submission not in self.by_submission:
            return _error(400, "ClientError.BadRequest", "Not a submission id of this service")
        if (known := self.by_submission[submission]) is not None:
            return 200, _result("Duplicate", known, submission)
        for side in ("source_endpoint", "destination_endpoint"):
            if document[side] not in self.mover.collections:
                return _error(404, "EndpointNotFound", f"No such endpoint '{document[side]}'")
        if not document["DATA"]:
            return _error(400, "ClientError.BadRequest.NoTransferItems", "A transfer requires at least one item")
        label = document.get("label") or ""
        if len(label) > 128 or label != label.strip() or "\n" in label:
            return _error(400, "ClientError.BadRequest", "The label is not legal")
        task = Task(document)
        self.tasks[task.id] = self.by_submission[submission] = task
        self.mover.start(task)
        return 202, _result("Accepted", task, submission)

    def _listed(self, query: dict[str, list[str]]) -> list[Task]:
        wanted = dict(part.split(":", 1) for part in query.get("filter", [""])[0].split("/") if part)
        states = wanted.get("status", "").split(",")
        return [task for task in self.tasks.values() if states == [""] or task.status in states]

    def _of_task(self, task: Task, what: str | None) -> Answer:
        if what == "cancel":
            task.cancelled.set()
            return 200, {"DATA_TYPE": "result", "code": "Canceled", "message": "The task has been cancelled."}
        if what == "event_list":
            return 200, _list("event_list", task.events)
        if what == "successful_transfers":
            if not task.over.is_set():
                return _error(409, "ClientError.Conflict", "The task is not complete")
            arrived = [{"DATA_TYPE": "successful_transfer", **each} for each in task.arrived]
            return 200, {"DATA_TYPE": "successful_transfers", "marker": 0, "next_marker": None, "DATA": arrived}
        return 200, task.as_json()


def _list(kind: str, rows: list[Any]) -> dict[str, Any]:
    return {"DATA_TYPE": kind, "length": len(rows), "limit": 1000, "offset": 0, "total": len(rows), "DATA": rows}


def _result(code: str, task: Task, submission: str) -> dict[str, Any]:
    return {"DATA_TYPE": "transfer_result", "code": code, "task_id": task.id, "submission_id": submission}


def _error(status: int, code: str, message: str, **more: Any) -> Answer:
    return status, {"code": code, "message": message, "request_id": "req1", "resource": "/", **more}


def _handler(globus: GlobusServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_form = "form" in (self.headers.get("Content-Type") or "")
            body = parse_qs(raw.decode()) if is_form else json.loads(raw or b"null")
            asked = urlsplit(self.path)
            call, query = f"{self.command} {asked.path}", parse_qs(asked.query)
            answer = globus.answer(call, query, body, self.headers.get("Authorization") or "")
            headers: dict[str, str] = {}
            if isinstance(answer, Refusal):
                if answer.cut:
                    self.close_connection = True
                    return
                headers = answer.headers
                answer = _error(answer.status, answer.code, answer.message, **answer.more)
            self._reply(*answer, headers)

        def _reply(self, status: int, document: Any, headers: dict[str, str]) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
