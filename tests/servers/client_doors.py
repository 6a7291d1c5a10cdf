"""Clients with a door each to what they use: what they used is what was seen there, and not what they say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.tally import Passage
from tests.servers.client_process import ClientProcess
from tests.servers.token_gate import Gate

_PATIENCE = 90.0


@dataclass(frozen=True)
class Run:
    """One client. ``used`` are its keys by their public names, or its tokens by a digest; ``refused`` is why, each time."""

    process: ClientProcess
    used: Callable[[], set[str]]
    refused: Callable[[], list[str]]

    def complaint(self) -> str:
        """What to say where it is not as it should be."""
        failed = [operation for operation in self.process.operations if not operation["ok"]]
        told = f"{len(self.used())} used, refused {self.refused()[:3]}, failed {failed[:3]}"
        return f"{told}, exit code {self.process.exit_code}\n{self.process.errors()}"


class Doors:
    """Starts clients, each in a folder of its own below ``folder``; they end with ``running``."""

    def __init__(self, running: ExitStack, folder: Path) -> None:
        self._running = running
        self._folder = folder
        self.runs: dict[str, Run] = {}

    def at_store(self, name: str, endpoint: str, command: list[str], variables: Mapping[str, str]) -> None:
        """Start a client whose requests to an S3 store are all seen, as are the store's answers."""
        door = self._running.enter_context(PacingProxy())
        door.forward_to(endpoint)
        self.by_door(name, door, command, {**variables, "AWS_ENDPOINT_URL_S3": door.url, "AWS_ENDPOINT": door.url})

    def by_door(self, name: str, door: PacingProxy, command: list[str], variables: Mapping[str, str]) -> None:
        """The same by a door that is there, and that the client finds by itself."""
        seen: list[Passage] = []
        self._running.enter_context(door.watch(seen.append))

        def used() -> set[str]:
            return {passage.key_id for passage in list(seen) if passage.status < 400}

        def refused() -> list[str]:
            # Not refused is what is not there: delta-rs looks for a checkpoint.
            return [f"{passage.status} {passage.code}" for passage in list(seen) if passage.status not in {200, 206, 404}]

        self._start(name, command, variables, used, refused)

    def by_token(self, name: str, gate: Gate, command: list[str], variables: Mapping[str, str]) -> None:
        """Start a client whose tokens ``gate`` judges."""
        self._start(name, command, variables, lambda: set(gate.admitted), lambda: list(gate.refused))

    def _start(
        self,
        name: str,
        command: list[str],
        variables: Mapping[str, str],
        used: Callable[[], set[str]],
        refused: Callable[[], list[str]],
    ) -> None:
        own = self._folder / name
        own.mkdir()
        process = ClientProcess(command, variables, own)
        self._running.callback(process.end)
        self.runs[name] = Run(process, used, refused)

    def wait(self, rotations: int, but: str) -> None:
        """Until each has gone through so many rotations, or has ended; it is ended then. ``but`` is not waited for.

        After 90 s all are ended.
        """
        left = {name: run for name, run in self.runs.items() if name != but}
        poll = threading.Event()
        for _ in range(int(_PATIENCE / 0.1)):
            for name, run in list(left.items()):
                if len(run.used()) > rotations or not run.process.is_running:
                    left.pop(name).process.end()
            if not left:
                break
            poll.wait(0.1)
        for run in self.runs.values():
            run.process.end()
