"""PostgreSQL: an own cluster by initdb on an own port, trusting who comes from 127.0.0.1; fsync stays on."""

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import install
import ports
import process
from problem import Problem

NAME = "postgres"
PATIENCE_S = 60

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = {port}
shared_buffers = 64MB
max_connections = 100
max_wal_size = 256MB
fsync = on
log_min_messages = warning
logging_collector = off
"""


def create(home, _options):
    (port,) = ports.free(1)
    data = data_folder(home)
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data, mode=0o700)
    user = account()
    if user:
        os.chown(data, user["user"], user["group"])
    done = subprocess.run(
        [os.path.join(install.postgres(), "initdb"), "-D", data, "-U", "fingerpost", "-A", "trust", "-E", "UTF8",
         "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd="/", **user)
    if done.returncode != 0:
        raise Problem(f"initdb cannot make a cluster in {data}: {(done.stderr or done.stdout).strip()}")
    with open(os.path.join(data, "postgresql.conf"), "a", encoding="utf-8") as file:
        file.write(SETTINGS.format(port=port))
    return {"url": f"postgres://fingerpost@127.0.0.1:{port}/postgres", "data": data}


def data_folder(home):
    """Beside the other parts; but root's private folders are closed to the account that the server needs then."""
    if not account() or reachable(os.path.dirname(home)):
        return os.path.join(home, "data")
    name = hashlib.sha256(home.encode()).hexdigest()[:16]
    return os.path.join(tempfile.gettempdir(), f"fingerpost-stack-postgres-{name}")


def reachable(folder):
    while True:
        if not os.stat(folder).st_mode & 0o001:
            return False
        if folder == "/":
            return True
        folder = os.path.dirname(folder)


def account():
    """postgres refuses to run as root: it runs as its own account then."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise Problem("PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody")


def launch(home, known):
    # Killed from outside, its children end a moment later, and its pid may linger as a zombie that passes for a rival.
    for member in process.working_in(known["data"]):
        process.kill(*member)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(known["data"], "postmaster.pid"))
    return process.spawn([os.path.join(install.postgres(), "postgres"), "-D", known["data"]],
                         os.path.join(home, "log"), user=account(), cwd="/")


def ready(known):
    """Raises while a log-in is not answered by "ready for query"."""
    port = int(known["url"].rpartition(":")[2].partition("/")[0])
    words = b"user\0fingerpost\0database\0postgres\0\0"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(struct.pack(">ii", len(words) + 8, 196608) + words)
        answer = b""
        while not answer.endswith(b"Z\0\0\0\5I"):
            part = connection.recv(4096)
            answer += part
            if not part or answer.startswith(b"E"):
                raise ConnectionError(answer[5:].replace(b"\0", b" ").decode(errors="replace") or "closed")
        connection.sendall(b"X\0\0\0\4")


def stop(pid, birth):
    # SIGINT is its "fast" shutdown: sessions are ended, not waited for.
    return process.stop(pid, birth, graceful=signal.SIGINT)


def remove(known):
    shutil.rmtree(known["data"], ignore_errors=True)
