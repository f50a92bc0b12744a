"""ClickHouse's HTTP interface over the engine in this process, for one machine's tests.

What it takes: https://clickhouse.com/docs/interfaces/http - the query in the URL, the body or a form; `database`, user and
password; any other parameter is a setting of the query; an INSERT's data in the body, plain or compressed. What it does not:
sessions (`session_id` is taken and ignored), result streaming (an answer is complete before its first byte leaves), queries at
the same time (they wait for one another), several statements in a request (refused, as by the server).
"""

import argparse
import base64
import email.parser
import email.policy
import hmac
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import native_framing
from clickhouse_engine import Engine, Failed, quoted

# Parameters that are the interface's own; everything else in the URL is a setting.
OWN = {"query", "database", "default_format", "user", "password", "quota_key", "query_id", "role", "stacktrace",
       "session_id", "session_timeout", "session_check", "close_session", "client_protocol_version", "compress",
       "decompress", "wait_end_of_query", "buffer_size"}
# HTTPHandler.cpp, exceptionCodeToHTTPStatus; whatever is not here is 500.
STATUS = {
    400: {6, 7, 8, 16, 26, 27, 33, 38, 41, 44, 53, 62, 69, 72, 117, 130, 131, 306, 321, 441, 456, 457},
    401: {194}, 403: {192, 193, 497, 516}, 404: {46, 47, 50, 56, 60, 63, 73, 78, 81, 110, 115, 336}, 408: {159},
    413: {114}, 501: {48}, 507: {243},
}
QUERY_TEXT_BYTES = 64 << 20
COPY_BYTES = 1 << 20
INSERT_DATA = re.compile(r"^(?P<into>\s*INSERT\s+INTO\b.*?)(?P<settings>\s+SETTINGS\s.*?)?"
                         r"\s+FORMAT\s+(?P<form>\w+)\s*;?\s*$", re.IGNORECASE | re.DOTALL)
READS = re.compile(r"[\s(]*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|SET|USE)\b", re.IGNORECASE)
# What may hold a semicolon without ending the statement.
OPAQUE = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/", re.DOTALL)


def status(code):
    return next((number for number, codes in STATUS.items() if code in codes), 500)


def one_statement(sql):
    """The statement without its semicolon; several are refused as the server refuses them."""
    if re.match(r"\s*INSERT\b", sql, re.IGNORECASE):
        return sql  # Its data may hold anything.
    bare = OPAQUE.sub(lambda match: "x" * len(match.group()) if match.group()[0] in "'\"`" else " " * len(match.group()),
                      sql)
    end = bare.find(";")
    if end >= 0 and bare[end:].strip("; \t\r\n"):
        raise Failed(62, f"Code: 62. DB::Exception: Syntax error (Multi-statements are not allowed): failed at position "
                         f"{end + 1} (end of query): {sql[end:end + 40]}. (SYNTAX_ERROR) (version {Engine.version})")
    return sql if end < 0 else sql[:end]


class Front(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, engine, bodies, lz4_block, cityhash, password):
        super().__init__(address, Handler)
        self.engine, self.bodies, self.password = engine, bodies, password
        self.lz4_block, self.cityhash, self.names = lz4_block, cityhash, itertools.count()

    def body_path(self):
        return os.path.join(self.bodies, str(next(self.names)))

    def handle_error(self, request, client_address):
        # A client that went away is its own business; anything else belongs into the log.
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ClickHouse"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 600

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    # === one request ===

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        path = self.server.body_path()
        try:
            try:
                pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
                size = self.receive(path, dict(pairs).get("decompress") == "1")
            except native_framing.Corrupt as error:
                code, text = error.args
                self.close_connection = True
                return self.refuse(Failed(code, f"Code: {code}. DB::Exception: {text} (version {Engine.version})"))
            if url.path in ("/ping", "/replicas_status"):
                return self.send(200, b"Ok.\n")
            if url.path not in ("", "/"):
                return self.send(404, f"There is no handle {url.path}\n".encode())
            try:
                self.check_user(dict(pairs))
                self.query(pairs, path, size)
            except Failed as error:
                self.refuse(error)
        finally:
            if os.path.exists(path):
                os.remove(path)

    def query(self, pairs, path, size):
        pairs, size = self.form(pairs, path, size)
        known = dict(pairs)
        settings = [(key, value) for key, value in pairs if key not in OWN and not key.startswith("param_")]
        for key, _ in settings:
            if not re.fullmatch(r"\w+", key):
                raise Failed(115, f"Code: 115. DB::Exception: Unknown setting {key!r}. (UNKNOWN_SETTING)")
        sql = known.get("query", "")
        data = INSERT_DATA.match(sql)
        if data is None and size:
            if size > QUERY_TEXT_BYTES:
                raise Failed(62, "Code: 62. DB::Exception: Max query size exceeded. (SYNTAX_ERROR)")
            with open(path, "rb") as file:
                sql += ("\n" if sql else "") + file.read().decode("utf-8", errors="replace")
            data = INSERT_DATA.match(sql)
            if data is not None:
                os.truncate(path, 0)  # The body was the query alone: an insert of no rows.
        if data is not None:
            sql = (f"{data['into']} FROM INFILE {quoted(path)} COMPRESSION 'none'{data['settings'] or ''} "
                   f"FORMAT {data['form']}")
        if not sql.strip():
            raise Failed(62, "Code: 62. DB::Exception: Syntax error: failed at position 1 (end of query): . Empty query. "
                             "(SYNTAX_ERROR)")
        if self.command == "GET" and not READS.match(OPAQUE.sub(" ", sql)):
            raise Failed(164, "Code: 164. DB::Exception: default: Cannot execute query in readonly mode. For queries over "
                              "HTTP, method GET implies readonly. You should use method POST for modifying queries. "
                              f"(READONLY) (version {Engine.version})")
        form = self.headers.get("X-ClickHouse-Format") or known.get("default_format") or "TabSeparated"
        began = time.monotonic_ns()
        result = self.server.engine.run(
            one_statement(sql), form, known.get("database") or self.headers.get("X-ClickHouse-Database"), settings,
            [pair for pair in pairs if pair[0].startswith("param_")])
        insert = re.match(r"\s*INSERT\b", sql, re.IGNORECASE) is not None
        summary = dict.fromkeys(["read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read",
                                 "result_rows", "result_bytes"], 0) | {"elapsed_ns": time.monotonic_ns() - began}
        kind = "written" if insert else "result"
        summary |= {f"{kind}_rows": result.rows_read(), f"{kind}_bytes": result.bytes_read()}
        self.send(200, result.bytes(), {
            "X-ClickHouse-Summary": json.dumps({key: str(value) for key, value in summary.items()}),
            "X-ClickHouse-Query-Id": known.get("query_id", ""), "X-ClickHouse-Timezone": "UTC"})

    def form(self, pairs, path, size):
        """The parts of a form's body are parameters like the URL's: how the client sends a query with `{name: Type}`."""
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return pairs, size
        with open(path, "rb") as file:
            raw = b"Content-Type: " + kind.encode() + b"\r\n\r\n" + file.read()
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(raw).iter_parts()
        found = [(part.get_param("name", header="content-disposition"),
                  part.get_payload(decode=True).decode("utf-8", errors="replace")) for part in parts]
        return pairs + [(key, value) for key, value in found if key], 0

    def check_user(self, known):
        wanted = self.server.password
        if not wanted:
            return
        user = self.headers.get("X-ClickHouse-User") or known.get("user")
        given = self.headers.get("X-ClickHouse-Key") or known.get("password")
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            user, _, given = base64.b64decode(basic[6:]).decode(errors="replace").partition(":")
        user = user or "default"
        if user != "default" or not hmac.compare_digest((given or "").encode(), wanted.encode()):
            raise Failed(516, f"Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect, or there "
                              f"is no user with such name. (AUTHENTICATION_FAILED) (version {Engine.version})")

    # === bytes ===

    def receive(self, path, compressed):
        """Writes the body to a file, decompressed; its plain size. A body that is cut short never becomes a query."""
        if compressed:
            box = native_framing.Decompressor(self.server.lz4_block, self.server.cityhash)
        size = 0
        with open(path, "wb") as file:
            for part in self.body():
                for plain in box.feed(part) if compressed else (part,):
                    file.write(plain)
                    size += len(plain)
        if compressed:
            box.finish()
        return size

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.line().partition(b";")[0], 16):
                yield from self.exactly(size)
                self.line()
            while self.line():
                pass  # trailers
        else:
            yield from self.exactly(int(self.headers.get("Content-Length") or 0))

    def line(self):
        line = self.rfile.readline(8192)
        if not line.endswith(b"\n"):
            raise ConnectionError("the body was cut short")
        return line.strip()

    def exactly(self, size):
        while size:
            part = self.rfile.read(min(size, COPY_BYTES))
            if not part:
                raise ConnectionError("the body was cut short")
            size -= len(part)
            yield part

    def refuse(self, error):
        self.send(status(error.code), error.text.encode() + b"\n", {"X-ClickHouse-Exception-Code": str(error.code)})

    def send(self, number, body, headers=()):
        self.send_response(number)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--modules", required=True)
    options.add_argument("--home", required=True)
    options.add_argument("--port", type=int, required=True)
    options = options.parse_args()
    bodies = os.path.join(options.home, "bodies")
    shutil.rmtree(bodies, ignore_errors=True)  # left by a kill
    os.makedirs(bodies)
    # The port first: whoever finds it taken must not open the folder.
    probe = socket.create_server(("127.0.0.1", options.port))
    probe.close()
    # The engine starts what drops tables only where it finds this folder; without it `DROP TABLE … SYNC` waits for ever
    # (mended in chdb-io/chdb-core#173, after 3.7.2).
    os.makedirs(os.path.join(options.home, "data", "metadata"), exist_ok=True)
    engine = Engine(options.modules, os.path.join(options.home, "data"))
    import clickhouse_cityhash.cityhash as cityhash
    import lz4.block
    front = Front(("127.0.0.1", options.port), engine, bodies, lz4.block, cityhash,
                  os.environ.get("FINGERPOST_STACK_PASSWORD", ""))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=front.shutdown, daemon=True).start())
    front.serve_forever(poll_interval=0.1)
    engine.close()
    # Threads that still wait for a client end here.
    os._exit(0)


if __name__ == "__main__":
    main()
