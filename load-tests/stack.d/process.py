"""Processes that outlive the script: started detached, known by pid and birth, ended by signal.

A pid alone may have been given to somebody else since; a pid together with the process's start time cannot.
"""

import os
import signal
import subprocess
import time

TICK_S = 0.01


def born(pid):
    """The process's start time in ticks since boot, or None when there is no such process (a zombie counts as gone)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def alive(pid, birth):
    return pid is not None and birth is not None and born(pid) == birth


def spawn(argv, log, user=None, cwd=None, env=None):
    """Starts a detached process whose output goes to the end of the file `log`; its (pid, birth)."""
    with open(log, "ab") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=cwd,
            env=env, **(user or {}))
    # The child stays ours until this script ends; it is then adopted by init. No one waits for it here.
    child.returncode = 0
    return child.pid, born(child.pid)


def send(pid, birth, number):
    """Sends a signal to this process, unless it is gone."""
    if alive(pid, birth):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def gone(pid, birth, seconds):
    """Waits until the process is gone; False when it is still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while alive(pid, birth):
        if time.monotonic() > deadline:
            return False
        reap(pid)
        time.sleep(TICK_S)
    return True


def reap(pid):
    """A child of this very script stays a zombie until it is waited for."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def everybody():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def family(pid, birth):
    """The process and its children, as (pid, birth): a database server of many processes dies as one."""
    members = [(pid, birth)]
    for other in everybody():
        try:
            with open(f"/proc/{other}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            members.append((other, int(fields[19])))
    return members


def working_in(folder):
    """The processes whose working directory this is, as (pid, birth)."""
    found = []
    for other in everybody():
        try:
            if os.readlink(f"/proc/{other}/cwd") == folder:
                found.append((other, born(other)))
        except OSError:
            continue
    return found


def kill(pid, birth):
    """kill -9 of the process and its children; returns when all are gone."""
    if not alive(pid, birth):
        return
    members = family(pid, birth)
    for member in members:
        send(*member, signal.SIGKILL)
    for member in members:
        if not gone(*member, 30):
            raise TimeoutError(f"process {member[0]} is still there 30 s after SIGKILL")


def stop(pid, birth, graceful=signal.SIGTERM, patience_s=20):
    """A graceful signal, and SIGKILL for what is still there when patience ends; True when it went gracefully."""
    send(pid, birth, graceful)
    if gone(pid, birth, patience_s):
        return True
    kill(pid, birth)
    return False
