"""Free loopback ports for a server that is told its ports on its command line."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

GRPC_OFFSET = 10_000
"""SeaweedFS serves gRPC at the HTTP port plus this, and parts of it take that for granted whatever the flags say."""

# Below the range from which the kernel takes the ports of outgoing connections (32768 and up on Linux), with the offset too.
_LOWEST, _HIGHEST = 12_000, 22_000
_TRIES = 2_000


@contextmanager
def reserved_ports(count: int) -> Iterator[tuple[int, ...]]:
    """Hold ``count`` ports, each free together with its gRPC twin, until the block ends; start the server right after.

    They are drawn at random, so that two starts at once rarely meet; who loses that race sees the server fail and
    draws again. Raises ``OSError`` where the machine has no such ports left.
    """
    draw = random.SystemRandom()
    with ExitStack() as held:
        ports: list[int] = []
        for _ in range(_TRIES):
            if len(ports) == count:
                break
            port = draw.randrange(_LOWEST, _HIGHEST)
            with ExitStack() as pair:
                try:
                    for number in (port, port + GRPC_OFFSET):
                        pair.enter_context(socket.socket()).bind(("127.0.0.1", number))
                except OSError:
                    continue
                held.push(pair.pop_all())
                ports.append(port)
        if len(ports) < count:
            raise OSError("no free loopback ports")
        yield tuple(ports)
