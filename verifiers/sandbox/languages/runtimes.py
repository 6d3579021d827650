"""What several languages ask for on account of the virtual machine they share."""

from typing import Any

from verifiers.sandbox.languages.row import GIB

# A heap of three quarters of the limit: else the collector, which looks at the size of the host,
# lets garbage grow until the kernel kills the process.
_HEAP_MIB = 1536

JVM_FLAGS = (f"-Xmx{_HEAP_MIB}m", "-Xss64m", "-XX:+UseSerialGC", "-XX:-UsePerfData")

_RESERVES: dict[str, Any] = {"memory_bytes": 2 * GIB, "address_space_limit": False}

JVM = {
    **_RESERVES,
    "processes": 256,  # threads that compile and collect, more the more cores the host has
    "mounts": tuple(f"/etc/java-{release}-openjdk" for release in (11, 17, 21, 25)),
    "env": (("JAVA_OPTS", " ".join(JVM_FLAGS)),),  # read by the launchers of Kotlin, Scala, Groovy
}

NODE_FLAGS = (f"--max-old-space-size={_HEAP_MIB}",)
# Without namespaces OpenSSL's configuration is there but closed, at which Node gives up.
NODE = {**_RESERVES, "processes": 128, "env": (("OPENSSL_CONF", "/dev/null"),)}

GO = {
    **_RESERVES,
    "processes": 256,
    "env": (
        ("CGO_ENABLED", "0"),
        ("GOMEMLIMIT", f"{_HEAP_MIB}MiB"),
        ("GOPROXY", "off"),
        ("GOTOOLCHAIN", "local"),
    ),
}

MONO = {**_RESERVES, "processes": 128, "mounts": ("/etc/mono",)}

ERLANG = {
    **_RESERVES,
    "processes": 128,
    # One scheduler, or it starts as many threads as there are cores; and no dump of a crash.
    "env": (
        ("ERL_FLAGS", "+S 1:1 +SDcpu 1:1 +SDio 1"),
        ("ERL_CRASH_DUMP_SECONDS", "0"),
    ),
}
