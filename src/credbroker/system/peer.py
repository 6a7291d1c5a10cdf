"""Who is at the other end of a connection on this machine, by the kernel's word alone."""

from __future__ import annotations

import functools
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_Address = IPv4Address | IPv6Address
_Pair = tuple[tuple[_Address, int], tuple[_Address, int]]
"""The two ends of a connection, each an address and a port."""

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h; sock_diag(7) explains them.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
_ID = struct.Struct("!HH16s16s")  # inet_diag_sockid: ports and addresses, in network order; then interface and cookie
_NO_INTERFACE_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2 up to its id: family, protocol, extensions, states
_ANSWER = struct.Struct("=BBBB48s5I")  # inet_diag_msg: family, state, two timers, id, three figures, uid, inode
_ALL_STATES = 0xFFFFFFFF
# Established, FIN_WAIT1 and 2 (it has finished asking, and still listens), CLOSE_WAIT. Of one in another state, a listener
# for one, the uid is not that of whoever has connected.
_CONNECTED = frozenset({1, 4, 5, 8})


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end. ``uid`` is None where the kernel does not tell; over TCP so is ``pid``.

    In a user namespace all users that have no uid there are told as one, 65534 as a rule (user_namespaces(7)). There that
    uid is None as well, as it may be anybody.
    """

    uid: int | None
    pid: int | None
    unix: bool


def peer_of(connected: socket.socket) -> Peer:
    """Whom ``connected``, the accepted end of a connection, is connected to. Never raises; without Linux it knows nobody.

    Unix socket: who called connect(2) (``SO_PEERCRED``, unix(7)). TCP on loopback: whose the socket at the other end is
    (sock_diag(7)), or, where that is refused, ``/proc/net/tcp`` (proc_pid_net(5)). A peer that has closed is nobody: the
    kernel tells a socket without an owner as root's.
    """
    unix = False
    try:
        unix = connected.family == socket.AF_UNIX
        if sys.platform != "linux":
            return Peer(None, None, unix)
        if unix:
            pid, uid, _ = struct.unpack("=iII", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return Peer(_known(uid), pid or None, unix)  # 0: it lives in another PID namespace
        ours, theirs = _end(connected.getsockname()), _end(connected.getpeername())
        return Peer(_known(_uid((theirs, ours), connected)), None, unix)
    except (OSError, ValueError, struct.error):
        return Peer(None, None, unix)


def _known(uid: int | None) -> int | None:
    return None if uid == _anybody() else uid


@functools.cache
def _anybody() -> int | None:
    """The uid that stands for all users without one here; None where every user has one."""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as mapped:  # noqa: PTH123 - a list of the kernel's
            if mapped.read().split() == ["0", "0", "4294967295"]:
                return None
        with open("/proc/sys/kernel/overflowuid", encoding="utf-8") as number:  # noqa: PTH123 - likewise
            return int(number.read())
    except FileNotFoundError:
        return None  # a kernel without user namespaces


def _end(name: tuple[str, int]) -> tuple[_Address, int]:
    return _plain(ip_address(name[0])), name[1]


def _plain(address: _Address) -> _Address:
    # One connection may be IPv6 with a mapped address at one end and IPv4 at the other.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _uid(wanted: _Pair, connected: socket.socket) -> int | None:
    try:
        with _netlink() as asking:
            told = _asked(asking, wanted)
            # Our own end is there. If the kernel does not tell even that, it has no module for this.
            if told is not None or _asked(asking, (wanted[1], wanted[0])) is not None:
                return told
    except OSError:
        pass  # a sandbox may refuse it
    # Unless the connection was reset meanwhile: nobody shall have us read long lists for nothing.
    connected.getpeername()
    return _listed(wanted)


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)


def _asked(asking: socket.socket, wanted: _Pair) -> int | None:
    """The uid of the one socket with these two ends, its own first. Raises ``OSError``."""
    (address, port), (other, other_port) = wanted
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    name = _ID.pack(port, other_port, address.packed.ljust(16, b"\0"), other.packed.ljust(16, b"\0"))
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES) + name + _NO_INTERFACE_NO_COOKIE
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    asking.sendto(head + body, (0, 0))
    # The kernel has answered before sendto returns, so this never waits.
    answer, (sender, _) = asking.recvfrom(4096, socket.MSG_DONTWAIT)
    if sender != 0 or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None  # an error, as a rule ENOENT
    told, state, _, _, found, *_, uid, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    # Where no such connection is left the kernel looks on, and finds somebody's listener at that address.
    if _pair(told, found) != wanted or state not in _CONNECTED or inode == 0:
        return None
    return int(uid)


def _pair(family: int, name: bytes) -> _Pair:
    port, other_port, address, other = _ID.unpack_from(name)
    length = 4 if family == socket.AF_INET else 16
    return (_plain(ip_address(address[:length])), port), (_plain(ip_address(other[:length])), other_port)


def _listed(wanted: _Pair) -> int | None:
    """The same by the lists of all sockets, in both, as an IPv6 socket may speak IPv4."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path, encoding="utf-8") as lines:  # noqa: PTH123 - a list of the kernel's
                uid = _in_list(lines, wanted)
        except OSError:
            continue
        if uid is not None:
            return uid
    return None


def _in_list(lines: Iterable[str], wanted: _Pair) -> int | None:
    ports = [f":{port:04X}" for _, port in wanted]
    for line in lines:
        fields = line.split()
        if len(fields) < 10 or not fields[1].endswith(ports[0]) or not fields[2].endswith(ports[1]):
            continue
        if (_written(fields[1]), _written(fields[2])) == wanted and int(fields[3], 16) in _CONNECTED and fields[9] != "0":
            return int(fields[7])
    return None


def _written(text: str) -> tuple[_Address, int]:
    """An end as the lists have it: the address as words of 32 bits in the machine's byte order, all in hexadecimal."""
    digits, _, port = text.partition(":")
    raw = bytes.fromhex(digits)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return _plain(ip_address(packed)), int(port, 16)


__all__ = ["Peer", "peer_of"]
