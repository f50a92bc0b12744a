"""Ends a stack when the process that it was made for is gone: `watch.py DIR PID BIRTH`, started by `stack up --for PID`.

Its data goes too: nobody is left who knows of it.
"""

import os
import select
import sys
import time

import process
from stack import Stack


def wait_for(pid, birth):
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # an old kernel, or gone already
        handle = None
    if handle is not None and process.alive(pid, birth):
        while process.alive(pid, birth):
            select.select([handle], [], [], 5)
            time.sleep(process.TICK_S)
        return
    while process.alive(pid, birth):
        time.sleep(0.2)


def main():
    folder, pid, birth = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    wait_for(pid, birth)
    with Stack(folder).opened() as stack:
        if stack.known.get("watch", {}).get("pid") != os.getpid():
            return  # Another owner took the stack over.
        del stack.known["watch"]
        for name in stack.running():
            stack.kill(name)
        stack.remove_all()


if __name__ == "__main__":
    main()
