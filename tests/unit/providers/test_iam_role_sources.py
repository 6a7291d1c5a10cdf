"""Each base identity from the file to AWS's STS, which is played: through the public API, with every request checked."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.servers.imds import ADDRESS, ECS_ADDRESS, EKS_ADDRESS, ContainerAgent, InstanceMetadata
from tests.servers.rerouted import Rerouted
from tests.servers.strict import Answer
from tests.servers.sts import Identity, Sts, Trust
from tests.unit.secrets.aws_answers import assert_nothing_stays

from credbroker import Broker
from credbroker.context import Context, Lease
from credbroker.credentials import AccessToken, S3Credentials
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    SecretNotFound,
)
from credbroker.profile import CredentialSettings, StorageProfile
from credbroker.providers.iam_role import IamRoleProvider
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from credbroker.testing import ControlledProvider

ROLE = "arn:aws:iam::123456789012:role/Pipe"
HUB = "arn:aws:iam::123456789012:role/Hub"
TASK = "arn:aws:iam::123456789012:role/Task"
STS = "https://sts.eu-west-1.amazonaws.com"
AGENT_PATH = "/v1/credentials"
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sts() -> Iterator[Sts]:
    with Sts() as server:
        server.roles[ROLE] = Trust()
        yield server


def block(**credentials: Any) -> dict[str, Any]:
    return {"mode": "iam_role", "role_arn": ROLE, **credentials}


def config(credentials: dict[str, Any], **further: Any) -> dict[str, Any]:
    lake = {"region": "eu-west-1", "locations": ["s3://lake/"], "access": "read_write", "credentials": credentials}
    return {"version": 1, "environment": "test", "storage": {"lake": lake | further.pop("lake", {}), **further}}


class Kept:
    """One secret, whatever its name."""

    def __init__(self, value: str) -> None:
        self._value = SecretStr(value)

    def resolve(self, reference: SecretReference) -> SecretStr:
        return self._value

    def lease(self, reference: SecretReference) -> Lease:
        raise AssertionError(reference)

    def revoke(self, lease: str) -> None:
        raise AssertionError(lease)


def opened(
    of: dict[str, Any],
    sts: Sts,
    origins: dict[str, str] | None = None,
    *,
    secret: str = "",
    providers: dict[str, Any] | None = None,
) -> tuple[Broker, Rerouted]:
    http = Rerouted(SystemHttp(), {STS: sts.uri, **(origins or {})})
    context = Context(http=http, environment=SystemEnvironment(), secrets=Kept(secret))
    return Broker.from_config(of, context=context, providers=providers), http


def got(of: dict[str, Any], sts: Sts, origins: dict[str, str] | None = None) -> tuple[S3Credentials, list[str]]:
    """What a broker gives for the prefix, and what it asked for that: method and URL."""
    broker, http = opened(of, sts, origins)
    with broker:
        value = broker.storage("lake", "s3://lake/sales", access="read").get()
    assert isinstance(value, S3Credentials)
    return value, [f"{asked.method} {asked.url}" for asked in http.asked]


def failed(
    of: dict[str, Any], sts: Sts, kind: type[CredbrokerError], text: str, origins: dict[str, str] | None = None
) -> tuple[CredbrokerError, list[str]]:
    broker, http = opened(of, sts, origins)
    with broker, pytest.raises(kind, match=text) as caught:
        broker.storage("lake", "s3://lake/sales", access="read").get()
    assert type(caught.value) is kind
    assert_nothing_stays(caught.value)
    return caught.value, [f"{asked.method} {asked.url}" for asked in http.asked]


def jwt(**claims: object) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    given = {"sub": "pod", "exp": datetime.now(UTC).timestamp() + 3600, **claims}
    return ".".join((part(b'{"alg":"RS256"}'), part(json.dumps(given).encode()), part(b"signed" * 40)))


def trusting(sts: Sts, lender: Any) -> None:
    """The played STS knows the keys that a metadata service lends: they are a session of the role Task."""
    sts.identities[lender.access_key_id] = Identity(TASK, lender.secret_access_key, lender.token)
    sts.roles[ROLE].principals = {TASK}


# --- an instance ------------------------------------------------------------------------------------------------------


@pytest.fixture
def imds() -> Iterator[InstanceMetadata]:
    with InstanceMetadata() as server:
        yield server


def test_an_instance_assumes_the_role_by_imds_v2_alone(sts: Sts, imds: InstanceMetadata) -> None:
    trusting(sts, imds.lender)
    value, asked = got(config(block(credential_source="imds")), sts, {ADDRESS: imds.uri})
    place = f"{ADDRESS}/latest/meta-data/iam/security-credentials/"
    assert asked == [f"PUT {ADDRESS}/latest/api/token", f"GET {place}", f"GET {place}Instance", f"POST {STS}/"]
    (session,) = sts.sessions
    assert session.role == ROLE
    assert session.policy is not None
    assert value.expires_at is not None


@pytest.mark.parametrize("status", [403, 404, 405])
def test_version_1_is_never_asked(sts: Sts, imds: InstanceMetadata, status: int) -> None:
    imds.next.append(Answer(status, b"canary"))
    _, asked = failed(
        config(block(credential_source="imds")), sts, CredentialUnavailable, "knows no IMDSv2", {ADDRESS: imds.uri}
    )
    assert asked == [f"PUT {ADDRESS}/latest/api/token"]


def test_an_instance_without_a_role_is_no_identity(sts: Sts, imds: InstanceMetadata) -> None:
    imds.role = None
    _, asked = failed(
        config(block(credential_source="imds")), sts, CredentialUnavailable, "instance profile", {ADDRESS: imds.uri}
    )
    assert len(asked) == 2


@pytest.mark.parametrize("left", [timedelta(seconds=-60), timedelta(seconds=5)])
def test_keys_that_are_dying_are_never_sent(sts: Sts, imds: InstanceMetadata, left: timedelta) -> None:
    trusting(sts, imds.lender)
    imds.lender.expires_in = left
    error, asked = failed(
        config(block(credential_source="imds")),
        sts,
        InsufficientLifetime,
        "imds gives keys that end at .*the metadata service must renew them",
        {ADDRESS: imds.uri},
    )
    assert error.retryable
    assert len(asked) == 3
    assert sts.asked == []


def test_a_metadata_service_that_does_not_answer_ends_with_the_flight(sts: Sts) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error, asked = failed(
            config(block(credential_source="imds", timeout="300ms")), sts, IssuerUnavailable, "hop limit", {ADDRESS: uri}
        )
    assert error.retryable
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ([Answer(503, b"canary")], IssuerUnavailable, "HTTP 503"),
        ([Answer(429, b"canary", {"Retry-After": "3"})], IssuerUnavailable, "HTTP 429"),
        ([Answer(400, b"canary")], IssueDenied, "metadata options"),
    ],
)
def test_what_the_service_answers_instead_has_its_error(
    sts: Sts, imds: InstanceMetadata, answers: list[Answer], kind: type[CredbrokerError], text: str
) -> None:
    imds.next.extend(answers)
    failed(config(block(credential_source="imds")), sts, kind, text, {ADDRESS: imds.uri})
    assert sts.asked == []


# --- a container ------------------------------------------------------------------------------------------------------


Variables = Callable[..., None]


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Variables:
    """Sets the variables of a container, by their names without ``AWS_CONTAINER_``; ``file`` is what the token's holds."""

    def put(variables: dict[str, str], file: str | None = None) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"AWS_CONTAINER_{name}", value)
        if file is not None:
            (tmp_path / "token").write_text(file)
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))

    return put


@pytest.fixture
def agent() -> Iterator[ContainerAgent]:
    with ContainerAgent(AGENT_PATH, authorization="agent-token") as server:
        yield server


@pytest.mark.parametrize(
    "case",
    [
        ("container", ECS_ADDRESS, {"CREDENTIALS_RELATIVE_URI": AGENT_PATH}),
        (
            "container",
            ECS_ADDRESS,
            {"CREDENTIALS_RELATIVE_URI": AGENT_PATH, "CREDENTIALS_FULL_URI": "https://elsewhere.example/"},
        ),
        ("container", EKS_ADDRESS, {"CREDENTIALS_FULL_URI": EKS_ADDRESS + AGENT_PATH}),
        ("container", "http://[fd00:ec2::23]", {"CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]" + AGENT_PATH}),
        ("container", "https://keys.example", {"CREDENTIALS_FULL_URI": "https://keys.example" + AGENT_PATH}),
        ("container", "http://localhost:1", {"CREDENTIALS_FULL_URI": "http://localhost:1" + AGENT_PATH}),
        (
            "pod_identity",
            EKS_ADDRESS,
            {"CREDENTIALS_FULL_URI": EKS_ADDRESS + AGENT_PATH, "CREDENTIALS_RELATIVE_URI": "/other"},
        ),
    ],
)
def test_a_container_shows_its_token_and_assumes_the_role(
    sts: Sts, agent: ContainerAgent, container: Variables, case: tuple[str, str, dict[str, str]]
) -> None:
    source, address, variables = case
    trusting(sts, agent.lender)
    # The file goes before the variable.
    container({**variables, "AUTHORIZATION_TOKEN": "another"}, file="agent-token")
    broker, http = opened(config(block(credential_source=source)), sts, {address: agent.uri})
    with broker:
        broker.storage("lake", "s3://lake/sales", access="read").get()
    assert [f"{asked.method} {asked.url}" for asked in http.asked] == [f"GET {address}{AGENT_PATH}", f"POST {STS}/"]
    # What is not this machine's own goes the way of every issuer: by the proxy, to the hosts that are allowed.
    assert [asked.link_local for asked in http.asked] == [address.startswith("http:"), False]


def test_the_variable_has_the_token_where_there_is_no_file(sts: Sts, agent: ContainerAgent, container: Variables) -> None:
    trusting(sts, agent.lender)
    container({"CREDENTIALS_FULL_URI": agent.uri + AGENT_PATH, "AUTHORIZATION_TOKEN": "agent-token"})
    got(config(block(credential_source="container")), sts)


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("container", {}, (CredentialUnavailable, "finds neither")),
        ("pod_identity", {}, (CredentialUnavailable, "FULL_URI and AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")),
        ("container", {"CREDENTIALS_FULL_URI": "http://keys.example/"}, (ConfigurationError, "http to another machine")),
        ("container", {"CREDENTIALS_FULL_URI": "http://169.254.169.254/latest"}, (ConfigurationError, "to another machine")),
        ("container", {"CREDENTIALS_FULL_URI": "http://169.254.1.1/"}, (ConfigurationError, "http to another machine")),
        ("container", {"CREDENTIALS_FULL_URI": "http://u:canary@127.0.0.1/"}, (ConfigurationError, "carries userinfo")),
        ("container", {"CREDENTIALS_FULL_URI": "ftp://127.0.0.1/"}, (ConfigurationError, "must be an https")),
        ("container", {"CREDENTIALS_RELATIVE_URI": "@evil.example/"}, (ConfigurationError, "that is no path")),
        ("container", {"CREDENTIALS_RELATIVE_URI": "/a b"}, (ConfigurationError, "that is no path")),
        (
            "container",
            {"CREDENTIALS_FULL_URI": "http://127.0.0.1:1/", "AUTHORIZATION_TOKEN": "canary\r\nX-Evil: 1"},
            (ConfigurationError, "AUTHORIZATION_TOKEN that is not visible ASCII"),
        ),
        (
            "pod_identity",
            {"CREDENTIALS_FULL_URI": "http://127.0.0.1:1/", "AUTHORIZATION_TOKEN_FILE": "/absent"},
            (
                CredentialUnavailable,
                "cannot read the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, '/absent', no such file",
            ),
        ),
    ],
)
def test_what_a_container_cannot_be_led_to_asks_nobody(
    sts: Sts, container: Variables, source: str, variables: dict[str, str], expected: tuple[type[CredbrokerError], str]
) -> None:
    container(variables)
    _, asked = failed(config(block(credential_source=source)), sts, *expected)
    assert asked == []


@pytest.mark.parametrize("uri", ["https://evil.example/c", f"{ECS_ADDRESS}/c", "http://evil.example/c"])
def test_a_pods_token_is_shown_to_nobody_but_the_agent_of_eks(sts: Sts, container: Variables, uri: str) -> None:
    container({"CREDENTIALS_FULL_URI": uri}, file="agent-token")
    of = config(block(credential_source="pod_identity"))
    _, asked = failed(of, sts, ConfigurationError, "AWS_CONTAINER_CREDENTIALS_FULL_URI .* neither loopback nor .* EKS")
    assert asked == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("canary\n", (ConfigurationError, "that is not visible ASCII: look for a blank or a line end")),
        ("", (CredentialUnavailable, "empty")),
    ],
)
def test_a_token_file_with_a_line_end_is_refused(
    sts: Sts, agent: ContainerAgent, container: Variables, content: str, expected: tuple[type[CredbrokerError], str]
) -> None:
    container({"CREDENTIALS_FULL_URI": agent.uri + AGENT_PATH}, file=content)
    failed(config(block(credential_source="pod_identity")), sts, *expected)
    assert agent.asked == []


def test_a_role_that_lets_a_pods_tags_not_in_says_so(sts: Sts, agent: ContainerAgent, container: Variables) -> None:
    trusting(sts, agent.lender)
    sts.roles[ROLE].principals = set()
    container({"CREDENTIALS_FULL_URI": agent.uri + AGENT_PATH}, file="agent-token")
    failed(config(block(credential_source="pod_identity")), sts, IssueDenied, "allow sts:AssumeRole, sts:TagSession")


def test_an_agent_that_refuses_names_the_association(sts: Sts, agent: ContainerAgent, container: Variables) -> None:
    container({"CREDENTIALS_FULL_URI": agent.uri + AGENT_PATH}, file="of-another-pod")
    of = config(block(credential_source="pod_identity"))
    error, asked = failed(of, sts, IssueDenied, r"HTTP 401.*pods\.eks\.amazonaws\.com")
    assert isinstance(error, IssueDenied)
    assert not error.grant_denied
    assert len(asked) == 1


# --- a web identity ---------------------------------------------------------------------------------------------------


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "web-identity"
    path.write_text(jwt() + "\n")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    return path


def test_a_pods_token_is_shown_unsigned_with_the_session_policy(sts: Sts, token_file: Path) -> None:
    sts.roles[ROLE].tokens = {token_file.read_text().strip()}
    value, asked = got(config(block(credential_source="web_identity"), lake={"max_ttl": "12h"}), sts)
    assert asked == [f"POST {STS}/"]
    (session,) = sts.sessions
    assert session.policy is not None
    assert session.duration == 43200
    assert value.locations is not None


def test_the_token_may_stand_in_a_named_file_or_a_secret(sts: Sts, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(jwt())
    sts.roles[ROLE].tokens = {(tmp_path / "own").read_text()}
    for subject in ({"file": str(tmp_path / "own")}, {"secret_ref": "own"}):
        of = config(block(credential_source="web_identity", subject_token=subject))
        broker, _ = opened(of, sts, secret=(tmp_path / "own").read_text() + "\n")
        with broker:
            broker.storage("lake", "s3://lake/sales", access="read").get()
    assert len(sts.sessions) == 2


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (None, CredentialUnavailable, "could not be read"),
        ("", SecretNotFound, "is empty"),
        (jwt()[:60], SecretNotFound, "is no whole signed JWT"),
        (jwt().rpartition(".")[0] + ".", SecretNotFound, "is no whole signed JWT"),
        (jwt()[:-319], SecretNotFound, "is no whole signed JWT"),
        ("opaque", SecretNotFound, "is no whole signed JWT"),
        ("x" * 20_001, SecretNotFound, "has 20001 characters"),
        (jwt(exp=1_700_000_000), InsufficientLifetime, "ended .* ago by this machine's clock"),
    ],
)
def test_a_token_that_is_absent_half_written_or_over_is_not_sent(
    sts: Sts, token_file: Path, content: str | None, kind: type[CredbrokerError], text: str
) -> None:
    if content is None:
        token_file.unlink()
    else:
        token_file.write_text(content)
    error, asked = failed(config(block(credential_source="web_identity")), sts, kind, text)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in str(error)
    assert asked == []


def test_no_file_at_all_says_who_would_set_it(sts: Sts) -> None:
    _, asked = failed(config(block(credential_source="web_identity")), sts, CredentialUnavailable, "IRSA")
    assert asked == []


@pytest.mark.parametrize(
    ("prepare", "denied", "text"),
    [
        (lambda sts, token: None, False, "does not accept the web identity token .InvalidIdentityToken."),
        (lambda sts, token: sts.expired_tokens.add(token), False, "ExpiredTokenException"),
        (lambda sts, token: sts.roles.update(other=Trust(tokens={token})), True, "Federated principal"),
    ],
)
def test_a_files_token_that_is_refused_is_refused_once(
    sts: Sts, token_file: Path, prepare: Callable[[Sts, str], object], denied: bool, text: str
) -> None:
    prepare(sts, token_file.read_text().strip())
    error, asked = failed(config(block(credential_source="web_identity")), sts, IssueDenied, text)
    assert isinstance(error, IssueDenied)
    assert error.grant_denied is denied
    assert len(asked) == 1


def lending(tokens: list[str]) -> tuple[dict[str, Any], ControlledProvider]:
    """A platform whose ``lake`` shows the token of a catalog's profile, which gives ``tokens`` one after the other."""

    def answer(number: int, request: Any, context: Context) -> AccessToken:
        return AccessToken(SecretStr(tokens[number - 1]), expires_at=context.clock.now() + timedelta(hours=1))

    of = config(block(credential_source="web_identity", subject_token={"profile": "issuer"}))
    lent = {"mode": "oauth2", "token_url": "https://issuer.example/token", "client_id": "x"}
    of["catalogs"] = {
        "issuer": {"uri": "https://catalog.example", "credentials": {**lent, "client_secret": {"secret_ref": "y"}}}
    }
    return of, ControlledProvider(answer=answer)


@pytest.mark.parametrize("refusal", ["unknown", "expired"])
def test_a_profiles_token_that_sts_does_not_accept_is_asked_anew_once(sts: Sts, refusal: str) -> None:
    old, new = jwt(jti="old"), jwt(jti="new")
    sts.roles[ROLE].tokens = {new}
    if refusal == "expired":
        sts.expired_tokens.add(old)
    of, issuer = lending([old, new])
    broker, http = opened(of, sts, providers={"oauth2": issuer})
    with broker:
        broker.storage("lake", "s3://lake/sales", access="read").get()
    assert (issuer.calls, len(http.asked), len(sts.sessions)) == (2, 2, 1)


def test_a_second_refusal_is_the_answer(sts: Sts) -> None:
    of, issuer = lending([jwt(jti=str(number)) for number in range(3)])
    broker, http = opened(of, sts, providers={"oauth2": issuer})
    with broker, pytest.raises(IssueDenied, match="the profile 'issuer'"):
        broker.storage("lake", "s3://lake/sales", access="read").get()
    assert (issuer.calls, len(http.asked)) == (2, 2)


def test_a_profiles_opaque_token_is_not_sent(sts: Sts) -> None:
    of, issuer = lending(["opaque"])
    broker, http = opened(of, sts, providers={"oauth2": issuer})
    with broker, pytest.raises(ConfigurationError, match=r"subject_token\.profile.* no JWT"):
        broker.storage("lake", "s3://lake/sales", access="read").get()
    assert http.asked == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("IDPCommunicationError", IssuerUnavailable),
        ("IDPRejectedClaim", IssueDenied),
        ("InvalidParameterValue", IssueDenied),
    ],
)
def test_only_an_issuer_that_sts_cannot_reach_is_one_to_ask_again(
    sts: Sts, token_file: Path, code: str, kind: type[CredbrokerError]
) -> None:
    sts.next.append(sts._error(400, code))
    error, asked = failed(config(block(credential_source="web_identity")), sts, kind, code)
    assert error.retryable is (kind is IssuerUnavailable)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "field",
    [
        {"external_id": "lake-1"},
        {"source_identity": "ana"},
        {"session_tags": {"team": "data"}},
    ],
)
def test_what_this_call_cannot_carry_is_refused_and_not_dropped(sts: Sts, field: dict[str, Any]) -> None:
    (name,) = field
    of = config(block(credential_source="web_identity", **field))
    _, asked = failed(of, sts, ConfigurationError, rf"credentials\.{name} is not taken by AssumeRoleWithWebIdentity")
    assert asked == []


# --- what is written into a session -----------------------------------------------------------------------------------


@pytest.fixture
def user(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> str:
    key, secret = sts.user("pipeline")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    arn = sts.identities[key].arn
    sts.roles[ROLE].principals = {arn}
    sts.roles[HUB] = Trust(principals={arn})
    return arn


def test_external_id_source_identity_and_tags_reach_sts(sts: Sts, user: str) -> None:
    sts.roles[ROLE].external_id = "lake-1"
    credentials = block(
        credential_source="environment",
        external_id="lake-1",
        source_identity="ana@example.com",
        session_tags={"team": "data & ml", "cost center": "Zürich 7", "empty": ""},
        transitive_tag_keys=["team"],
    )
    got(config(credentials), sts)
    (session,) = sts.sessions
    assert session.source_identity == "ana@example.com"
    assert session.tags.keys() == {"team", "cost center", "empty"}
    assert session.tags["team"].startswith("data - ml-")  # STS takes no "&": what is mended ends in a hash
    assert session.tags["cost center"] == "Zürich 7"
    assert session.transitive == {"team"}


@pytest.mark.parametrize("given", [None, "another"])
def test_a_missing_external_id_names_the_field(sts: Sts, user: str, given: str | None) -> None:
    sts.roles[ROLE].external_id = "lake-1"
    credentials = block(credential_source="environment", **({"external_id": given} if given else {}))
    error, asked = failed(config(credentials), sts, IssueDenied, r"external id.*credentials\.external_id gives")
    assert isinstance(error, IssueDenied)
    assert error.grant_denied
    assert len(asked) == 1


def test_a_role_that_does_not_trust_us_is_asked_once(sts: Sts, user: str) -> None:
    sts.roles[ROLE].principals = {TASK}
    error, asked = failed(config(block(credential_source="environment")), sts, IssueDenied, "trust policy")
    assert isinstance(error, IssueDenied)
    assert error.grant_denied
    assert len(asked) == 1


def test_two_runs_share_a_session_unless_the_profile_writes_the_run(sts: Sts, user: str) -> None:
    for session_run, sessions in ((False, 1), (True, 2)):
        sts.sessions.clear()
        broker, _ = opened(config(block(credential_source="environment", session_run=session_run)), sts)
        with broker:
            for run in ("run-1", "run-2"):
                view = broker.with_context(actor="ana", run_id=run)
                view.storage("lake", "s3://lake/sales", access="read").get()
        names = [session.name for session in sts.sessions]
        assert len(set(names)) == sessions
        assert all(name.startswith("ana") for name in names)
        assert ("run-1" in names[0]) is session_run


# --- chains -----------------------------------------------------------------------------------------------------------


def chained(hub: dict[str, Any], **credentials: Any) -> dict[str, Any]:
    return config(
        block(source_profile="hub", **credentials),
        hub={"region": "eu-west-1", "locations": [], "credentials": {**block(**hub), "role_arn": HUB}},
    )


def test_a_role_is_assumed_with_another_profiles_session_which_may_do_nothing_else(sts: Sts, user: str) -> None:
    sts.roles[ROLE].principals = {HUB}
    broker, http = opened(chained({"credential_source": "environment"}), sts)
    with broker:
        broker.storage("lake", "s3://lake/sales", access="read").get()
        broker.storage("lake", "s3://lake/other", access="read").get()
    hub, first, second = sts.sessions
    assert (hub.role, first.role, second.role) == (HUB, ROLE, ROLE)  # the hub's session is held for both
    assert hub.policy is not None
    assert hub.policy["Statement"] == [{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": ROLE}]
    assert len(http.asked) == 3


def test_a_chain_has_the_rights_for_what_it_writes_and_keeps_transitive_tags(sts: Sts, user: str) -> None:
    sts.roles[ROLE].principals = {HUB}
    hub = {"credential_source": "environment", "session_tags": {"team": "data"}, "transitive_tag_keys": ["team"]}
    for written, tags in (({"source_identity": "ana", "session_tags": {"stage": "gold"}}, {"stage": "gold"}), ({}, {})):
        got(chained(hub, **written), sts)
        first, second = sts.sessions[-2:]
        assert first.policy is not None
        rights = ["sts:AssumeRole", *(["sts:SetSourceIdentity"] if written else []), "sts:TagSession"]
        assert first.policy["Statement"][0]["Action"] == rights
        assert second.tags == {"team": "data", **tags}


@pytest.mark.parametrize("path", ["*", "a?b", "${aws:username}"])
def test_a_role_whose_path_is_a_pattern_in_a_policy_is_assumed_with_no_other_profiles_session(sts: Sts, path: str) -> None:
    # The policy of the hub's session would allow other roles than this one.
    arn = ROLE.replace("role/", f"role/{path}/")
    of = chained({"credential_source": "environment"}, role_arn=arn)
    _, asked = failed(of, sts, ConfigurationError, r"role_arn has '\*', '\?' or '\$\{' in its path.*another path")
    assert asked == []
    hub = CredentialSettings(mode="iam_role", role_arn=HUB, credential_source="environment")
    profile = StorageProfile(name="hub", region="eu-west-1", credentials=hub)
    with pytest.raises(ConfigurationError, match="stand for other roles too"):
        IamRoleProvider().plan(CredentialRequest("storage", "hub", base=f"sts:AssumeRole {arn}"), profile)


def test_a_source_session_that_sts_does_not_accept_is_taken_anew_once(sts: Sts, user: str) -> None:
    sts.roles[ROLE].principals = {HUB}
    broker, http = opened(chained({"credential_source": "environment"}), sts)
    with broker:
        broker.storage("lake", "s3://lake/sales", access="read").get()
        (hub_key,) = [key for key, identity in sts.identities.items() if identity.arn == HUB]
        sts.identities[hub_key].expires = 0.0
        broker.storage("lake", "s3://lake/other", access="read").get()
        assert [session.role for session in sts.sessions] == [HUB, ROLE, HUB, ROLE]
        assert len(http.asked) == 5


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (lambda: config(block(source_profile="hub"), lake={"max_ttl": "61m"}, hub=HUB_PROFILE), "source_profile is itself"),
        *(
            (lambda source=source: config(block(credential_source=source), lake={"max_ttl": "61m"}), source)
            for source in ("imds", "container", "pod_identity")
        ),
    ],
)
def test_a_chain_longer_than_an_hour_is_refused_unasked(sts: Sts, of: Callable[[], dict[str, Any]], text: str) -> None:
    _, asked = failed(of(), sts, ConfigurationError, rf"max_ttl is over 1h: .*{text}.*chaining")
    assert asked == []


HUB_PROFILE = {
    "region": "eu-west-1",
    "locations": [],
    "credentials": {"mode": "iam_role", "role_arn": HUB, "credential_source": "environment"},
}


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        ({"source_profile": "hub", "credential_source": "imds"}, "name two base identities"),
        ({}, "credential_source is missing: name the base identity .*or another profile as source_profile"),
        ({"credential_source": "imds", "subject_token": {"file": "/t"}}, "subject_token is not used with credential_source"),
        (
            {"credential_source": "web_identity", "subject_token": {"file": "/t", "secret_ref": "t"}},
            "exactly one of file, secret_ref and profile",
        ),
        ({"credential_source": "managed_identity"}, "is no identity towards AWS"),
    ],
)
def test_exactly_one_base_identity_is_named(sts: Sts, credentials: dict[str, Any], text: str) -> None:
    _, asked = failed(config(block(**credentials), hub=HUB_PROFILE), sts, ConfigurationError, text)
    assert asked == []


def test_a_source_profile_of_another_mode_is_named(sts: Sts) -> None:
    of = config(
        block(source_profile="hub"),
        hub={
            "region": "eu-west-1",
            "locations": [],
            "allow_unscoped": True,
            "credentials": {"mode": "static", "secret_ref": "keys"},
        },
    )
    broker, http = opened(of, sts, secret='{"access_key_id": "AKIASTATIC", "secret_access_key": "canary"}')
    with broker, pytest.raises(ConfigurationError, match="'hub', whose credentials are no role's session"):
        broker.storage("lake", "s3://lake/sales", access="read").get()
    assert http.asked == []


def test_an_sdks_chain_runs_outside_production_alone(sts: Sts, user: str) -> None:
    of = config(block(credential_source="default_chain"))
    _, asked = got(of, sts)
    assert asked == [f"POST {STS}/"]
    failed({**of, "environment": "production"}, sts, ConfigurationError, "'default_chain', which depends on the machine")


def test_no_sdk_is_loaded_before_a_role_is_assumed() -> None:
    code = (
        "import sys, credbroker.providers.iam_role, credbroker.identity.aws_metadata; "
        "print([name for name in ('botocore', 'boto3', 'requests') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert shown.stdout.strip() == "[]"
