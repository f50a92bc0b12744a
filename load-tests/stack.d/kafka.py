"""Kafka: one node in KRaft mode, broker and controller in one JVM, made to start fast and to be killed often."""

import base64
import os
import subprocess
import uuid

import install
import kafka_wire
import ports
import process
from problem import Problem

NAME = "kafka"
PATIENCE_S = 120
SASL_USER, SASL_PASSWORD = "fingerpost", "secret"

# Small and single: internal topics on one replica with few partitions, no wait for more members at a group's first join.
# A member of a group may be dead after a second already: programs that kill loaders have no 10 s to wait for each.
# After a kill the controller takes the broker back when the session of its former life is over: 2 s, not the default 9.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs={data}
auto.create.topics.enable=false
delete.topic.enable=true
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=400
broker.session.timeout.ms=2000
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=8388608
log.segment.bytes=134217728
controlled.shutdown.enable=false
"""

# For each listener that wants SASL. OAUTHBEARER takes unsecured tokens: Kafka's own validator for development.
SASL_PROPERTIES = """\
listener.name.{name}.sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN,OAUTHBEARER
listener.name.{name}.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.{name}.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.{name}.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{user}";
"""

TLS_PROPERTIES = """\
ssl.keystore.type=PEM
ssl.keystore.location={home}/tls.pem
"""


def create(home, options):
    """Draws ports, writes the properties and formats the log folder; what the outside is told."""
    wanted = [("PLAINTEXT", "brokers", True), ("SSL", "tls_brokers", options.tls),
              ("SASL_PLAINTEXT", "sasl_brokers", options.sasl),
              ("SASL_SSL", "sasl_tls_brokers", options.sasl and options.tls)]
    wanted = [(name, key) for name, key, yes in wanted if yes]
    controller, *drawn = ports.free(1 + len(wanted))
    known = {key: f"127.0.0.1:{port}" for (_, key), port in zip(wanted, drawn)}
    text = PROPERTIES.format(controller=controller, data=os.path.join(home, "data"),
                             listeners=",".join(f"{name}://{known[key]}" for name, key in wanted))
    scram = []
    if options.tls:
        known["tls_ca"] = certificate(home)
        text += TLS_PROPERTIES.format(home=home)
    if options.sasl:
        known |= {"sasl_user": SASL_USER, "sasl_password": SASL_PASSWORD}
        scram = ["--add-scram", f"SCRAM-SHA-256=[name={SASL_USER},password={SASL_PASSWORD}]"]
        for name, _ in wanted:
            if name.startswith("SASL"):
                text += SASL_PROPERTIES.format(name=name.lower(), user=SASL_USER, password=SASL_PASSWORD)
    properties = os.path.join(home, "server.properties")
    with open(properties, "w", encoding="utf-8") as file:
        file.write(text)
    # An id that began with "-" would be taken for an option: the first byte is zero, so it begins with "A".
    cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    run([*java(home), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties, *scram],
        f"Kafka's StorageTool cannot format {home}")
    return known


def certificate(home):
    """A certificate for 127.0.0.1 that vouches for itself; its path. The broker reads it with its key from tls.pem."""
    install.need("openssl", "it makes Kafka's certificate", "openssl")
    key, own = os.path.join(home, "key.pem"), os.path.join(home, "ca.pem")
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", own],
        "openssl cannot make a certificate")
    with open(os.path.join(home, "tls.pem"), "w", encoding="utf-8") as both:
        for path in (key, own):
            with open(path, encoding="utf-8") as file:
                both.write(file.read())
    return own


def run(argv, problem):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode != 0:
        raise Problem(f"{problem}: {(done.stderr or done.stdout).strip()}")


def java(home):
    # C1 only, the serial collector and shared classes: 2 s from nothing to a broker that answers.
    return ["java", "-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={os.path.join(install.HERE, 'kafka.log4j2.properties')}",
            f"-XX:ErrorFile={os.path.join(home, 'hs_err.log')}", "-cp", os.path.join(install.kafka(), "*")]


def launch(home, _known):
    # A killed broker leaves its lock file; the lock itself went with the process.
    return process.spawn([*java(home), "kafka.Kafka", os.path.join(home, "server.properties")],
                         os.path.join(home, "log"), cwd=home)


def ready(known):
    """Raises while the broker does not answer; a topic must be makeable, which the controller decides."""
    kafka_wire.create_topics(port(known), [("fingerpost-stack-probe", 1, {})], seconds=5, validate_only=True)


def port(known):
    return int(known["brokers"].rpartition(":")[2])


def stop(pid, birth):
    return process.stop(pid, birth)
