"""A stand-in for the Hugging Face hub on this machine: it takes a commit as the real one does, and keeps what came."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hub:
    """role: what the token may do. created: requests to make repositories. files: what a commit brought, by path."""

    address: str = ""
    role: str = "write"
    created: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Status and JSON for a request, with the hub's own paths."""
        self.asked.append(f"{method} {path}")
        if path == "/api/whoami-v2":
            person = {"name": "alice", "type": "user", "orgs": [{"name": "studio"}]}
            return 200, {**person, "auth": {"type": "access_token", "accessToken": {"role": self.role}}}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return 200, {"url": f"{self.address}/alice/dog"}
        if path.endswith("/preupload/main"):
            return 200, {"files": [_mode(file) for file in json.loads(body)["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._target(o) for o in json.loads(body)["objects"]]}
        if path.startswith("/store/"):
            self.objects[path.removeprefix("/store/")] = body
            return 200, {}
        if path.endswith("/commit/main"):
            self._commit([json.loads(line) for line in body.splitlines()])
            return 200, {"commitUrl": f"{self.address}/alice/dog/commit/1", "commitOid": "1" * 40}
        return 404, {"error": f"no {path}"}

    def _target(self, wanted: dict) -> dict:
        return {**wanted, "actions": {"upload": {"href": f"{self.address}/store/{wanted['oid']}"}}}

    def _commit(self, lines: list[dict]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                self.files[value["path"]] = content


def _mode(file: dict) -> dict:
    large = file["path"].endswith((".safetensors", ".png"))
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}


@contextmanager
def serving(hub: Hub) -> Iterator[None]:
    """Inside, the hub listens on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, told = hub.answer(self.command, self.path.partition("?")[0], body)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do  # noqa: N815 - the names that the server looks for

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
