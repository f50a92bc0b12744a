"""The three requests of Kafka's protocol that a stack needs, spoken directly: a Java tool would take a second for each.

Formats: https://kafka.apache.org/protocol - Metadata 1, CreateTopics 2 (the oldest that Kafka 4 takes, and not "flexible").
"""

import socket
import struct
import time

METADATA, CREATE_TOPICS = 3, 19
TOPIC_ALREADY_EXISTS = 36


class Refused(Exception):
    pass


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, form):
        value = struct.unpack_from(">" + form, self.raw, self.at)[0]
        self.at += struct.calcsize(">" + form)
        return value

    def text(self):
        size = self.take("h")
        if size < 0:
            return None
        self.at += size
        return self.raw[self.at - size:self.at].decode()

    def many(self, read):
        return [read() for _ in range(self.take("i"))]


def ask(port, key, version, body, seconds):
    """One request on a connection of its own; a reader of the answer."""
    request = struct.pack(">hhi", key, version, 1) + text("fingerpost-stack") + body
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", exactly(connection, 4))
        answer = Reader(exactly(connection, size))
    answer.take("i")  # correlation id
    return answer


def exactly(connection, size):
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("the broker closed the connection")
        parts += part
    return parts


def create_topics(port, topics, seconds=10, validate_only=False):
    """Makes topics given as (name, partitions, {setting: value}); one that exists already is left as it is."""
    body = struct.pack(">i", len(topics))
    for name, partitions, settings in topics:
        body += text(name) + struct.pack(">ih", partitions, 1) + struct.pack(">i", 0)
        body += struct.pack(">i", len(settings))
        for key, value in settings.items():
            body += text(key) + text(value)
    body += struct.pack(">i?", int(seconds * 1000), validate_only)
    answer = ask(port, CREATE_TOPICS, 2, body, seconds)
    answer.take("i")  # throttled for so long

    def result():
        return answer.text(), answer.take("h"), answer.text()

    for name, error, message in answer.many(result):
        if error not in (0, TOPIC_ALREADY_EXISTS):
            raise Refused(f"topic {name}: error {error}, {message or 'no message'}")
    if not validate_only:
        wait_for_leaders(port, [name for name, _, _ in topics], seconds)


def wait_for_leaders(port, names, seconds):
    """A topic is made before its partitions have leaders; a producer that asks in between is told to come back."""
    deadline = time.monotonic() + seconds
    while True:
        found = metadata(port, names, seconds)
        if all(found.get(name) and min(found[name]) >= 0 for name in names):
            return
        if time.monotonic() > deadline:
            raise Refused(f"topics without leaders after {seconds} s: {found}")
        time.sleep(0.02)


def metadata(port, names, seconds=10):
    """The leader of each partition, by topic."""
    answer = ask(port, METADATA, 1, struct.pack(">i", len(names)) + b"".join(map(text, names)), seconds)

    def broker():
        return answer.take("i"), answer.text(), answer.take("i"), answer.text()

    def partition():
        error, _, leader = answer.take("h"), answer.take("i"), answer.take("i")
        for _ in range(2):
            answer.many(lambda: answer.take("i"))  # replicas, in-sync replicas
        return leader if error == 0 else -1

    def topic():
        error, name, _ = answer.take("h"), answer.text(), answer.take("?")
        leaders = answer.many(partition)
        return name, leaders if error == 0 else []

    answer.many(broker)
    answer.take("i")  # controller
    return dict(answer.many(topic))
