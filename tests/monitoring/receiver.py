"""An HTTP server that takes what alerts are sent to it, as a chat's webhook would."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What came in; ``answer`` is the status that it gives."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.answer = 200
        self.came = threading.Condition()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.came:
                    if owner.answer == 200:
                        owner.messages.append(body)
                    status = owner.answer
                    owner.came.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://127.0.0.1:{self.server.server_port}/hook-t0ken-s3cret"

    def wait_for(self, text: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The first message that holds ``text``."""

        def found() -> dict[str, Any] | None:
            whole = ((item, f"{item['title']} {item['message']}") for item in self.messages)
            return next((item for item, words in whole if text in words), None)

        with self.came:
            assert self.came.wait_for(lambda: found() is not None, timeout_s), (text, self.messages)
            message = found()
        assert message is not None
        return message


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join(10)
