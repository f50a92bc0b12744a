#!/usr/bin/env python3
"""The script, tested as it is used: `load-tests/stack.d/test.py`; `cargo test --test stack` runs it too."""

import concurrent.futures
import glob
import http.client
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import install  # noqa: E402
import kafka_wire  # noqa: E402
import process  # noqa: E402

SCRIPT = os.path.join(os.path.dirname(install.HERE), "stack")
PARTS = ("kafka", "clickhouse", "postgres")


def stack(command, *arguments, folder=None, code=0, env=None):
    """Runs the script; its output, or a failure when it does not end with this code."""
    words = [SCRIPT, command, *arguments] + (["--dir", folder] if folder else [])
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200, env={**os.environ, **(env or {})},
                          check=False)
    if done.returncode != code:
        raise AssertionError(f"{words} ended with {done.returncode}, not {code}: {done.stdout}{done.stderr}")
    return done.stdout if code == 0 else done.stderr


def up(*arguments, folder):
    return json.loads(stack("up", *arguments, folder=folder).splitlines()[-1])


def eventually(what, look, seconds=30):
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)


def processes_of(folder):
    """Whoever names the folder on its command line or works in it."""
    found = []
    for pid in process.everybody():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace")
            here = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if pid != os.getpid() and process.born(pid) and (folder in words or here.startswith(folder)):
            found.append((pid, words.replace("\0", " ")))
    return found


class Clickhouse:
    """What the client of ours sends: POST, the query in the URL when there is data, settings beside it."""

    def __init__(self, known):
        self.host, self.password = known["url"].removeprefix("http://"), known.get("password")

    def ask(self, sql, data=None, headers=(), **parameters):
        """(status, body)"""
        if data is not None:
            parameters["query"] = sql
        connection = http.client.HTTPConnection(self.host, timeout=60)
        sent = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": self.password} if self.password else {}
        connection.request("POST", "/?" + urllib.parse.urlencode(parameters), sql.encode() if data is None else data,
                           sent | dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def browse(self, sql):
        """By GET, as a browser would."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("GET", "/?" + urllib.parse.urlencode({"query": sql, "password": self.password}))
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def get(self, sql, data=None, **parameters):
        status, body = self.ask(sql, data, **parameters)
        if status != 200:
            raise AssertionError(f"{sql}: {status} {body}")
        return body.decode(errors="replace").strip()


class Parts(unittest.TestCase):
    """All parts in one stack, with every option."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="fingerpost-stack-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.known = up("--sasl", "--tls", "--password", "open sesame", "--for", str(os.getpid()), folder=cls.folder)

    @classmethod
    def tearDownClass(cls):
        stack("down", "--remove", folder=cls.folder)
        assert not processes_of(cls.folder), processes_of(cls.folder)
        assert not os.path.exists(cls.folder), os.listdir(cls.folder)

    def setUp(self):
        self.clickhouse = Clickhouse(self.known["clickhouse"])

    def sql(self, text):
        done = subprocess.run([os.path.join(install.postgres(), "psql"), "-qAt", self.known["postgres"]["url"], "-c", text],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def again(self, how, part):
        """Ends and starts a part; the others do not notice."""
        before = json.loads(stack("status", folder=self.folder))
        stack(how, part, folder=self.folder)
        self.assertFalse(process.alive(before[part]["pid"], process.born(before[part]["pid"])))
        stack("status", folder=self.folder, code=1)
        stack("start", part, folder=self.folder)
        after = json.loads(stack("status", folder=self.folder))
        for name in PARTS:
            same = {key: value for key, value in after[name].items() if key != "pid"}
            self.assertEqual(same, {key: value for key, value in before[name].items() if key != "pid"})
            self.assertEqual(after[name]["pid"] == before[name]["pid"], name != part)

    def test_what_is_up_stays_as_it_is(self):
        self.assertEqual(set(self.known), set(PARTS))
        again = up("--sasl", folder=self.folder)
        for name in PARTS:
            self.assertEqual(again[name]["pid"], json.loads(stack("status", folder=self.folder))[name]["pid"])
        self.assertIn("runs already", stack("start", "kafka", folder=self.folder, code=1))

    def test_kafka_keeps_its_topics(self):
        port = int(self.known["kafka"]["brokers"].rpartition(":")[2])
        stack("topics", "kept:3", "compacted:1:compact", folder=self.folder)
        stack("topics", "kept:3", folder=self.folder)
        for how in ("kill", "stop"):
            self.again(how, "kafka")
            self.assertEqual(kafka_wire.metadata(port, ["kept", "never"]), {"kept": [1, 1, 1], "never": []})
        self.assertIn("NAME:PARTITIONS", stack("topics", "kept", folder=self.folder, code=1))

    def test_kafka_refuses_a_wrong_password(self):
        port = int(self.known["kafka"]["sasl_brokers"].rpartition(":")[2])

        def log_in(password):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                errors = []
                words = f"\0fingerpost\0{password}".encode()
                for key, version, body in ((17, 1, kafka_wire.text("PLAIN")),
                                           (36, 0, struct.pack(">i", len(words)) + words)):
                    request = struct.pack(">hhi", key, version, 1) + kafka_wire.text("test") + body
                    connection.sendall(struct.pack(">i", len(request)) + request)
                    (size,) = struct.unpack(">i", kafka_wire.exactly(connection, 4))
                    errors.append(struct.unpack_from(">h", kafka_wire.exactly(connection, size), 4)[0])
                return errors

        self.assertEqual(log_in("secret"), [0, 0])
        self.assertEqual(log_in("wrong"), [0, 58])  # SASL_AUTHENTICATION_FAILED

    def test_kafka_speaks_tls(self):
        known = self.known["kafka"]
        context = ssl.create_default_context(cafile=known["tls_ca"])
        for key in ("tls_brokers", "sasl_tls_brokers"):
            host, _, port = known[key].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=20) as plain:
                with context.wrap_socket(plain, server_hostname=host) as secret:
                    self.assertEqual(secret.version(), "TLSv1.3")

    def test_postgres_keeps_its_rows(self):
        self.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
        for how in ("kill", "stop"):
            self.again(how, "postgres")
            self.assertEqual(self.sql("SELECT count(*) FROM kept"), "1000")

    def test_clickhouse_keeps_its_rows(self):
        self.clickhouse.get("CREATE DATABASE kept")
        self.clickhouse.get("CREATE TABLE kept.t (id UInt64) ENGINE = MergeTree ORDER BY id")
        self.clickhouse.get("INSERT INTO kept.t FORMAT RowBinary", struct.pack("<1000Q", *range(1000)))
        for how in ("kill", "stop"):
            self.again(how, "clickhouse")
            self.assertEqual(self.clickhouse.get("SELECT count(), sum(id) FROM kept.t"), "1000\t499500")

    def test_clickhouse_refuses_a_wrong_password(self):
        self.clickhouse.password = "wrong"
        status, body = self.clickhouse.ask("SELECT 1")
        self.assertEqual(status, 403)
        self.assertTrue(body.startswith(b"Code: 516. DB::Exception: default: Authentication failed"), body)

    def test_clickhouse_inserts_once_by_token_also_into_a_rollup(self):
        ask = self.clickhouse.get
        ask("CREATE DATABASE once")
        ask("CREATE TABLE once.t (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 9")
        ask("CREATE TABLE once.sums (k UInt8, n SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree "
            "ORDER BY k SETTINGS non_replicated_deduplication_window = 9")
        ask("CREATE MATERIALIZED VIEW once.v TO once.sums AS SELECT toUInt8(id % 2) AS k, count() AS n FROM once.t GROUP BY k")
        data = struct.pack("<100Q", *range(100))
        for token in ("a", "a", "b"):
            ask("INSERT INTO t (id) FORMAT RowBinary", data, database="once", insert_deduplication_token=token,
                deduplicate_blocks_in_dependent_materialized_views=1)
        self.assertEqual(ask("SELECT (SELECT count() FROM once.t), (SELECT sum(n) FROM once.sums)"), "200\t200")
        ask("DROP DATABASE once SYNC")  # must end

    def test_clickhouse_takes_compressed_and_checked_bodies(self):
        sys.path.insert(0, install.clickhouse())
        import clickhouse_cityhash.cityhash as cityhash
        import lz4.block
        plain = struct.pack("<5000Q", *range(5000))
        packed = lz4.block.compress(plain, store_size=False)
        framed = struct.pack("<BII", 0x82, len(packed) + 9, len(plain)) + packed
        total = cityhash.CityHash128(framed)
        framed = struct.pack("<QQ", total >> 64, total & (1 << 64) - 1) + framed
        self.clickhouse.get("CREATE TABLE packed (id UInt64) ENGINE = MergeTree ORDER BY id")
        into = "INSERT INTO packed FORMAT RowBinary"
        self.clickhouse.get(into, framed + framed, decompress=1)
        for bad in (framed[:100] + bytes([framed[100] ^ 1]) + framed[101:], framed[:-1]):
            status, body = self.clickhouse.ask(into, bad, decompress=1)
            self.assertIn(body.split(b".")[0], (b"Code: 40", b"Code: 33"))
            self.assertNotEqual(status, 200)
        self.assertEqual(self.clickhouse.get("SELECT count() FROM packed"), "10000")

    def test_clickhouse_never_inserts_a_body_that_was_cut(self):
        self.clickhouse.get("CREATE TABLE cut (id UInt64) ENGINE = MergeTree ORDER BY id")
        host, port = self.clickhouse.host.split(":")
        data = struct.pack("<10Q", *range(10))
        head = (b"POST /?query=INSERT+INTO+cut+FORMAT+RowBinary HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: open sesame\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(data) + data + b"\r\n")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(connection.recv(1), b"")
        self.assertEqual(self.clickhouse.get("SELECT count() FROM cut"), "0")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head + b"0\r\n\r\n")
            self.assertEqual(connection.recv(15), b"HTTP/1.1 200 OK")
        self.assertEqual(self.clickhouse.get("SELECT count() FROM cut"), "10")

    def test_clickhouse_carries_nothing_over(self):
        ask = self.clickhouse.get
        what = "SELECT getSetting('max_threads') = 7, currentDatabase()"
        self.assertEqual(ask(what, max_threads=7, database="system"), "true\tsystem".replace("true", "1"))
        self.assertEqual(ask(what), "0\tdefault")
        ask("SET max_threads = 7")
        self.assertEqual(ask(what), "0\tdefault")

    def test_clickhouse_answers_as_the_server_does(self):
        for sql, parameters, status, code in (
                ("SELECT * FROM missing", {}, 404, 60), ("SELECT 1", {"no_such_setting": 1}, 404, 115),
                ("SELECT 1; SELECT 2", {}, 400, 62), ("SELECT 1", {"database": "missing"}, 404, 81),
                ("SELECT throwIf(1)", {}, 500, 395), ("INSERT INTO missing FORMAT RowBinary", {}, 404, 60)):
            found, body = self.clickhouse.ask(sql, **parameters)
            self.assertEqual((found, body.split(b".")[0]), (status, b"Code: %d" % code), sql)
        self.assertEqual(self.clickhouse.browse("SELECT 1"), (200, b"1\n"))
        self.assertIn(b"Code: 164.", self.clickhouse.browse("CREATE DATABASE by_get")[1])
        self.assertEqual(self.clickhouse.get("SELECT 'a;b' -- ;\n;"), "a;b")
        form = b"--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {x:String}\r\n" \
               b"--b\r\nContent-Disposition: form-data; name=\"param_x\"\r\n\r\nit's\r\n--b--\r\n"
        status, body = self.clickhouse.ask("", form, {"Content-Type": "multipart/form-data; boundary=b"}, query="")
        self.assertEqual((status, body), (200, b"it\\'s\n"))
        _, body = self.clickhouse.ask("SELECT 1 AS x", default_format="RowBinaryWithNamesAndTypes")
        self.assertEqual(body, b"\1\1x\5UInt8\1")

    def test_clickhouse_reads_from_kafka(self):
        ask = self.clickhouse.get
        stack("topics", "read:2", folder=self.folder)
        ask("CREATE DATABASE reading")
        ask(f"CREATE TABLE reading.source (id UInt64) ENGINE = Kafka SETTINGS kafka_format = 'JSONEachRow', "
            f"kafka_broker_list = '{self.known['kafka']['brokers']}', kafka_topic_list = 'read', "
            f"kafka_group_name = 'reader', kafka_flush_interval_ms = 200")
        ask("CREATE TABLE reading.t (id UInt64) ENGINE = MergeTree ORDER BY id")
        ask("CREATE MATERIALIZED VIEW reading.v TO reading.t AS SELECT id FROM reading.source")
        ask("INSERT INTO reading.source SELECT number FROM numbers(500)")
        eventually("the messages", lambda: ask("SELECT count(), sum(id) FROM reading.t") == "500\t124750")
        ask("DROP DATABASE reading SYNC")


class Alone(unittest.TestCase):
    """What needs a stack of its own, or none."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="fingerpost-stack-test-")
        os.chmod(self.folder, 0o755)  # open to PostgreSQL's account; the other class tries a closed one
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_ends_with_its_owner(self):
        owner = subprocess.Popen(["sleep", "600"])
        self.addCleanup(owner.kill)
        inside = os.path.join(self.folder, "inside")
        up("postgres", "clickhouse", "--for", str(owner.pid), folder=inside)
        self.assertTrue(processes_of(inside))
        owner.kill()
        owner.wait()
        eventually("the end of the stack", lambda: not processes_of(inside) and not os.path.exists(inside))

    def test_several_start_at_once(self):
        folders = [os.path.join(self.folder, name) for name in "abc"]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda folder: up("clickhouse", "postgres", folder=folder), folders))
        addresses = {known[name]["url"] for known in found for name in known}
        self.assertEqual(len(addresses), 6)
        for folder in folders:
            stack("down", folder=folder)
            self.assertEqual(processes_of(folder), [])
        # The data is still there: the same addresses come back.
        self.assertEqual(up("clickhouse", folder=folders[0])["clickhouse"]["url"], found[0]["clickhouse"]["url"])
        for folder in folders:
            stack("down", "--remove", folder=folder)
            self.assertFalse(os.path.exists(folder))

    def test_says_which_registry_is_out_of_reach(self):
        empty = {"FINGERPOST_STACK_CACHE": os.path.join(self.folder, "cache"), "PIP_CONFIG_FILE": os.devnull,
                 "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0", "PIP_FIND_LINKS": "",
                 "MAVEN_OPTS": f"-Dmaven.repo.local={self.folder}/m2 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1"}
        for part, registry in (("clickhouse", "PyPI"), ("kafka", "Maven Central")):
            words = stack("up", part, folder=self.folder, code=1, env=empty).splitlines()[-1]
            self.assertIn(f"from {registry} (https://", words)
            self.assertIn("To mend:", words)
        self.assertEqual(glob.glob(os.path.join(self.folder, "cache", "*")), [empty["FINGERPOST_STACK_CACHE"] + "/install.lock"])

    def test_refuses_what_it_does_not_know(self):
        self.assertIn("kafka, clickhouse, postgres", stack("up", "redis", folder=self.folder, code=1))
        self.assertIn("`stack up kafka", stack("kill", "kafka", folder=self.folder, code=1))
        self.assertIn("no such process", stack("up", "postgres", "--for", "999999999", folder=self.folder, code=1))
        self.assertEqual(json.loads(stack("status", folder=os.path.join(self.folder, "nothing"))), {})
        stack("down", folder=os.path.join(self.folder, "nothing"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
