"""``credbroker doctor --scope`` against SeaweedFS, and Ceph: a fence that holds, fences with one hole each, and none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from botocore.config import Config
from pydantic import SecretStr
from tests.servers.permissive_sts import PermissiveSTS
from tests.servers.store import Answers, owned
from tests.servers.store import Store as AnyStore

from credbroker import Broker
from credbroker.cli import main
from credbroker.cli.demo.outside import client
from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.seaweed import BUCKET, REGION, SeaweedFS
from credbroker.cli.doctor.report import Report
from credbroker.cli.doctor.scope import check
from credbroker.cli.doctor.show import show
from credbroker.cli.doctor.tries import ASSUME_AGAIN
from credbroker.cli.fence import Attempt, Store
from credbroker.context import Context
from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError, IssuerUnavailable
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.providers.iam_role import IamRoleProvider
from credbroker.request import Access, CredentialRequest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from tests.servers.ceph import Ceph

PLACE = f"s3://{BUCKET}/doctor/orders/"
ALL = ["read", "write", "read_write"]
Tamper = Callable[[dict[str, Any]], object]


@pytest.fixture
def owner(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """The store's owner, whose keys the broker finds; at the end nothing of the doctor's is left in the bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_key)
    s3 = client(seaweed.s3_endpoint, seaweed.access_key, seaweed.secret_key)
    s3.put_object(Bucket=BUCKET, Key="doctor/orders/2026/may", Body=b"1")
    yield s3
    assert left_in(s3) == set()
    s3.close()


def left_in(owner: S3Client) -> set[str]:
    keys = {found["Key"] for found in owner.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert "doctor/orders/2026/may" in keys
    return {f"s3://{BUCKET}/{key}" for key in keys if "credbroker-doctor" in key}


def platform(store: AnyStore, access: str = "read_write", **changes: Any) -> dict[str, Any]:
    credentials = {"mode": "iam_role", "role_arn": store.role_arn, "sts_endpoint": store.sts_endpoint}
    lake = {
        "endpoint": store.s3_endpoint,
        "region": REGION,
        "path_style_access": True,
        "locations": [PLACE, f"s3://{BUCKET}/doctor/empty/"],
        "access": access,
        "credentials": {**credentials, "credential_source": "environment"},
    }
    return {"version": 1, "environment": "test", "storage": {"lake": {**lake, **changes}}}


def run(config: dict[str, Any], folder: Path, *arguments: str) -> int:
    path = folder / "platform.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["doctor", "--scope", "lake", "--config", str(path), *arguments])


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report


class Tampering:
    """Issues as ``iam_role`` does, with a policy that was changed on the way: a fence with a hole."""

    def __init__(self, store: SeaweedFS, tamper: Tamper) -> None:
        self._store = store
        self._tamper = tamper
        self.issued: list[S3Credentials] = []
        self.fail_for: str | None = None

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return IamRoleProvider().plan(request, profile)

    def issue(self, request: CredentialRequest, context: Context) -> S3Credentials:
        if self.fail_for is not None and str(request.locations[0]).endswith(self.fail_for):
            raise IssuerUnavailable("the issuer is away")
        policy = json.loads(json.dumps(self.plan(request, context.profile).policy))
        self._tamper(policy)
        sts = boto3.client(
            "sts",
            endpoint_url=self._store.sts_endpoint,
            region_name=REGION,
            aws_access_key_id=self._store.access_key,
            aws_secret_access_key=self._store.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )
        keys = sts.assume_role(RoleArn=self._store.role_arn, RoleSessionName="doctor", Policy=json.dumps(policy))
        sts.close()
        given = keys["Credentials"]
        value = S3Credentials(
            given["AccessKeyId"],
            SecretStr(given["SecretAccessKey"]),
            SecretStr(given["SessionToken"]),
            region=REGION,
            endpoint=self._store.s3_endpoint,
            expires_at=given["Expiration"],
        )
        self.issued.append(value)
        return value


def checked(store: SeaweedFS, tamper: Tamper, access: str = "read_write") -> Report:
    with Broker.from_config(platform(store, access), providers={"iam_role": Tampering(store, tamper)}) as broker:
        return check(broker, "lake")


def allowed(report: Report) -> set[str]:
    return {attempt.what for attempt in report.attempts if attempt.allowed}


def objects(policy: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = policy["Statement"][0]
    return statement


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("access", ALL)
def test_a_fence_that_holds_passes_and_nothing_is_left_behind(
    seaweed: SeaweedFS, access: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(platform(seaweed, access), tmp_path, "--json") == 0
    report = result(capsys)
    assert (report["ok"], report["profile"], report["location"], report["access"]) == (True, "lake", PLACE, access)
    assert (report["left"], report["notes"], report["findings"]) == ([], [], [])
    assert len(report["attempts"]) == (14 if access == "read_write" else 12)
    assert {(each["refused"], each["answer"]) for each in report["attempts"]} == {(True, "AccessDenied")}
    assert {(each["worked"], each["answer"]) for each in report["controls"]} == {(True, "allowed")}


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("access", ALL)
def test_an_sts_that_ignores_session_policies_is_found_out(
    seaweed: SeaweedFS, access: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PermissiveSTS(seaweed.sts_endpoint, seaweed.access_key, seaweed.secret_key) as sts:
        config = platform(seaweed, access)
        config["storage"]["lake"]["credentials"]["sts_endpoint"] = sts.uri
        assert run(config, tmp_path, "--json") == 1
        assert sts.dropped
        *issued, again = sts.dropped
        assert all("2012-10-17" in policy for policy in issued)
        assert again == ""
    report = result(capsys)
    assert report["ok"] is False
    assert not any(each["refused"] for each in report["attempts"])
    assert all(any(each["what"] in text for text in report["findings"]) for each in report["attempts"])
    assert [text.partition(":")[0] for text in report["findings"]] == [
        "the store ALLOWED, outside what the credentials are for",
        "the keys can assume the role again, without a policy",
    ]
    assert (report["left"], report["verdict"][:10]) == ([], "NOT FENCED")


@pytest.mark.usefixtures("owner")
def test_another_location_is_tried_where_it_is_named_and_an_empty_one_is_noted(
    seaweed: SeaweedFS, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(platform(seaweed, "read"), tmp_path, "--location", f"s3://{BUCKET}/doctor/empty", "--json") == 0
    report = result(capsys)
    assert report["location"] == f"s3://{BUCKET}/doctor/empty/"
    assert "holds no object" in report["notes"][0]


@pytest.mark.usefixtures("owner")
def test_a_profile_for_all_of_the_bucket_is_fenced_inside_it(
    seaweed: SeaweedFS, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(platform(seaweed, "read_write", locations=[f"s3://{BUCKET}/"]), tmp_path, "--json") == 0
    assert len(result(capsys)["attempts"]) == 11


def test_static_keys_are_reported_and_not_tried(
    seaweed: SeaweedFS, owner: S3Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The secret is not there: nothing was issued either."""
    config = platform(seaweed, allow_unscoped=True, credentials={"mode": "static", "secret_ref": "no-such-keys"})
    assert run(config, tmp_path, "--json") == 1
    report = result(capsys)
    assert (report["ok"], report["attempts"], report["controls"]) == (False, [], [])
    assert "'static' are unscoped: nothing narrows them" in report["findings"][0]
    assert run(config, tmp_path) == 1
    assert "NOT FENCED" in capsys.readouterr().out


@pytest.mark.usefixtures("owner")
def test_a_prefix_without_its_slash_is_found_out(seaweed: SeaweedFS) -> None:
    """As in apache/polaris#4884: the sibling's objects, by name, while no listing shows them."""

    def without_slash(policy: dict[str, Any]) -> None:
        objects(policy)["Resource"] = objects(policy)["Resource"].replace("-a/*", "-a*")

    report = checked(seaweed, without_slash)
    assert allowed(report) == {
        "read the sibling's object",
        "copy the sibling's object into the folder",
        "write into the sibling",
        "delete the sibling's object",
    }
    assert (report.code, report.left) == (1, ())


@pytest.mark.usefixtures("owner")
def test_keys_of_another_mode_are_not_taken_to_sts(seaweed: SeaweedFS) -> None:
    config = platform(seaweed)
    config["storage"]["lake"]["credentials"]["mode"] = "ours"
    config["plugins"] = ["ours"]
    with Broker.from_config(config, providers={"ours": Tampering(seaweed, lambda policy: None)}) as broker:
        report = check(broker, "lake")
    assert (report.code, len(report.attempts)) == (0, 13)
    assert ASSUME_AGAIN not in {attempt.what for attempt in report.attempts}


@pytest.mark.usefixtures("owner")
def test_who_may_only_read_is_found_to_read_the_locations_other_objects(seaweed: SeaweedFS) -> None:
    def all_objects(policy: dict[str, Any]) -> None:
        objects(policy)["Resource"] = f"arn:aws:s3:::{BUCKET}/doctor/orders/*"

    assert allowed(checked(seaweed, all_objects, "read")) == {"read an object of the location, outside the folder"}


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("access", ALL)
def test_a_listing_without_a_condition_is_found_out(seaweed: SeaweedFS, access: str) -> None:
    def unconditional(policy: dict[str, Any]) -> None:
        del policy["Statement"][1]["Condition"]

    names = allowed(checked(seaweed, unconditional, access))
    assert {name.partition(",")[0] for name in names} == {
        "list the sibling",
        "list all names that begin as the folder's",
        "list above the folder",
        "list the whole bucket",
    }


@pytest.mark.usefixtures("owner")
def test_a_grant_to_read_that_deletes_is_found_out(seaweed: SeaweedFS) -> None:
    def deleting(policy: dict[str, Any]) -> None:
        if "s3:PutObject" not in objects(policy)["Action"]:
            objects(policy)["Action"].append("s3:DeleteObject")

    report = checked(seaweed, deleting)
    assert allowed(report) == {"delete in the folder, with a grant to read"}


@pytest.mark.usefixtures("owner")
def test_to_be_told_that_nothing_is_there_is_to_have_looked(seaweed: SeaweedFS) -> None:
    """Reading and listing is open everywhere: what was never written outside the profile is answered with 404."""

    def open_to_read(policy: dict[str, Any]) -> None:
        everywhere = {"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}
        policy["Statement"].append({"Effect": "Allow", **everywhere})

    report = checked(seaweed, open_to_read)
    (looked,) = (attempt for attempt in report.attempts if attempt.what == "read what would be there")
    assert (looked.allowed, looked.answer) == (True, "NoSuchKey")


def test_what_cannot_be_deleted_is_named(seaweed: SeaweedFS, owner: S3Client) -> None:
    def without_delete(policy: dict[str, Any]) -> None:
        objects(policy)["Action"] = [name for name in objects(policy)["Action"] if name != "s3:DeleteObject"]

    report = checked(seaweed, without_delete)
    assert (report.code, allowed(report)) == (1, set())
    assert set(report.left) == left_in(owner)
    assert len(report.left) == 3
    assert all(key in report.findings[-1] for key in report.left)
    for uri in report.left:
        owner.delete_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))


def test_keys_that_open_nothing_prove_nothing(seaweed: SeaweedFS, owner: S3Client) -> None:
    def nothing(policy: dict[str, Any]) -> None:
        objects(policy)["Resource"] = f"arn:aws:s3:::{BUCKET}/elsewhere/*"

    report = checked(seaweed, nothing)
    assert (report.attempts, report.code, report.verdict) == ((), 1, "NOT PROVEN: nothing was tried outside")
    assert [(control.answer, control.refused) for control in report.controls] == [("AccessDenied", True)]


@pytest.mark.usefixtures("owner")
def test_a_store_that_does_not_answer_is_no_pass(
    seaweed: SeaweedFS, free_port: Callable[[], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(platform(seaweed, endpoint=f"http://127.0.0.1:{free_port()}"), tmp_path, "--json") == 69
    report = result(capsys)
    assert "EndpointConnectionError" in report["findings"][0]
    assert (report["left"], report["notes"]) == ([], [])
    with PacingProxy() as proxy:  # forwards to nobody: 503
        assert run(platform(seaweed, endpoint=proxy.url), tmp_path, "--json") == 69
    report = result(capsys)
    assert (report["ok"], report["attempts"]) == (False, [])
    assert "HTTP 503" in report["findings"][0]
    assert "neither to writing nor to deleting" in report["notes"][0]


@pytest.mark.usefixtures("owner")
def test_a_store_that_falls_silent_on_the_way_is_no_pass_and_is_cleaned(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.attempt
    with PacingProxy() as proxy:
        proxy.forward_to(seaweed.s3_endpoint)

        def attempt(store: Store, what: str, *arguments: Any, **named: Any) -> Attempt:
            if what == "list the sibling":
                proxy._upstream = None
            made = real(store, what, *arguments, **named)
            proxy.forward_to(seaweed.s3_endpoint)
            return made

        monkeypatch.setattr(Store, "attempt", attempt)
        with Broker.from_config(platform(seaweed, endpoint=proxy.url)) as broker:
            report = check(broker, "lake")
    assert (report.code, allowed(report)) == (69, set())
    assert report.findings == ["neither refused nor allowed: list the sibling (HTTP 503)"]


@pytest.mark.usefixtures("owner")
def test_an_issuer_that_goes_away_on_the_way_leaves_nothing_behind(seaweed: SeaweedFS) -> None:
    provider = Tampering(seaweed, lambda policy: None)
    provider.fail_for = "-ab/"
    with (
        Broker.from_config(platform(seaweed), providers={"iam_role": provider}) as broker,
        pytest.raises(IssuerUnavailable, match=r"the issuer is away$"),
    ):
        check(broker, "lake")
    assert len(provider.issued) == 3


def test_an_interrupt_leaves_nothing_behind_or_names_it(
    seaweed: SeaweedFS,
    owner: S3Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = Store.attempt
    away = False

    def attempt(store: Store, what: str, *arguments: Any, **named: Any) -> Attempt:
        if what == "list the sibling":
            raise KeyboardInterrupt
        if what == "delete" and away:
            raise IssuerUnavailable("no keys any more")
        return real(store, what, *arguments, **named)

    monkeypatch.setattr(Store, "attempt", attempt)
    assert run(platform(seaweed), tmp_path) == 130
    assert capsys.readouterr().err == "credbroker: interrupted\n"
    assert left_in(owner) == set()
    away = True
    assert run(platform(seaweed), tmp_path) == 130
    told = capsys.readouterr().err
    left = left_in(owner)
    assert len(left) == 3
    assert all(uri in told for uri in left)
    assert told.startswith("credbroker: could not be deleted again: ")
    for uri in left:
        owner.delete_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))


@pytest.mark.usefixtures("owner")
def test_nothing_ambient_is_joined(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    assert run(platform(seaweed), tmp_path, "--json") == 0
    assert result(capsys)["ok"] is True


@pytest.mark.usefixtures("owner")
def test_the_store_too_must_be_among_the_allowed_hosts(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    config = platform(seaweed, endpoint=seaweed.s3_endpoint.replace("127.0.0.1", "localhost"))
    config["network"] = {"allowed_hosts": ["127.0.0.1"]}
    with Broker.from_config(config) as broker, pytest.raises(ConfigurationError, match="'localhost' is not in network"):
        check(broker, "lake")


@pytest.mark.usefixtures("owner")
def test_no_secret_is_shown(seaweed: SeaweedFS, capsys: pytest.CaptureFixture[str]) -> None:
    provider = Tampering(seaweed, lambda policy: objects(policy).update(Resource="arn:aws:s3:::*/*"))
    with Broker.from_config(platform(seaweed), providers={"iam_role": provider}) as broker:
        report = check(broker, "lake")
    show(report)
    captured = capsys.readouterr()
    told = captured.out + captured.err + json.dumps(report.as_json()) + repr(report)
    assert len(provider.issued) == 4
    for value in provider.issued:
        assert value.session_token is not None
        assert value.secret_access_key.get_secret_value() not in told
        assert value.session_token.get_secret_value() not in told
    assert seaweed.secret_key not in told


# --- both stores ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lake(store: AnyStore, keys: None) -> Iterator[AnyStore]:
    """The store with one object in its ``lake``, where at the end nothing of the doctor's is left."""
    with owned(store) as owner:
        owner.put_object(Bucket="lake", Key="doctor/orders/2026/may", Body=b"1")
        yield store
        found = owner.list_objects_v2(Bucket="lake")["Contents"]
        assert not [each["Key"] for each in found if "credbroker-doctor" in each["Key"]]


def both(store: AnyStore, access: str, role_arn: str, location: str = "s3://lake/doctor/orders/") -> dict[str, Any]:
    config = platform(store, access, locations=[location])
    config["storage"]["lake"]["credentials"]["role_arn"] = role_arn
    return config


@pytest.mark.parametrize("access", ALL)
def test_both_stores_are_fenced_and_one_tells_which_names_are_free(
    lake: AnyStore, answers: Answers, access: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(both(lake, access, lake.role_arn), tmp_path, "--json") == 0
    report = result(capsys)
    assert (report["ok"], report["findings"], report["left"]) == (True, [], [])
    told = {each["what"]: each["answer"] for each in report["attempts"] if not each["refused"]}
    tells = answers.absent_outside == 404
    assert told == ({"read what would be there": "NoSuchKey"} if tells else {})
    assert ["404 for a name" in note for note in report["notes"]] == ([True] if tells else [])
    (again,) = (each for each in report["attempts"] if each["what"] == ASSUME_AGAIN)
    assert (again["refused"], again["answer"], again["grant"]) == (True, "AccessDenied", access)


def test_where_no_object_is_there_to_be_refused_a_404_is_a_look(
    lake: AnyStore, answers: Answers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tells = answers.absent_outside == 404
    empty = both(lake, "read", lake.role_arn, "s3://lake/doctor/empty/")
    assert run(empty, tmp_path, "--json") == (1 if tells else 0)
    report = result(capsys)
    told = {each["what"] for each in report["attempts"] if not each["refused"]}
    assert told == ({"read in the sibling, where nothing is", "read what would be there"} if tells else set())
    assert ["holds no object" in note for note in report["notes"]] == [True]


@pytest.mark.parametrize("access", ALL)
def test_a_role_that_takes_sessions_for_their_user_is_found_out(
    ceph: Ceph, access: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    with owned(ceph) as owner:
        owner.create_bucket(Bucket="lake")
        owner.put_object(Bucket="lake", Key="doctor/orders/2026/may", Body=b"1")
    assert run(both(ceph, access, ceph.session_role_arn), tmp_path, "--json") == 1
    report = result(capsys)
    (finding,) = report["findings"]
    assert finding.startswith("the keys can assume the role again, without a policy: ")
    assert finding.endswith('"Condition": {"Null": {"aws:TokenIssueTime": "true"}}')
    told = {each["what"]: each["answer"] for each in report["attempts"] if not each["refused"]}
    assert told == {"read what would be there": "NoSuchKey", ASSUME_AGAIN: "allowed"}
    assert (report["ok"], report["left"], report["verdict"][:10]) == (False, [], "NOT FENCED")


def test_access_has_no_word_that_the_tests_leave_out() -> None:
    assert {access.value for access in Access} == set(ALL)
