"""``--directory`` and ``--owner``: which sidecar a command asks."""

from __future__ import annotations

from argparse import ArgumentParser

from credbroker.sidecar.directory import DIRECTORY_VARIABLE


def add_directory(parser: ArgumentParser) -> None:
    """Give a command the options, as ``credbroker.sidecar.client.find`` takes them."""
    parser.add_argument(
        "--directory",
        metavar="DIR",
        help=f"where the sidecar keeps its files (default: ${DIRECTORY_VARIABLE}, else $XDG_RUNTIME_DIR/credbroker, else "
        "/dev/shm/credbroker-UID)",  # noqa: S108 - nothing is written there
    )
    parser.add_argument(
        "--owner",
        metavar="UID",
        type=int,
        help="the user that the directory may belong to, beside this one and root",
    )
