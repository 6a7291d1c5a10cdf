"""Whether tokens may lie in a directory: in memory, with nobody else who writes or reads it, or could put another there."""

from __future__ import annotations

import os
import stat

_IN_MEMORY = ("tmpfs", "ramfs")


def faults(path: str, *, group: int | None) -> list[str]:
    """Each reason why ``path`` may not hold tokens, with its remedy; none: it may, or may be made.

    It must be a directory of our own in memory that nobody else writes, and nobody reads but members of ``group``. Nobody
    else may be able to put another one in its place: what lies above it belongs to root or us, and is writable by others
    only where the sticky bit keeps them from our files. A volume in memory may be writable by all who mount it, as
    Kubernetes makes an emptyDir: mount it read-only there where tokens are only read.
    """
    if not path.startswith("/") or ".." in path.split("/"):
        return [f"{path!r} is no absolute path without '..': write out where the directory lies"]
    path = os.path.normpath(path)
    parent = path.rpartition("/")[0] or "/"
    found = faults_above(parent)
    try:
        return found + faults_of(path, os.lstat(path), group)
    except FileNotFoundError:
        pass
    except OSError as error:
        return [*found, f"{path} cannot be looked at: {_reason(error)}"]
    try:
        return found + _faults_of_place(path, os.stat(parent).st_dev)  # noqa: PTH116 - names, not paths, are wanted
    except OSError as error:
        remedy = f"create {parent}, or name a directory in one that exists, such as /dev/shm"
        return [*found, f"{path} cannot be made, as there is no {parent} ({_reason(error)}): {remedy}"]


def faults_above(parent: str) -> list[str]:
    """Each reason why somebody else could put another file in the place of one in ``parent``."""
    found = []
    # The names as they are written, among them links; then the directories that these lead to.
    for path in dict.fromkeys([*_ways(parent), *_ways(os.path.realpath(parent))]):
        try:
            status = os.lstat(path)
        except OSError:
            break  # what is missing or barred shows at the directory itself
        if status.st_uid not in (0, os.geteuid()):
            remedy = "name a directory below root's or its own"
            found.append(f"{path} belongs to uid {status.st_uid}, who may replace what is in it by another: {remedy}")
        elif _replaceable(path, status):
            remedy = "take that right away, or set the sticky bit (chmod +t)"
            found.append(f"{path} is writable by others, who may replace what is in it by another: {remedy}")
    return found


def _ways(path: str) -> list[str]:
    names = [name for name in path.split("/") if name]
    return ["/", *("/" + "/".join(names[: count + 1]) for count in range(len(names)))]


def _replaceable(path: str, status: os.stat_result) -> bool:
    mode = status.st_mode
    # The group of root has no other members than root would trust, and OpenShift's images give it rights everywhere.
    by_others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and status.st_gid != 0)
    if not stat.S_ISDIR(mode) or not by_others or mode & stat.S_ISVTX:
        return False
    return not (os.path.ismount(path) and _filesystem(status.st_dev) in _IN_MEMORY)


def faults_of(path: str, status: os.stat_result, group: int | None) -> list[str]:
    """The same for what lies at ``path`` itself, by its status."""
    mode, own = status.st_mode, os.geteuid()
    if stat.S_ISLNK(mode):
        return [f"{path} is a symbolic link: name the directory that it leads to"]
    if not stat.S_ISDIR(mode):
        return [f"{path} is no directory: name one, or a path at which nothing is"]
    found = []
    right = "0700" if group is None else "0750"
    remedy = f"chmod {right} {path}, or name a folder in it, which is made so"
    if status.st_uid != own:
        made = "name a folder in it, which is made the sidecar's own"
        found.append(f"{path} belongs to uid {status.st_uid}, and the sidecar runs as uid {own}: {made}")
    if mode & stat.S_IWOTH:
        found.append(f"{path} is world-writable: {remedy}")
    elif mode & stat.S_IWGRP:
        found.append(f"{path} is group-writable: {remedy}")
    if mode & (stat.S_IROTH | stat.S_IXOTH):
        found.append(f"{path} is world-readable: {remedy}")
    elif mode & (stat.S_IRGRP | stat.S_IXGRP) and status.st_gid != group:
        readers = f"readable by the group {status.st_gid}, which sidecar.readers.group does not name"
        found.append(f"{path} is {readers}: chmod 0700 {path}, or declare the group")
    return found + _faults_of_place(path, status.st_dev)


def _faults_of_place(path: str, device: int) -> list[str]:
    kind = _filesystem(device)
    if kind in _IN_MEMORY:
        return []
    remedy = "use /dev/shm or /run, or in Kubernetes an emptyDir with medium: Memory"
    if kind is None:
        return [f"{path}: whether it lies in memory is told by /proc/self/mountinfo, which needs Linux: {remedy}"]
    return [f"{path} lies on {kind}, and not in memory (tmpfs), so that tokens would reach a disk: {remedy}"]


def _filesystem(device: int) -> str | None:
    """The type of the filesystem with this device number (``st_dev``), as proc_pid_mountinfo(5) lists it."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:  # noqa: PTH123 - a list of the kernel's
            for line in mounts:
                before, _, after = line.partition(" - ")
                if before.split()[2] == wanted:
                    return after.split()[0]
    except (OSError, IndexError):
        return None
    return None


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
