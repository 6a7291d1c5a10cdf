"""Asking a running sidecar, as ``credbroker aws-process`` and ``credbroker status`` do.

It takes the standard library alone, and little of that: an SDK starts ``aws-process`` anew for each credential.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from credbroker.errors import (
    AccessDenied,
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.sidecar.directory import DESCRIPTION, DIRECTORY_VARIABLE, SOCKET, default_directory
from credbroker.system.clock import elapsed
from credbroker.system.environment import SystemEnvironment
from credbroker.system.local_http import LocalAnswer, LocalFault, get
from credbroker.system.owned_directory import own_uid, read_owned

TIMEOUT = 5.0
"""Seconds for one question and its whole answer."""
LARGEST_ANSWER = 64 * 1024

_LARGEST_DESCRIPTION = 1024 * 1024
_URL = re.compile(r"http://(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([0-9]{1,5})/?")
_TOKEN = re.compile(r"[!-~]{1,1024}")
_NAME = re.compile(r"[!-.0-~]{1,128}")  # nothing that leads out of the directory, nor out of the request's line
_BY_CODE: dict[str, type[CredbrokerError]] = {
    kind.__name__: kind
    for kind in (
        AccessDenied,
        ConfigurationError,
        CredentialUnavailable,
        InsufficientLifetime,
        IssueDenied,
        IssuerUnavailable,
        MalformedResponse,
        SecretNotFound,
    )
}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A sidecar as its directory describes it. Nothing here is secret, and nothing says that it still runs."""

    directory: str
    owners: frozenset[int]
    """The users whose directory it may be."""
    host: str
    """A loopback IP address."""
    port: int
    bindings: Mapping[str, tuple[str, ...]]
    """The protocols by which each binding is served."""


def find(directory: str | None = None, *, owner: int | None = None) -> Sidecar:
    """The sidecar of ``directory``, else of ``$CREDBROKER_SIDECAR``, else of this user's default directory.

    The directory must belong to this user, to root or to the user ``owner``, and nobody else may be able to write into it:
    in ``/dev/shm`` anybody can make a directory of any name, and serve keys of their own there. Raises
    ``ConfigurationError``.
    """
    environment = SystemEnvironment()
    uid = own_uid()
    where = directory or environment.variable(DIRECTORY_VARIABLE) or default_directory(environment.variable, uid)
    owners = frozenset((0, uid) if owner is None else (0, uid, owner))
    file = f"{where}/{DESCRIPTION}"
    try:
        raw = read_owned(where, DESCRIPTION, owners=owners, largest=_LARGEST_DESCRIPTION)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file}: {_unreadable(error)}") from None
    described = _described(raw)
    if isinstance(described, str):
        raise ConfigurationError(f"{file}: {described}; start the sidecar again, of this release of credbroker")
    host, port, bindings = described
    return Sidecar(where, owners, host, port, bindings)


def ask(sidecar: Sidecar, path: str, token_file: str, *, largest: int = LARGEST_ANSWER) -> tuple[int, bytes]:
    """``GET path``: the status and the body, of at most ``largest`` bytes, within five seconds.

    By the Unix socket of its directory, where the kernel tells the sidecar who asks. Where this user is not let in there, by
    loopback TCP with the token of ``token_file``, which is read anew each time. Raises ``IssuerUnavailable`` where no
    sidecar answers, ``ConfigurationError`` where the token cannot be read.
    """
    found = _asked(sidecar, path, token_file, largest)
    if isinstance(found, CredbrokerError):
        raise found  # from here: the frame below held the token
    return found


def refusal(status: int, body: bytes, what: str, *, hint: str = "") -> CredbrokerError:
    """The error for an answer other than 200. Of the body it tells no more than the name of a class of our own errors."""
    code = _code(body)
    if kind := _BY_CODE.get(code):
        return kind(f"the sidecar does not give {what}: {code}{hint}")
    if status in (401, 403):
        return AccessDenied(
            f"the sidecar does not give {what} to this user: its token is not, or is no longer, the sidecar's, or "
            "sidecar.readers of the platform file does not name the user"
        )
    if status == 404:
        return ConfigurationError(f"the sidecar does not know {what}: start it again, of this release of credbroker")
    if status == 429 or status >= 500:
        return IssuerUnavailable(f"the sidecar cannot give {what} now (HTTP {status}){hint}")
    return MalformedResponse(f"the sidecar answered HTTP {status} when asked for {what}")


def is_name(binding: str) -> bool:
    """Whether the name can be a part of a path."""
    return _NAME.fullmatch(binding) is not None and not binding.startswith(".")


def _asked(sidecar: Sidecar, path: str, token_file: str, largest: int) -> tuple[int, bytes] | CredbrokerError:
    end = elapsed() + TIMEOUT
    host = f"[{sidecar.host}]:{sidecar.port}" if ":" in sidecar.host else f"{sidecar.host}:{sidecar.port}"
    headers = {"Host": host, "Accept": "application/json"}
    # In the directory that was checked, whatever the description says: another container may have it at another path.
    found = get(f"{sidecar.directory}/{SOCKET}", path, headers, timeout=TIMEOUT, largest=largest)
    if isinstance(found, LocalAnswer) and found.status not in (401, 403):
        return found.status, found.body
    # Nobody behind the socket: the sidecar is gone. Its port may be anybody's by now, who would be shown the token.
    if isinstance(found, LocalFault) and (found.connected or found.errno == errno.ECONNREFUSED):
        return _silent(sidecar, found)
    try:
        token = read_owned(sidecar.directory, token_file, owners=sidecar.owners, largest=1024).decode("ascii")
    except (OSError, ValueError) as error:
        if isinstance(found, LocalAnswer):
            return found.status, found.body
        return ConfigurationError(f"{sidecar.directory}/{token_file}: {_unreadable(error)}")
    if not _TOKEN.fullmatch(token):
        return ConfigurationError(f"{sidecar.directory}/{token_file}: holds no token; start the sidecar again")
    headers["Authorization"] = f"Bearer {token}"
    left = max(end - elapsed(), 0.0)
    found = get((sidecar.host, sidecar.port), path, headers, timeout=left, largest=largest)
    return _silent(sidecar, found) if isinstance(found, LocalFault) else (found.status, found.body)


def _silent(sidecar: Sidecar, fault: LocalFault) -> CredbrokerError:
    return IssuerUnavailable(f"the sidecar of {sidecar.directory} does not answer ({fault.reason}): is it still running?")


def _described(raw: bytes) -> tuple[str, int, dict[str, tuple[str, ...]]] | str:
    """Host, port and bindings; or what is wrong with the file."""
    try:
        document = json.loads(raw)
        version, url, bindings = document["version"], document["url"], document["bindings"]
        served = {str(name): tuple(map(str, protocols)) for name, protocols in bindings.items()}
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return "is no description of a sidecar"
    if version != 1:
        return "is of another version"
    parts = _URL.fullmatch(url) if isinstance(url, str) else None
    try:
        if parts is None or not ip_address(parts[1] or parts[2]).is_loopback or not 0 < int(parts[3]) < 65536:
            return "url is no http address of this machine alone"
    except ValueError:
        return "url is no http address of this machine alone"
    return parts[1] or parts[2], int(parts[3]), served


def _code(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    code = document.get("code", document.get("error")) if isinstance(document, dict) else None
    return code if isinstance(code, str) else ""


def _unreadable(error: OSError | ValueError) -> str:
    """Why a file of the directory was not read, and what to do about it."""
    number = error.errno if isinstance(error, OSError) else None
    reason = ((isinstance(error, OSError) and error.strerror) or "its name or content is none").lower()
    if number in (errno.ENOENT, errno.ENOTDIR):
        remedy = f"no sidecar runs there: start one, or name its directory by --directory or ${DIRECTORY_VARIABLE}"
    elif number == errno.ELOOP:
        remedy = "name the directory itself, not a link to it"
    elif number == errno.EACCES:
        remedy = "sidecar.readers in the platform file names the group that may read it"
    elif number == errno.EPERM:
        remedy = "it must be a directory of this user, of root or of --owner UID, into which nobody else can write"
    else:
        remedy = "start the sidecar again"
    return f"cannot be read: {reason}: {remedy}"
