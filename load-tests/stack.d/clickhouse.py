"""ClickHouse: the real engine inside a Python process (`clickhouse_front.py`), which speaks its HTTP interface."""

import os
import sys
import urllib.request

import install
import ports
import process

NAME = "clickhouse"
PATIENCE_S = 90


def create(home, options):
    (port,) = ports.free(1)
    known = {"url": f"http://127.0.0.1:{port}"}
    if options.password:
        known |= {"user": "default", "password": options.password}
    return known


def launch(home, known):
    port = known["url"].rpartition(":")[2]
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", TZ="UTC",
               FINGERPOST_STACK_PASSWORD=known.get("password", ""))
    return process.spawn(
        [sys.executable, os.path.join(install.HERE, "clickhouse_front.py"), "--modules", install.clickhouse(),
         "--port", port, "--home", home],
        os.path.join(home, "log"), cwd=home, env=env)


def ready(known):
    request = urllib.request.Request(known["url"] + "/?query=SELECT%201")
    if known.get("password"):
        request.add_header("X-ClickHouse-Key", known["password"])
    # Straight, whatever proxy the environment names.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
        if answer.read() != b"1\n":
            raise ConnectionError("SELECT 1 is not 1")


def stop(pid, birth):
    return process.stop(pid, birth)
