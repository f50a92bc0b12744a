"""Fetches what is missing, once, into a cache that all stacks of this user share.

Each thing is fetched into a folder beside its place and renamed when it is complete, under one lock, so a broken download
leaves nothing half done, and two stacks that start at once fetch once. A cache entry is named by its pinned version: a new
version is a new entry.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import subprocess
import sys
import tempfile

from problem import Problem, say

HERE = os.path.dirname(os.path.abspath(__file__))

KAFKA = "4.1.1"
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
# chdb 3.7.2 is ClickHouse 25.8 LTS; the Kafka engine of chdb 4.x cannot start (its broker pool has size 0).
WHEELS = ["chdb==3.7.2", "lz4==4.4.5", "clickhouse-cityhash==1.0.2.5"]
FETCH_S = 900


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.environ.get("FINGERPOST_STACK_CACHE") or os.path.join(base, "fingerpost-stack"))


def kafka():
    """The folder of Kafka's jars."""
    place = os.path.join(cache(), f"kafka-{KAFKA}")
    with locked(place) as missing:
        if missing:
            need("java", "Java 17 or newer runs Kafka", "openjdk-17-jre-headless")
            need("mvn", "Maven fetches Kafka", "maven")
            say(f"fetching Apache Kafka {KAFKA} from Maven Central")
            with beside(place) as fresh:
                run(["mvn", "-B", "-q", "-f", os.path.join(HERE, "kafka.pom.xml"), f"-Dkafka={KAFKA}",
                     f"{DEPENDENCY_PLUGIN}:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"],
                    f"Apache Kafka {KAFKA} from Maven Central (https://repo.maven.apache.org/maven2)",
                    "a mirror or proxy goes into ~/.m2/settings.xml")
    need("java", "Java 17 or newer runs Kafka", "openjdk-17-jre-headless")
    return place


def clickhouse():
    """The folder of the ClickHouse engine's Python modules."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    place = os.path.join(cache(), f"{WHEELS[0].replace('==', '-')}-{tag}")
    with locked(place) as missing:
        if missing:
            say(f"fetching {', '.join(WHEELS)} from PyPI (850 MB on disk)")
            with beside(place) as fresh:
                # Without dependencies: pandas and pyarrow, 350 MB, serve data frames only.
                run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:",
                     "--no-compile", "--disable-pip-version-check", "--root-user-action=ignore",
                     "--target", fresh, *WHEELS],
                    f"{WHEELS[0]} (the ClickHouse engine) from PyPI (https://pypi.org)",
                    "a mirror or proxy goes into pip.conf or PIP_INDEX_URL; pip itself is Debian's python3-pip")
    return place


def postgres():
    """The folder of PostgreSQL's programs, the newest that is installed."""
    found = postgres_programs()
    if found:
        return found
    with locked(""):
        found = postgres_programs()
        if not found:
            if os.geteuid() != 0 or not shutil.which("apt-get"):
                raise Problem("PostgreSQL is not installed: run `apt-get install postgresql` as root, "
                              "or put initdb and postgres on the PATH")
            say("installing Debian's postgresql")
            quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
            # Debian starts a cluster of its own on port 5432 unless policy-rc.d and createcluster.conf say no.
            os.makedirs("/etc/postgresql-common", exist_ok=True)
            own = "/etc/postgresql-common/createcluster.conf"
            if not os.path.exists(own):
                with open(own, "w", encoding="utf-8") as file:
                    file.write("create_main_cluster = false\n")
            for argv in (["apt-get", "update", "-qq"],
                         ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"]):
                run(argv, "postgresql from Debian's archive", "look at /etc/apt/sources.list and the network", quiet)
            found = postgres_programs()
        if not found:
            raise Problem("PostgreSQL was installed, but neither /usr/lib/postgresql/*/bin nor the PATH has initdb")
    return found


def postgres_programs():
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if found:
        return os.path.dirname(max(found, key=lambda path: int(path.split("/")[4])))
    path = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(path)) if path else None


def need(program, why, package):
    if not shutil.which(program):
        raise Problem(f"`{program}` is missing ({why}): apt-get install {package}")


@contextlib.contextmanager
def locked(place):
    """One fetches, the others wait and find it there: whether the place is still missing. No lock when it is not."""
    if os.path.isdir(place):
        yield False
        return
    os.makedirs(cache(), exist_ok=True)
    with open(os.path.join(cache(), "install.lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another stack is fetching; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield not os.path.isdir(place)


@contextlib.contextmanager
def beside(place):
    fresh = tempfile.mkdtemp(prefix=os.path.basename(place) + ".", dir=os.path.dirname(place))
    try:
        yield fresh
        os.chmod(fresh, 0o755)
        os.rename(fresh, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def run(argv, what, mend, env=None):
    """Runs an installer; its last words become the problem's."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=FETCH_S, env=env, check=False)
    except FileNotFoundError:
        raise Problem(f"cannot fetch {what}: `{argv[0]}` is missing") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"cannot fetch {what}: no end after {FETCH_S} s. To mend: {mend}") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "ERROR" in line or line.startswith("E:")] or lines or ["no output"]
        raise Problem(f"cannot fetch {what}: {telling[0].strip()}. To mend: {mend}; "
                      f"or copy {cache()} from a machine that reaches it")
