"""Free ports on 127.0.0.1 that stay ours while their server is down.

Ports of the kernel's ephemeral range would be lost to any outgoing connection between `stop` and `start`, so they are drawn
from below it. Two stacks that draw the same port at once meet at bind: the loser's server ends, and `up` draws again.
"""

import random
import socket

LOWEST = 15_000


def free(count):
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="utf-8") as file:
        highest = int(file.read().split()[0]) - 1
    low, high = (LOWEST, highest) if highest > LOWEST + 1_000 else (15_000, 32_000)
    found = []
    for port in random.SystemRandom().sample(range(low, high), 1_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {low} and {high}")
