"""A stack: the parts that run in one folder, what is known of them in its `stack.json`, and what can be done to them."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time

import clickhouse
import install
import kafka
import postgres
import process
from problem import Problem, say

PARTS = {part.NAME: part for part in (kafka, clickhouse, postgres)}
ATTEMPTS = 4
LOOK_S = 0.03
LOG_END_BYTES = 32 << 10


class Stack:
    """The folder `dir` holds stack.json, a lock, and a folder for each part with its data and its log."""

    def __init__(self, folder):
        self.dir = os.path.abspath(folder)
        self.file = os.path.join(self.dir, "stack.json")
        self.known = {}

    @contextlib.contextmanager
    def opened(self):
        """One command at a time on one stack."""
        with self.lock():
            try:
                with open(self.file, encoding="utf-8") as file:
                    self.known = json.load(file)
            except FileNotFoundError:
                self.known = {}
            yield self

    def lock(self):
        path = os.path.join(self.dir, "lock")
        while True:
            os.makedirs(self.dir, mode=0o755, exist_ok=True)
            lock = open(path, "w", encoding="utf-8")
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it before us may have removed the stack, and the lock's file with it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                    return lock
            lock.close()

    def store(self):
        fresh = self.file + ".new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(self.known, file, indent=1)
        os.rename(fresh, self.file)

    def home(self, name):
        return os.path.join(self.dir, name)

    def of(self, name):
        if name not in self.known:
            raise Problem(f"there is no {name} in {self.dir}: `stack up {name} --dir {self.dir}` makes one")
        return self.known[name]

    def runs(self, name):
        known = self.known.get(name, {})
        return process.alive(known.get("pid"), known.get("born"))

    def running(self):
        return [name for name in PARTS if self.runs(name)]

    # === making and starting ===

    def up(self, names, options):
        """Makes what is not there and starts what does not run, all parts at the same time."""
        for option in ("sasl", "tls"):
            if getattr(options, option) and f"{option}_brokers" not in self.known.get("kafka", {f"{option}_brokers": ""}):
                raise Problem(f"the Kafka in {self.dir} was made without --{option}: `stack down kafka --remove` first")
        for name in names:
            getattr(install, name)()
        waiting = {}
        for name in names:
            if name not in self.known:
                self.create(name, options)
            if not self.runs(name):
                self.launch(name)
            waiting[name] = ATTEMPTS
        while waiting:
            for name in list(waiting):
                waiting[name] -= 1
                if self.wait(name, fresh=waiting[name] > 0 and self.known[name].get("fresh")):
                    self.known[name].pop("fresh", None)
                    self.store()
                    del waiting[name]
                else:
                    say(f"{name}: somebody took its port, drawing another")
                    self.create(name, options)
                    self.launch(name)

    def create(self, name, options):
        say(f"{name}: making it")
        shutil.rmtree(self.home(name), ignore_errors=True)
        os.makedirs(self.home(name), mode=0o755)
        self.known[name] = PARTS[name].create(self.home(name), options) | {"fresh": True}

    def launch(self, name):
        known = self.known[name]
        known["pid"], known["born"] = PARTS[name].launch(self.home(name), known)
        known["began"] = time.time()
        self.store()

    def wait(self, name, fresh=False):
        """Until the part answers. False when a fresh one found its port taken; any other end is a problem."""
        part, known = PARTS[name], self.known[name]
        deadline = time.monotonic() + part.PATIENCE_S
        last = None
        while True:
            try:
                part.ready(known)
                if "began" in known:
                    say(f"{name}: ready after {time.time() - known.pop('began'):.1f} s")
                    self.store()
                return True
            except Exception as error:  # noqa: BLE001 - whatever it is, the part does not answer yet
                last = error
            process.reap(known["pid"])
            if not self.runs(name):
                if fresh and "already in use" in self.log_end(name):
                    return False
                raise Problem(f"{name} ended while it started; {self.home(name)}/log ends with:\n{self.log_tail(name)}")
            if time.monotonic() > deadline:
                raise Problem(f"{name} does not answer after {part.PATIENCE_S} s ({last}); "
                              f"{self.home(name)}/log ends with:\n{self.log_tail(name)}")
            time.sleep(LOOK_S)

    def log_tail(self, name):
        return "\n".join(self.log_end(name).splitlines()[-12:])

    def log_end(self, name):
        try:
            with open(os.path.join(self.home(name), "log"), "rb") as file:
                file.seek(max(0, os.path.getsize(file.name) - LOG_END_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return "(no log)"

    def start(self, name):
        known = self.of(name)
        if self.runs(name):
            raise Problem(f"{name} runs already (pid {known['pid']})")
        self.launch(name)
        self.wait(name)

    # === ending ===

    def kill(self, name):
        known = self.of(name)
        if not self.runs(name):
            raise Problem(f"{name} does not run")
        process.kill(known["pid"], known["born"])

    def stop(self, name):
        known = self.of(name)
        if self.runs(name) and not PARTS[name].stop(known["pid"], known["born"]):
            say(f"{name}: did not end by itself and was killed")

    def remove(self, name):
        known = self.known.pop(name)
        if hasattr(PARTS[name], "remove"):
            PARTS[name].remove(known)
        shutil.rmtree(self.home(name), ignore_errors=True)
        self.store()

    def remove_all(self):
        """Takes away what the stack made; whatever else lies in its folder stays."""
        for name in [name for name in PARTS if name in self.known]:
            self.remove(name)
        for file in ("stack.json", "watch.log", "lock"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(self.dir, file))
        with contextlib.suppress(OSError):
            os.rmdir(self.dir)

    # === watching ===

    def watch(self, owner):
        """Leaves a process behind that ends the stack when the owner is gone."""
        birth = process.born(owner)
        if birth is None:
            raise Problem(f"--for {owner}: there is no such process")
        self.unwatch()
        pid, born = process.spawn(
            [sys.executable, os.path.join(install.HERE, "watch.py"), self.dir, str(owner), str(birth)],
            os.path.join(self.dir, "watch.log"), cwd="/", env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        self.known["watch"] = {"pid": pid, "born": born, "owner": owner}
        self.store()

    def unwatch(self):
        watch = self.known.pop("watch", None)
        if watch:
            process.kill(watch["pid"], watch["born"])
            self.store()

    # === telling ===

    def public(self, names=None):
        hidden = ("born", "fresh", "began", "data")
        return {name: {key: value for key, value in self.known[name].items() if key not in hidden}
                for name in PARTS if name in self.known and (names is None or name in names)}
