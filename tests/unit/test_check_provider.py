"""The conformance suite passes what keeps the contract, and each of its checks finds what it is there to find."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import testing
from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, S3Credentials
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.profile import Profile
from credbroker.providers import Grant, Provider, Revocation
from credbroker.providers.iam_role import IamRoleProvider
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.providers.requirements import misconfigured, need, settings
from credbroker.providers.static import StaticProvider
from credbroker.request import CredentialRequest
from credbroker.secrets.backend import Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.testing import CheckReport, answer, check_backend, check_provider, of_answers, of_issue, of_plan
from credbroker.testing.conformance import RULES
from credbroker.wire.expiry import retry_after

KEY = "canary-key-0123456789"
LOGIN = "canary-login-0123456789"
TOKEN = "canary-token-0123456789"
LIFE = timedelta(seconds=900)
CONFIG: dict[str, Any] = {
    "plugins": ["mine"],
    "catalogs": {
        "lake": {
            "uri": "https://c.example",
            "credentials": {"mode": "mine", "secret_ref": "key", "service": "https://mine.example", "scope": "a"},
        }
    },
}


def issuer(request: HttpRequest, now: datetime) -> HttpResponse:
    assert request.url == "https://mine.example"
    return answer({"token": TOKEN, "seconds": 900, "scopes": ["a"]})


def _checked(
    make: Callable[[], Provider], answers: Callable[[HttpRequest, datetime], HttpResponse] | None = issuer
) -> CheckReport:
    return check_provider(make, config=CONFIG, kind="catalog", name="lake", secrets={"key": KEY}, answers=answers)


class Good:
    """Keeps the contract; each step of it may be broken by a subclass."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        need(profile, "secret_ref")
        if not isinstance(settings(profile).options.get("service"), str) or not settings(profile).options["service"]:
            raise misconfigured(profile, "credentials.service", "is missing")
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> Any:
        self.plan(request, context.profile)
        value = self.read(self.ask(self.key(context), context), request, context)
        if isinstance(value, CredbrokerError):
            raise value
        return value

    def revoke(self, value: Any, request: CredentialRequest, context: Context) -> Revocation:
        response = context.send(self.message(value.value, context))
        if response.status != 200:
            raise self.refused(response)
        return Revocation(revoked=True, reason="taken back")

    def key(self, context: Context) -> SecretStr:
        reference = settings(context.profile).secret_ref
        assert reference is not None
        return context.secrets.resolve(reference)

    def message(self, key: SecretStr, context: Context) -> HttpRequest:
        url = str(settings(context.profile).options["service"])
        return HttpRequest("POST", url, {"authorization": key.get_secret_value()}, b"{}")

    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        return context.send(self.message(key, context))

    def refused(self, response: HttpResponse) -> CredbrokerError:
        if response.status == 429 or response.status >= 500:
            return IssuerUnavailable(
                "later", retry_after=retry_after(response.headers.get("retry-after"), response.received)
            )
        return IssueDenied("no") if response.status in (401, 403) else MalformedResponse("what?")

    def read(self, response: HttpResponse, request: CredentialRequest, context: Context) -> Any:
        if response.status != 200:
            return self.refused(response)
        found = self.parsed(response)
        if found is None:
            return MalformedResponse("no token")
        token, seconds, scopes = found
        return self.made(token, timedelta(seconds=seconds), scopes, response, context)

    def parsed(self, response: HttpResponse) -> tuple[str, int, frozenset[str]] | None:
        try:
            said = json.loads(response.body)
            token, seconds, scopes = said["token"], said["seconds"], said.get("scopes", [])
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return None
        fits = isinstance(token, str) and token.isascii() and token.isprintable() and token and " " not in token
        lives = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds < 10**6
        named = isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)
        return (token, seconds, frozenset(scopes)) if fits and lives and named else None

    def made(
        self, token: str, life: timedelta, scopes: frozenset[str], response: HttpResponse, context: Context
    ) -> AccessToken:
        return AccessToken(SecretStr(token), scopes=scopes & {"a"}, expires_at=response.sent + life)


# ------------------------------------------------------------------------------------------- what keeps the contract


def test_a_provider_that_keeps_the_contract_passes_every_check() -> None:
    report = _checked(Good)
    assert report.passed == tuple(check.name for check in (*of_plan.CHECKS, *of_issue.CHECKS, *of_answers.CHECKS))
    assert report.left_out == ()


def _token_endpoint(request: HttpRequest, now: datetime) -> HttpResponse:
    return answer({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 900})


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_oauth2_keeps_the_contract(method: str) -> None:
    credentials = {
        "mode": "oauth2",
        "client_id": "svc",
        "client_secret": {"secret_ref": "key", "next": "key-next"},
        "token_endpoint_auth_method": method,
    }
    config = {"catalogs": {"lake": {"uri": "https://c.example/api", "credentials": credentials}}}
    report = check_provider(
        OAuth2Provider,
        config=config,
        kind="catalog",
        name="lake",
        secrets={"key": KEY, "key-next": f"{KEY}-next"},
        answers=_token_endpoint,
    )
    assert "plan refuses settings of another type: the mode has no keys of its own" in report.left_out
    assert {one.partition(":")[0] for one in report.left_out} <= {
        "plan refuses settings of another type",
        "revoke says what it could not do",
    }


def test_static_keeps_the_contract_and_asks_nobody() -> None:
    config = {"catalogs": {"lake": {"uri": "https://c.example", "credentials": {"mode": "static", "secret_ref": "key"}}}}
    report = check_provider(StaticProvider, config=config, kind="catalog", name="lake", secrets={"key": KEY})
    assert "issue asks once: it asks nobody" in report.left_out
    assert "issue uses a rotated secret" in report.passed


def _sts(request: HttpRequest, now: datetime) -> HttpResponse:
    end = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return answer(
        f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>ASIAMADEUP</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>
        <SessionToken>canary-session</SessionToken><Expiration>{end}</Expiration>
        </Credentials></AssumeRoleResult></AssumeRoleResponse>""".encode()
    )


def test_iam_role_keeps_the_contract() -> None:
    role = {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/P", "credential_source": "environment"}
    config = {"storage": {"lake": {"region": "eu-west-1", "locations": ["s3://lake/a/"], "credentials": role}}}
    report = check_provider(
        IamRoleProvider,
        config=config,
        kind="storage",
        name="lake",
        secrets={},
        answers=_sts,
        variables={"AWS_ACCESS_KEY_ID": "AKIAMADEUP", "AWS_SECRET_ACCESS_KEY": "canary-base"},
    )
    assert "no error shows a secret" in report.passed
    assert [one.partition(":")[0] for one in report.left_out] == [
        "plan refuses settings of another type",
        "issue uses a rotated secret",
        "issue lets an absent secret be known",
        "revoke says what it could not do",
    ]


# --------------------------------------------------------------------------------------------------- what breaks it

_HELD: list[object] = []
_LOCK = threading.Lock()
_LOG = logging.getLogger("mine")


class ReadsAVariable(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        os.environ.get("MINE")
        return super().plan(request, profile)


class PlansNothing(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        super().plan(request, profile)
        return None  # type: ignore[return-value]


class PlansDifferently(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        super().plan(request, profile)
        return Grant(policy={"at": object()})


class AcceptsAnything(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return Grant()


class LacksItsKey(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        assert settings(profile).options["service"]
        return super().plan(request, profile)


class NamesNoKey(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        try:
            return super().plan(request, profile)
        except ConfigurationError:
            raise ConfigurationError("something is wrong") from None


class TrustsTypes(Good):
    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        need(profile, "secret_ref")
        if not settings(profile).options.get("service"):
            raise misconfigured(profile, "credentials.service", "is missing")
        settings(profile).options["service"].startswith("https://")  # type: ignore[attr-defined]
        return Grant()


class ReturnsKeys(Good):
    def issue(self, request: CredentialRequest, context: Context) -> Any:
        token = super().issue(request, context)
        return S3Credentials("id", token.value, expires_at=token.expires_at)


class ReturnsWhatIsOver(Good):
    def issue(self, request: CredentialRequest, context: Context) -> Any:
        return replace(super().issue(request, context), expires_at=context.clock.now() - LIFE)


class ClaimsMore(Good):
    def issue(self, request: CredentialRequest, context: Context) -> Any:
        return replace(super().issue(request, context), scopes=frozenset({"a", "everything"}))


class Caches(Good):
    def __init__(self) -> None:
        self.value: Any = None

    def issue(self, request: CredentialRequest, context: Context) -> Any:
        self.value = self.value or super().issue(request, context)
        return self.value


class KeepsItsSecret(Good):
    def __init__(self) -> None:
        self.held: SecretStr | None = None

    def key(self, context: Context) -> SecretStr:
        self.held = self.held or super().key(context)
        return self.held


class KeepsItInItsModule(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        _HELD[:] = [super().ask(key, context)]
        return _HELD[0]  # type: ignore[return-value]


class KeepsItInItsClass(Good):
    last: dict[str, str] = {}

    def key(self, context: Context) -> SecretStr:
        key = super().key(context)
        self.last["key"] = key.get_secret_value()
        return key


@functools.lru_cache
def _revealed(key: SecretStr) -> SecretStr:
    return SecretStr(f"Bearer {key.get_secret_value()}")


class KeepsItInACache(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        return super().ask(_revealed(key), context)


class ReadsAnotherClock(Good):
    def made(self, token: str, life: timedelta, scopes: frozenset[str], response: HttpResponse, context: Context) -> Any:
        return AccessToken(SecretStr(token), expires_at=datetime.now(UTC) + life)


class CountsFromTheAnswer(Good):
    def made(self, token: str, life: timedelta, scopes: frozenset[str], response: HttpResponse, context: Context) -> Any:
        return AccessToken(SecretStr(token), expires_at=context.clock.now() + life)


class SendsPastTheContext(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        return context.http.send(self.message(key, context), timeout=5)


class WaitsAsLongAsItLikes(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        return context.http.send(self.message(key, context), timeout=30, on_connection=context.on_connection)


class AllowsPlainHttp(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        message = self.message(key, context)
        return context.http.send(message, timeout=5, allow_insecure=True, on_connection=context.on_connection)


class OpensAFile(Good):
    def key(self, context: Context) -> SecretStr:
        assert not Path("/absent/secret").exists() or Path("/absent/secret").read_text()
        try:
            Path("/absent/secret").read_text()
        except OSError:
            return super().key(context)
        raise AssertionError


class OpensASocket(Good):
    def key(self, context: Context) -> SecretStr:
        with socket.socket() as one:
            one.connect_ex(("127.0.0.1", 9))
        return super().key(context)


class GoesOnWithoutItsSecret(Good):
    def key(self, context: Context) -> SecretStr:
        try:
            return super().key(context)
        except SecretNotFound:
            return SecretStr("anonymous")


class Prints(Good):
    def key(self, context: Context) -> SecretStr:
        key = super().key(context)
        print(key.get_secret_value())  # noqa: T201 - what is broken here
        return key


class Logs(Good):
    def made(self, token: str, life: timedelta, scopes: frozenset[str], response: HttpResponse, context: Context) -> Any:
        _LOG.debug("got %s", token)
        return super().made(token, life, scopes, response, context)


class Warns(Good):
    def key(self, context: Context) -> SecretStr:
        key = super().key(context)
        warnings.warn(key.get_secret_value(), stacklevel=1)
        return key


class EndsEndlessly(Good):
    """Returns what was over from the start: a broker cannot hold it."""

    def issue(self, request: CredentialRequest, context: Context) -> Any:
        value = super().issue(request, context)
        return replace(value, expires_at=datetime(2026, 1, 1, 0, 15, tzinfo=UTC))


class TakesALock(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        with _LOCK:
            return super().ask(key, context)


class MixesCalls(Good):
    def __init__(self) -> None:
        self.clock: Any = None

    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        self.clock = context.clock
        return super().ask(key, context)

    def made(self, token: str, life: timedelta, scopes: frozenset[str], response: HttpResponse, context: Context) -> Any:
        return AccessToken(SecretStr(token), expires_at=self.clock.now() + life)


class Retries(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        try:
            response = super().ask(key, context)
        except IssuerUnavailable:
            return super().ask(key, context)
        return super().ask(key, context) if response.status >= 500 else response


class CallsItMalformed(Good):
    def refused(self, response: HttpResponse) -> CredbrokerError:
        return IssueDenied("no") if response.status in (401, 403) else MalformedResponse("what?")


class ForgetsToWait(Good):
    def refused(self, response: HttpResponse) -> CredbrokerError:
        error = super().refused(response)
        error.retry_after = None
        return error


class CallsItDown(Good):
    def refused(self, response: HttpResponse) -> CredbrokerError:
        return IssuerUnavailable("later", retry_after=timedelta(seconds=7))


class WithdrawsTheGrant(Good):
    def refused(self, response: HttpResponse) -> CredbrokerError:
        error = super().refused(response)
        return IssueDenied("no", grant_denied=True) if isinstance(error, IssueDenied) else error


class SwallowsTheTransport(Good):
    def ask(self, key: SecretStr, context: Context) -> HttpResponse:
        try:
            return super().ask(key, context)
        except CredbrokerError as error:
            raise IssuerUnavailable(error.message, retry_after=error.retry_after) from None


class LetsItBurst(Good):
    def parsed(self, response: HttpResponse) -> Any:
        said = json.loads(response.body)
        return said["token"], said["seconds"], frozenset(said["scopes"])


class TakesAnyLife(Good):
    def parsed(self, response: HttpResponse) -> Any:
        try:
            said = json.loads(response.body)
            return str(said["token"]), int(said["seconds"]), frozenset(said["scopes"])
        except (ValueError, RecursionError, TypeError, KeyError):
            return None


class TakesAnyToken(Good):
    def parsed(self, response: HttpResponse) -> Any:
        found = super().parsed(response)
        if found is None:
            try:
                said = json.loads(response.body)
            except (ValueError, RecursionError):
                return None
            token = said.get("token") if isinstance(said, dict) else None
            return (token, 900, frozenset()) if isinstance(token, str) and token.startswith("canary\r") else None
        return found


class TellsTheBody(Good):
    def refused(self, response: HttpResponse) -> CredbrokerError:
        error = super().refused(response)
        return error.saying(f"{error.message}: {response.body.decode()}")


class RaisesOverTheBody(Good):
    def refused(self, response: HttpResponse) -> CredbrokerError:
        body = response.body.decode()
        raise super().refused(replace(response, body=body[:0].encode()))


class ChainsTheBody(Good):
    def parsed(self, response: HttpResponse) -> Any:
        try:
            return super().parsed(response) or json.loads(b"-" + response.body)
        except (ValueError, RecursionError) as error:
            raise MalformedResponse("no token") from error


class RevokesBlindly(Good):
    def revoke(self, value: Any, request: CredentialRequest, context: Context) -> Revocation:
        context.send(self.message(value.value, context))
        return Revocation(revoked=True, reason="surely")


class RevokesByALocal(Good):
    def revoke(self, value: Any, request: CredentialRequest, context: Context) -> Revocation:
        headers = {"authorization": value.authorization_header()}
        context.send(HttpRequest("DELETE", "https://mine.example", headers))
        return Revocation(revoked=False, reason="unsure")


class HasATellingRepr(Caches):
    def __repr__(self) -> str:
        return f"<mine {self.value and self.value.value.get_secret_value()}>"


@dataclass(frozen=True)
class Broken:
    make: Callable[[], Provider]
    check: str
    said: str


BROKEN = [
    Broken(ReadsAVariable, "plan is pure", "the variable 'MINE'"),
    Broken(PlansNothing, "plan is pure", "it returned NoneType, not a Grant"),
    Broken(PlansDifferently, "plan is pure", "two calls gave two plans"),
    Broken(AcceptsAnything, "plan refuses settings that are missing", "it accepts a profile without any of its settings"),
    Broken(LacksItsKey, "plan refuses settings that are missing", "without 'service' it raised KeyError"),
    Broken(NamesNoKey, "plan refuses settings that are missing", "does not name the key"),
    Broken(TrustsTypes, "plan refuses settings of another type", "with 17 as 'service' it raised AttributeError"),
    Broken(ReturnsKeys, "issue returns what was asked for", "it returned S3Credentials; for catalog it is AccessToken"),
    Broken(ReturnsWhatIsOver, "issue returns what was asked for", "that is still to come"),
    Broken(ClaimsMore, "issue returns what was asked for", "it claims more than was asked"),
    Broken(Caches, "issue asks anew each time", "the first issue sent 1 request(s), the second 0"),
    Broken(KeepsItsSecret, "issue uses a rotated secret", "did not resolve the secret again"),
    Broken(KeepsItInItsModule, "issue keeps nothing", "after an issue it, its class or its module holds"),
    Broken(KeepsItInItsClass, "issue keeps nothing", "after an issue it, its class or its module holds"),
    Broken(KeepsItInACache, "issue keeps nothing", "after an issue it, its class or its module holds"),
    Broken(ReadsAnotherClock, "issue counts by the context's clock", "it reads another clock"),
    Broken(CountsFromTheAnswer, "issue counts by the context's clock", "count from HttpResponse.sent"),
    Broken(SendsPastTheContext, "issue sends by the context", "past context.send"),
    Broken(WaitsAsLongAsItLikes, "issue sends by the context", "it gave a request 30 s"),
    Broken(AllowsPlainHttp, "issue sends by the context", "it sets allow_insecure by itself"),
    Broken(OpensAFile, "issue touches nothing but the context", "the file '/absent/secret'"),
    Broken(OpensASocket, "issue touches nothing but the context", "a socket"),
    Broken(GoesOnWithoutItsSecret, "issue lets an absent secret be known", "it asks the issuer though it has no secret"),
    Broken(Prints, "issue shows nothing", "what it logs, warns or prints"),
    Broken(Logs, "issue shows nothing", "what it logs, warns or prints"),
    Broken(Warns, "issue shows nothing", "what it logs, warns or prints"),
    Broken(HasATellingRepr, "issue shows nothing", "its own repr"),
    Broken(EndsEndlessly, "a broker holds, replaces and records what it issues", "is not replaced by a new one"),
    Broken(TakesALock, "issue serves threads at once", "some wait for another's request"),
    Broken(MixesCalls, "issue serves threads at once", "it mixes one call with another's"),
    Broken(Retries, "issue asks once", "after a timeout it asks again: 2 requests instead of one"),
    Broken(CallsItMalformed, "an issuer that is down is IssuerUnavailable", "it raised MalformedResponse"),
    Broken(ForgetsToWait, "an issuer that is down is IssuerUnavailable", "lacks the retry_after"),
    Broken(CallsItDown, "an issuer that says no is IssueDenied", "it ends in IssuerUnavailable"),
    Broken(WithdrawsTheGrant, "an issuer that says no is IssueDenied", "its error says grant_denied"),
    Broken(SwallowsTheTransport, "the transport's errors pass", "where the transport raises MalformedResponse"),
    Broken(LetsItBurst, "garbage is MalformedResponse", "for a page it ends in JSONDecodeError"),
    Broken(TakesAnyLife, "an odd answer is a value or an error of credbroker's", "for -1 as 'seconds'"),
    Broken(TakesAnyToken, "an odd answer is a value or an error of credbroker's", "begin another header"),
    Broken(TellsTheBody, "no error shows a secret", "is in the error's text"),
    Broken(RaisesOverTheBody, "no error shows a secret", "is in a local of refused()"),
    Broken(RevokesBlindly, "revoke says what it could not do", "after HTTP 503 it says that the value is revoked"),
    Broken(RevokesByALocal, "revoke says what it could not do", "is in a local of revoke(), 'headers'"),
    Broken(ChainsTheBody, "no error shows a secret", "after HTTP 200 with an echo"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.make.__name__)
def test_what_breaks_the_contract_is_found_and_named(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_issue, "_PATIENCE", 0.3)  # a test that is to fail need not be given time
    with pytest.raises(AssertionError) as caught:
        _checked(broken.make)
    failed = dict(fault.split(": ", 1) for fault in str(caught.value).split("\n  - ")[1:])
    assert broken.said in failed[broken.check]
    rule = next(check.rule for check in ALL if check.name == broken.check)
    assert f"rule {rule}: {RULES[rule]}" in failed[broken.check]
    assert f"{broken.make.__name__} breaks the contract of a provider ({len(failed)} of " in str(caught.value)
    assert "canary" not in str(caught.value).replace("'canary\\r\\nx-injected: 1'", "")


ALL = (*of_plan.CHECKS, *of_issue.CHECKS, *of_answers.CHECKS)


def test_each_check_has_a_provider_that_fails_it() -> None:
    assert {broken.check for broken in BROKEN} == {check.name for check in ALL}


# --------------------------------------------------------------------------------------------------- how it is used


def test_what_the_issuer_of_a_test_refuses_goes_to_its_author_as_it_is() -> None:
    def strict(request: HttpRequest, now: datetime) -> HttpResponse:
        raise AssertionError("the form lacks a scope")

    with pytest.raises(AssertionError, match=r"^the form lacks a scope$"):
        _checked(Good, strict)


def test_a_provider_that_asks_somebody_needs_an_issuer() -> None:
    with pytest.raises(AssertionError, match="pass answers="):
        _checked(Good, None)


def test_a_secret_that_is_too_short_to_be_looked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="give the secret 'key' 8 characters at least"):
        check_provider(Good, config=CONFIG, kind="catalog", name="lake", secrets={"key": "short"}, answers=issuer)


def test_a_profile_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="has no storage profile 'lake'"):
        check_provider(Good, config=CONFIG, kind="storage", name="lake", secrets={"key": KEY}, answers=issuer)


def test_importing_the_suite_loads_nothing_heavy() -> None:
    program = "import sys, credbroker.testing; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"pydantic", "yaml", "requests", "authlib", "joserfc", "cryptography", "botocore", "boto3"}
    assert not heavy & set(loaded)
    assert set(testing.__all__) >= {"ManualClock", "ControlledProvider", "FakeHttp", "tick", "check_provider"}


# ---------------------------------------------------------------------------------------------------------- backends


class GoodBackend:
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        place = f"https://vault.example/{reference.secret_ref}"
        response = context.send(HttpRequest("GET", place))
        if response.status == 404:
            return Lookup(place)
        if response.status != 200:
            raise IssueDenied("no")
        return Lookup(place, SecretStr(json.loads(response.body)["value"]))


class RemembersIt(GoodBackend):
    def __init__(self) -> None:
        self.held: dict[str, Lookup] = {}

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        if reference.secret_ref not in self.held:
            self.held[reference.secret_ref] = super().look(reference, context)
        return self.held[reference.secret_ref]


class TakesDownForAbsent(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        try:
            return super().look(reference, context)
        except IssuerUnavailable:
            return Lookup("the vault")


class RaisesForAbsent(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        found = super().look(reference, context)
        if found.secret is None:
            raise SecretNotFound("no")
        return found


class LogsIt(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        found = super().look(reference, context)
        _LOG.warning("found %s", found.secret and found.secret.get_secret_value())
        return found


class AsksTheEnvironment(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        os.getenv("VAULT_TOKEN")
        return super().look(reference, context)


class TakesARefusalForAbsent(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        try:
            return super().look(reference, context)
        except IssueDenied:
            return Lookup("the vault")


class ShowsItsLogin(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        headers = {"authorization": LOGIN}
        found = super().look(reference, context)
        return found if headers else Lookup("the vault")


class FindsNothing(GoodBackend):
    def look(self, reference: SecretReference, context: Context) -> Lookup:
        super().look(reference, context)
        return Lookup("the vault")


def _vault(secrets: dict[str, str]) -> Callable[[HttpRequest, datetime], HttpResponse]:
    def answers(request: HttpRequest, now: datetime) -> HttpResponse:
        value = secrets.get(request.url.rpartition("/")[2])
        return answer({}, 404) if value is None else answer({"value": value})

    return answers


def test_a_backend_that_keeps_the_contract_passes_every_check() -> None:
    assert len(check_backend(GoodBackend, name="key", answers=_vault)) == 7


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (FindsNothing, "a secret that is there is found"),
        (RemembersIt, "a rotated secret is seen at once"),
        (RaisesForAbsent, "a secret that is absent is a Lookup without one"),
        (TakesDownForAbsent, "a place that cannot tell raises IssuerUnavailable"),
        (AsksTheEnvironment, "only the context is touched"),
        (TakesARefusalForAbsent, "a place that says no raises an error of credbroker's"),
        (ShowsItsLogin, "no secret is in a repr, a log"),
        (LogsIt, "no secret is in a repr, a log"),
    ],
)
def test_a_backend_that_breaks_it_is_told_which_rule(broken: Callable[[], GoodBackend], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_backend(broken, name="key", answers=_vault, logins=[LOGIN])
