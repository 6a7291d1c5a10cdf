"""The two sockets that the sidecar listens on, which nobody reaches from another machine."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from credbroker.errors import ConfigurationError
from credbroker.system.memory_folder import Folder

LONGEST_PATH = 107
"""Bytes of a Unix socket's path: ``sun_path`` has 108 with the NUL that ends it (unix(7))."""
_BACKLOG = 1024


def tcp(host: str, port: int) -> socket.socket:
    """A non-blocking listener at a loopback address, which is written out: a name may come to mean another one. Port 0: any.

    Raises ``ConfigurationError`` for any other address, and where the port cannot be had.
    """
    family = _loopback_family(host)
    if family is None:
        remedy = "use 127.0.0.1 or ::1: whoever reached it from elsewhere would get credentials"
        raise ConfigurationError(f"sidecar.listen: {host!r} is no loopback address: {remedy}")
    listener = socket.socket(family, socket.SOCK_STREAM)  # Python closes it on exec
    try:
        # A restart does not wait for the connections of the one before to fade. On Linux no one shares a port by this.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # At once: two sockets may be bound to one port until one of them listens.
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"sidecar.listen: {_without_port(port, error)}") from None
    return listener


def unix(folder: Folder, name: str) -> socket.socket:
    """A non-blocking listener of that name in the folder. One that a crash has left there is replaced.

    0600, or with a group 0660 and the group's: to connect needs the right to write. Each peer's uid is checked as well; the
    mode is a second wall, as is the folder's own. Readers that are declared by uid alone use TCP and a token.

    Raises ``ConfigurationError``: a path over 107 bytes, something else at that place, a sidecar that answers there.
    """
    path = f"{folder.path}/{name}"
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        limit = f"a Unix socket's path has at most {LONGEST_PATH}"
        raise ConfigurationError(f"sidecar.directory: {path} has {length} bytes, and {limit}: name a shorter directory")
    _remove_stale(folder, name)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        # By the folder that is held open, so that it is known to lie there. Until it listens, nobody can connect.
        if folder.group is not None:
            os.chown(name, -1, folder.group, dir_fd=folder.fileno())
        os.chmod(name, 0o600 if folder.group is None else 0o660, dir_fd=folder.fileno())
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"{path} cannot be listened at: {(error.strerror or '').lower()}") from None
    return listener


def _loopback_family(host: str) -> socket.AddressFamily | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    # A mapped address (::ffff:127.0.0.1) is left out: what would be bound is another family than the one that is written.
    if not address.is_loopback or getattr(address, "ipv4_mapped", None) is not None:
        return None
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _without_port(port: int, error: OSError) -> str:
    another = "set sidecar.listen to another port, or to port 0 for any free one"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: stop what listens there, or {another}"
    if error.errno == errno.EACCES:
        return f"port {port} needs a right that the sidecar does not have: {another}"
    return f"port {port} cannot be had ({(error.strerror or '').lower()}): {another}"


def _remove_stale(folder: Folder, name: str) -> None:
    path = f"{folder.path}/{name}"
    try:
        status = os.stat(name, dir_fd=folder.fileno(), follow_symlinks=False)
    except OSError:
        return  # there is none; anything else shows when it is bound
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigurationError(f"{path} is there, and no socket of ours: remove it, or name another directory")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        answer = asking.connect_ex(path)
    if answer != errno.ECONNREFUSED:
        raise ConfigurationError(f"another sidecar answers at {path}: stop that one, or name another directory")
    folder.remove(name)


def close_inherited(listeners: Iterable[socket.socket]) -> None:
    """In a forked child: close them, and each connection that they have accepted.

    A connection may have been accepted a moment before the fork, and be known to nobody yet: it is found by its own end,
    which is the listener's address.
    """
    held = [listener for listener in listeners if listener.fileno() >= 0]
    own = [listener.getsockname() for listener in held]
    for listener in held:
        listener.close()
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        try:
            found = socket.socket(fileno=descriptor)
        except OSError:  # no socket
            continue
        try:
            accepted = found.getsockname() in own
        except OSError:
            accepted = False
        finally:
            found.detach()
        if accepted:
            os.close(descriptor)
