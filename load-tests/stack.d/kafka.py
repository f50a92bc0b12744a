"""Kafka: one node in KRaft mode, broker and controller in one JVM, made to start fast and to be killed often."""

import base64
import os
import shutil
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
# After a kill the controller takes the broker back when the session of its former life is over: 2 s, not the default 9.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}{sasl_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain}{sasl_listener}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
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

SASL_PROPERTIES = """\
sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
"""


def create(home, options):
    """Draws ports, writes the properties and formats the log folder; what the outside is told."""
    plain, controller, sasl = ports.free(3)
    text = PROPERTIES.format(
        plain=plain, controller=controller, data=os.path.join(home, "data"),
        sasl_listener=f",SASL_PLAINTEXT://127.0.0.1:{sasl}" if options.sasl else "")
    known = {"brokers": f"127.0.0.1:{plain}"}
    scram = []
    if options.sasl:
        text += SASL_PROPERTIES.format(user=SASL_USER, password=SASL_PASSWORD)
        known |= {"sasl_brokers": f"127.0.0.1:{sasl}", "sasl_user": SASL_USER, "sasl_password": SASL_PASSWORD}
        scram = ["--add-scram", f"SCRAM-SHA-256=[name={SASL_USER},password={SASL_PASSWORD}]"]
    properties = os.path.join(home, "server.properties")
    with open(properties, "w", encoding="utf-8") as file:
        file.write(text)
    shutil.rmtree(os.path.join(home, "data"), ignore_errors=True)
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run([*java(home), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties, *scram],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode != 0:
        raise Problem(f"Kafka's StorageTool cannot format {home}: {(done.stderr or done.stdout).strip()}")
    return known


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
