"""What this machine has: Debian's jars of ZooKeeper and Curator, and free loopback ports."""

import socket

JAVA = "/usr/share/java"
SERVER_JARS = [
    "zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "metrics-core", "snappy-java", "jackson-core", "jackson-databind",
    "jackson-annotations", "commons-cli", "commons-io", "netty-buffer", "netty-codec", "netty-common", "netty-handler",
    "netty-resolver", "netty-transport", "netty-transport-native-epoll", "netty-transport-native-unix-common",
]
CURATOR_JARS = ["curator-client", "curator-framework", "curator-recipes", "guava"]


def class_path(jars):
    return ":".join(f"{JAVA}/{jar}.jar" for jar in jars)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
