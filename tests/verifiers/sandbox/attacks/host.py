"""What the attacks are after: files, ports, processes and shared memory of the host's."""

import contextlib
import ctypes
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

OUTSIDER = 61183
"""The user that the canary process and the unconfined attacks run as when this process is root."""

_CREATE, _REMOVE = 0o1000, 0


@dataclass(frozen=True)
class Host:
    """token: what is in all that may not be reached; it may not turn up in any output.

    told: what an attack is told of the host. inherited: a descriptor on the secret file, open and
    inheritable in this process.
    """

    token: str
    told: dict[str, str | int]
    sleeper: subprocess.Popen
    inherited: int
    connections: list[str] = field(default_factory=list)

    @property
    def argument(self) -> str:
        return json.dumps(self.told)

    def changes(self) -> list[str]:
        """What an attack has done to the host, in words."""
        secret = Path(self.told["secret"])
        found = [f"reached the host's {what}" for what in self.connections]
        if secret.read_text() != self.token or stat.S_IMODE(secret.stat().st_mode) != 0o644:
            found.append("changed the secret file")
        if sorted(os.listdir(secret.parent)) != ["secret", "socket"]:
            found.append(f"left {os.listdir(secret.parent)} in the host's folder")
        if self.sleeper.poll() is not None:
            found.append("killed a process of the host's")
        planted = [Path("/planted"), Path("/usr/planted"), Path("/tmp/.note")]
        return found + [f"planted {path}" for path in planted if path.exists()]

    def daemons(self) -> list[int]:
        """Processes that attacks have left behind."""
        return list(_running(["sleep", self.told["daemon"]]))


def _running(argv: list[str]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                if found[1:2] == argv[1:2] and "sleep" in (found[0], argv[0]):
                    yield int(entry.name)


@contextlib.contextmanager
def host() -> Iterator[Host]:
    token = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="align-host-")))
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text(token)
        secret.chmod(0o644)
        inherited = os.open(secret, os.O_RDONLY)
        stack.callback(os.close, inherited)
        os.set_inheritable(inherited, True)

        stack.enter_context(mock.patch.dict(os.environ, ALIGN_CANARY=token))
        seconds = str(10_000_000 + secrets.randbelow(1_000_000))
        sleeper = subprocess.Popen(["sleep", seconds], **outsider())
        stack.callback(sleeper.wait)
        stack.callback(sleeper.kill)

        connections: list[str] = []
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        abstract = f"align-host-{token[:8]}"
        unix = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for listener, address in zip(unix, (f"\0{abstract}", str(folder / "socket")), strict=True):
            listener.bind(address)
            listener.listen()
        os.chmod(folder / "socket", 0o777)
        for name, listener in (("port", tcp), ("abstract socket", unix[0]), ("socket", unix[1])):
            _answer(listener, name, connections)
        threading.Thread(target=_echo, args=(udp, connections), daemon=True).start()

        key, name = _shared_memory(stack, token)
        told = {
            "secret": str(secret),
            "folder": str(folder),
            "pid": sleeper.pid,
            "sleeper": seconds,
            "daemon": str(20_000_000 + secrets.randbelow(1_000_000)),
            "port": tcp.getsockname()[1],
            "udp_port": udp.getsockname()[1],
            "address": _own_address(),
            "abstract": abstract,
            "unix": str(folder / "socket"),
            "hostname": socket.gethostname(),
            "shm_key": key,
            "shm_name": name,
        }
        yield Host(token, told, sleeper, inherited, connections)


def outsider() -> dict[str, object]:
    """Arguments for subprocess: as an ordinary user, if this process is not one already."""
    if os.geteuid() != 0:
        return {}
    return {"user": OUTSIDER, "group": OUTSIDER, "extra_groups": []}


def _answer(listener: socket.socket, name: str, connections: list[str]) -> None:
    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connections.append(name)
                    connection.sendall(b"hello")

    threading.Thread(target=serve, daemon=True).start()


def _echo(udp: socket.socket, connections: list[str]) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, address = udp.recvfrom(100)
            connections.append("datagram port")
            udp.sendto(data, address)


def _own_address() -> str:
    """The host's address in its network; nothing is sent to find it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return "127.0.0.1"


def _shared_memory(stack: contextlib.ExitStack, token: str) -> tuple[int, str]:
    libc = ctypes.CDLL(None, use_errno=True)
    key, name = int(token[:6], 16), f"align-host-{token[:8]}"
    segment = libc.shmget(key, 4096, _CREATE | 0o666)
    if segment >= 0:
        stack.callback(libc.shmctl, segment, _REMOVE, None)
    path = Path("/dev/shm", name)
    path.write_text(token)
    path.chmod(0o666)
    stack.callback(path.unlink)
    return key, name


def unconfined(host: Host, program: str, timeout_s: float = 20.0) -> str:
    """What a Python program prints with no wall at all, as an ordinary user of the host."""
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    with tempfile.TemporaryDirectory(prefix="align-bare-") as folder:
        source = Path(folder, "main.py")
        source.write_text(program)
        if os.geteuid() == 0:
            for path in (folder, source):
                os.chown(path, OUTSIDER, OUTSIDER)
        done = subprocess.run(
            [python, str(source), host.argument],
            cwd=folder,
            env={**os.environ, "TMPDIR": folder},
            pass_fds=(host.inherited,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            **outsider(),
        )
    return done.stdout + done.stderr
