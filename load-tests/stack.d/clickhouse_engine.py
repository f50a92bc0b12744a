"""The engine behind the front: one chdb session over one folder, one query at a time, nothing carried over to the next.

ClickHouse's HTTP interface gives each request a session of its own. The engine has one session, so a request's database and
settings are set before its query and taken back after it.
"""

import os
import re
import sys
import threading
import types


class Failed(Exception):
    """An exception of the engine: `code` and the text as the server would send it."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


def failure(message):
    """Brings the engine's text into the server's form: the code once, the version at the end."""
    text = message.strip()
    while (again := re.match(r"Code: \d+\. DB::Exception: (?=Code: \d+\. DB::)", text)) is not None:
        text = text[again.end():]
    text = re.sub(r" \(version [\d.]+\)\.? \([A-Z_0-9]+\)$", "", text)
    code = re.match(r"Code: (\d+)", text)
    if code is None:
        text = f"Code: 1002. DB::Exception: {text}"
    return Failed(int(code.group(1)) if code else 1002, f"{text} (version {Engine.version})")


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(text):
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Engine:
    version = "?"

    def __init__(self, modules, folder):
        self.chdb = load(modules)
        self.lock = threading.Lock()
        self.connection = self.chdb.connect(folder)
        Engine.version = self.connection.query("SELECT version()", "TabSeparated").bytes().decode().strip()

    def run(self, sql, form, database=None, settings=(), parameters=()):
        """Runs one query as a request of its own; its result."""
        with self.lock:
            # An unknown setting refuses the whole SET, so nothing is half set.
            done = []
            try:
                if database:
                    self.query(f"USE {name(database)}")
                if settings:
                    done = [key for key, _ in settings]
                    self.query("SET " + ", ".join(f"{key} = {quoted(value)}" for key, value in settings))
                for key, value in parameters:
                    self.query(f"SET {key} = {quoted(value)}")
                return self.query(sql, form)
            finally:
                for key in done:
                    self.forget(key)
                if database or re.match(r"\s*USE\b", sql, re.IGNORECASE):
                    self.query("USE default")
                if re.match(r"\s*SET\b", sql, re.IGNORECASE):
                    for key in re.findall(r"(?:SET|,)\s+(\w+)\s*=", sql, re.IGNORECASE):
                        self.forget(key)

    def forget(self, setting):
        try:
            self.query(f"SET {setting} = DEFAULT")
        except Failed:
            pass  # It was refused as unknown, so it was never set.

    def query(self, sql, form="TabSeparated"):
        try:
            result = self.connection.query(sql, form)
        except RuntimeError as error:
            raise failure(str(error)) from None
        if result.has_error():
            raise failure(result.error_message())
        return result

    def close(self):
        with self.lock:
            self.connection.close()


def load(modules):
    """Loads the engine's library without the package around it, which wants pandas and pyarrow for data frames."""
    sys.path.insert(0, modules)
    package = types.ModuleType("chdb")
    package.__path__ = [os.path.join(modules, "chdb")]
    sys.modules["chdb"] = package
    # The library finds its helpers in the working directory while it is loaded.
    here = os.getcwd()
    os.chdir(package.__path__[0])
    try:
        from chdb import _chdb
    finally:
        os.chdir(here)
    return _chdb
