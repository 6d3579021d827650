"""Attacks on the network, and on what else leads to other processes of the host's."""

from .attack import OK, Attack

_FEW_SOCKETS = "seccomp leaves no IP sockets at all, not even for the loopback"

NETWORK = (
    Attack(
        55,
        "connect to the host's loopback",
        """
refused("tcp", socket.create_connection, ("127.0.0.1", HOST["port"]), 2)
refused("v6", socket.create_connection, ("::1", HOST["port"]), 2)
def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect(("127.0.0.1", HOST["udp_port"]))
        s.send(b"hello")
        return s.recv(10)
refused("udp", datagram)
""",
        bare=True,
    ),
    Attack(
        56,
        "connect to the world",
        """
for address in ("1.1.1.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", HOST["address"]):
    for port in (80, HOST["port"]):
        try:
            socket.create_connection((address, port), 0.3)
            breach(address)
        except TimeoutError:
            breach(f"packets to {address} are sent")
        except OSError as error:
            print("refused", address, error)
""",
        bare=True,
    ),
    Attack(
        57,
        "look up a name",
        """
refused("getaddrinfo", socket.getaddrinfo, "example.org", 80)
def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(bytes(12), ("8.8.8.8", 53))
refused("datagram", ask)
""",
    ),
    Attack(
        58,
        "the host's Unix sockets",
        """
def connect(address):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(2)
        s.connect(address)
        return s.recv(20)
refused("abstract", connect, "\\0" + HOST["abstract"])
refused("in the file system", connect, HOST["unix"])
""",
        bare=True,
        level_1="Landlock does not know sockets in the file system",
    ),
    Attack(
        59,
        "virtual machine sockets",
        """
AF_VSOCK = 40
refused("it", socket.socket, AF_VSOCK, socket.SOCK_STREAM)
""",
        bare=True,
    ),
    Attack(
        60,
        "netlink, packet and crypto sockets",
        """
kinds = {"netlink": (16, 3, 0), "packet": (17, 3, 0), "alg": (38, 5, 0), "raw": (2, 3, 1),
         "bluetooth": (31, 3, 1), "can": (29, 3, 1), "rds": (21, 5, 0), "tipc": (30, 5, 0),
         "xdp": (44, 3, 0), "key": (15, 3, 2)}
for name, arguments in kinds.items():
    refused(name, socket.socket, *arguments)
""",
        bare=True,
    ),
    Attack(
        61,
        "the program's own loopback, which works",
        """
with socket.create_server(("127.0.0.1", 0)) as server:
    client = socket.create_connection(server.getsockname())
    client.sendall(b"hello")
    assert server.accept()[0].recv(5) == b"hello"
""",
        OK,
        level_1=_FEW_SOCKETS,
    ),
    Attack(
        70,
        "push characters into the terminal",
        """
import fcntl, termios
for fd in (0, 1, 2):
    refused(f"TIOCSTI {fd}", fcntl.ioctl, fd, termios.TIOCSTI, b"x")
refused("terminal", os.open, "/dev/tty", os.O_RDWR)
refused("TIOCLINUX", fcntl.ioctl, 0, 0x541C, b"\\x02")
""",
    ),
    Attack(
        110,
        "interfaces other than the own loopback",
        """
try:
    names = [name for _, name in socket.if_nameindex()]
except OSError:
    with open("/proc/net/dev") as lines:
        names = [line.split(":")[0].strip() for line in lines if ":" in line]
others = [name for name in names if name != "lo"]
if others:
    breach(others)
""",
        bare=True,
        level_1="the network namespace is the host's; its names can be read in /proc/net",
    ),
)
