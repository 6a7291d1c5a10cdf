"""The peers: each runs its own shipped code; only the far side, an HTTP endpoint or a callback, is the counted issuer."""

from __future__ import annotations

from benchmarks.contender import Contender
from benchmarks.peers import authlib, aws, azure, caches, databricks, google

PEERS: tuple[Contender, ...] = (
    *caches.CONTENDERS,
    *authlib.CONTENDERS,
    *aws.CONTENDERS,
    *google.CONTENDERS,
    *azure.CONTENDERS,
    *databricks.CONTENDERS,
)
