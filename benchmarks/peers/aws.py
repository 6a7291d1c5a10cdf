"""botocore and what builds on it."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call,misc,attr-defined,unused-ignore"
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks.contender import Call, Contender, Issuer, State

_WINDOW = timedelta(minutes=13)
"""Inside botocore's advisory window of 15 minutes, outside its mandatory one of 10."""
_HOUR = timedelta(hours=1)


def _issued(issuer: Issuer, first: timedelta = _HOUR) -> Callable[[], dict[str, str]]:
    """Answers with keys that live for ``first``, then for an hour."""
    lives = iter([first])

    def refresh() -> dict[str, str]:
        token = issuer()
        ends = datetime.now(UTC) + next(lives, _HOUR)
        return {"access_key": "AKIDBENCH", "secret_key": "secret", "token": token, "expiry_time": ends.isoformat()}

    return refresh


def _botocore(issuer: Issuer, state: State) -> Call:
    from botocore.credentials import DeferredRefreshableCredentials, RefreshableCredentials

    if state is State.COLD:
        return Call(DeferredRefreshableCredentials(_issued(issuer), "bench").get_frozen_credentials)
    ends = datetime.now(UTC) + (_WINDOW if state is State.DUE else _HOUR)
    held = RefreshableCredentials("AKIDBENCH", "secret", "token-0", ends, _issued(issuer), "bench")
    return Call(held.get_frozen_credentials)


def _refresh_session(issuer: Issuer, state: State) -> Call:
    from boto3_refresh_session import RefreshableSession

    session = RefreshableSession(
        method="custom",
        custom_credentials_method=_issued(issuer, _WINDOW if state is State.DUE else _HOUR),
        custom_credentials_method_args={},
        region_name="eu-west-1",
    )
    if state is not State.COLD:
        latency, issuer.latency = issuer.latency, 0.0
        session.refreshable_credentials()
        issuer.latency, issuer.calls = latency, 0
    return Call(session.refreshable_credentials)


def _obstore(issuer: Issuer, _state: State) -> Call:
    """What obstore asks when the value it holds itself has run out."""
    import botocore.session
    from botocore.credentials import RefreshableCredentials
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = botocore.session.Session()
    ends = datetime.now(UTC) + _HOUR
    session._credentials = RefreshableCredentials("AKIDBENCH", "secret", "token-0", ends, _issued(issuer), "bench")
    return Call(Boto3CredentialProvider(session))


_ALL = frozenset(State)
CONTENDERS = (
    Contender("botocore get_frozen_credentials", _botocore, _ALL, "botocore"),
    Contender("boto3-refresh-session refreshable_credentials", _refresh_session, _ALL, "boto3_refresh_session"),
    Contender("obstore Boto3CredentialProvider", _obstore, frozenset({State.WARM}), "obstore"),
)
