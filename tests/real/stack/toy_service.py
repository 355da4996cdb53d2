"""A small HTTP service to be killed, broken and restarted; runs on the host's own Python.

`GET /health` says 200 while it is well. The file given by `--cause` is the trouble: its text
`exit` makes the service end right after its start, `unhealthy` makes `/health` say 503.
"""

import argparse
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> int:
    """Serve until killed; 1 if the cause forbids to start."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cause", type=Path, required=True)
    arguments = parser.parse_args()

    def cause() -> str:
        return arguments.cause.read_text().strip() if arguments.cause.exists() else ""

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_well = self.path == "/health" and cause() != "unhealthy"
            body = b"ok\n" if is_well else b"not well\n"
            self.send_response(200 if is_well else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a probe a second would fill the journal."""

    server = ThreadingHTTPServer((arguments.address, arguments.port), Service)
    if cause() == "exit":
        sys.stderr.write("FATAL: cannot open the ledger: Input/output error\n")
        return 1
    sys.stderr.write("INFO: ready\n")
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
