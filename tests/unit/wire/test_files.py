"""Credentials as files' content, read by what will read them, and hostile values that add nothing of their own."""

from __future__ import annotations

import configparser
from datetime import datetime, timedelta, timezone
from string import Template

import pytest
from pydantic import SecretStr

from credbroker.credentials import (
    AccessToken,
    ADLSCredentials,
    Credential,
    DatabaseCredentials,
    DelegationKey,
    GCSCredentials,
    S3Credentials,
    TableCredentials,
)
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.wire.files import FIELDS, aws_credentials, bearer, filled, parsed_template

END = datetime(2030, 1, 2, 4, 4, 5, 999_999, timezone(timedelta(hours=1)))
KEYS = S3Credentials(
    "AKIAIOSFODNN7EXAMPLE", SecretStr("wJalr/+="), SecretStr("session=="), region="eu-west-1", endpoint="http://127.0.0.1:1"
)
STATIC = S3Credentials("AKIAIOSFODNN7EXAMPLE", SecretStr("wJalr/+="))
TOKEN = AccessToken(SecretStr("eyJ.a.b"))
GCS = GCSCredentials(SecretStr("ya29.x"))
SAS = ADLSCredentials("lake", SecretStr("sv=1&sig=%2F"))
LOGIN = DatabaseCredentials("svc", password=SecretStr("pass word"))
PEM = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
KEY_PAIR = DatabaseCredentials("svc", private_key=SecretStr(PEM))
DELEGATION = DelegationKey(
    "a", "b", END.replace(microsecond=0), END.replace(microsecond=0), "b", "2020-01-01", SecretStr("AA==")
)
ONE, TWO = Location.parse("s3://lake/one/"), Location.parse("s3://lake/two/")


@pytest.mark.parametrize(("value", "content"), [(TOKEN, b"eyJ.a.b"), (GCS, b"ya29.x"), (LOGIN, b"pass word")])
def test_a_token_is_the_whole_content(value: Credential, content: bytes) -> None:
    assert bearer(value) == content


@pytest.mark.parametrize("value", [KEYS, SAS, KEY_PAIR, DELEGATION])
def test_what_is_no_token_is_refused(value: Credential) -> None:
    with pytest.raises(ConfigurationError, match=type(value).__name__) as caught:
        bearer(value)
    _shows_nothing(caught)


def test_an_aws_file_is_read_by_botocore(tmp_path: object) -> None:
    from pathlib import Path

    from botocore.session import Session

    assert isinstance(tmp_path, Path)
    content = aws_credentials(KEYS, END, section="lake read")
    assert content.startswith(b"# expires 2030-01-02T03:04:05Z\n[lake read]\n")
    (tmp_path / "credentials").write_bytes(content)
    session = Session(profile="lake read")
    session.set_config_variable("credentials_file", str(tmp_path / "credentials"))
    found = session.get_credentials()
    assert (found.access_key, found.secret_key, found.token) == ("AKIAIOSFODNN7EXAMPLE", "wJalr/+=", "session==")


def test_keys_without_a_session_or_an_end_have_no_line_for_it() -> None:
    content = aws_credentials(STATIC, None, section="default").decode()
    assert content.splitlines()[0] == "# expires never"
    parser = configparser.RawConfigParser()
    parser.read_string(content)
    assert dict(parser["default"]) == {"aws_access_key_id": STATIC.access_key_id, "aws_secret_access_key": "wJalr/+="}


@pytest.mark.parametrize("text", ["x\n[other]", "x\r", "a b", "", "ü", "x\u2028y"])
def test_keys_that_would_break_the_file_are_refused(text: str) -> None:
    for value in (
        S3Credentials(text, SecretStr("s")),
        S3Credentials("a", SecretStr(text)),
        S3Credentials("a", SecretStr("s"), SecretStr(text)),
    ):
        with pytest.raises(ConfigurationError, match="which would break the file") as caught:
            aws_credentials(value, END, section="default")
        _shows_nothing(caught)


@pytest.mark.parametrize("section", ["", "a]\n[b", "a]", "[a", "a\nb", " a"])
def test_a_section_is_one_line(section: str) -> None:
    with pytest.raises(ConfigurationError, match="no bracket and no line break"):
        aws_credentials(KEYS, END, section=section)


@pytest.mark.parametrize("value", [TOKEN, GCS, SAS, LOGIN, DELEGATION])
def test_an_aws_file_is_made_of_aws_keys(value: Credential) -> None:
    with pytest.raises(ConfigurationError, match="is no set of S3 keys"):
        aws_credentials(value, END, section="default")


def test_a_table_has_a_file_where_its_credentials_are_one_set() -> None:
    one = TableCredentials(((ONE, KEYS), (TWO, KEYS)))
    assert aws_credentials(one, END, section="default") == aws_credentials(KEYS, END, section="default")
    assert filled(Template("$region"), one, END) == b"eu-west-1"
    for table in (TableCredentials(((ONE, KEYS), (TWO, STATIC))), TableCredentials(())):
        with pytest.raises(ConfigurationError, match=r"are [02] sets of keys, and a file has room for one"):
            aws_credentials(table, END, section="default")
        with pytest.raises(ConfigurationError, match="sets of keys"):
            filled(Template("$region"), table, END)


# ---------------------------------------------------------------------------------------------------------------- templates


@pytest.mark.parametrize(
    ("value", "text", "content"),
    [
        (KEYS, "${access_key_id}:${secret_access_key}:$session_token", "AKIAIOSFODNN7EXAMPLE:wJalr/+=:session=="),
        (KEYS, "$region $endpoint $expires_at", "eu-west-1 http://127.0.0.1:1 2030-01-02T03:04:05Z"),
        (STATIC, "<$session_token$region$endpoint>", "<>"),
        (TOKEN, "Bearer ${token}", "Bearer eyJ.a.b"),
        (GCS, "$token", "ya29.x"),
        (SAS, "$account?$sas_token", "lake?sv=1&sig=%2F"),
        (LOGIN, "$username/$password/$private_key.", "svc/pass word/."),
        (KEY_PAIR, "$private_key", PEM),
        (TOKEN, "costs $$5 ü", "costs $5 ü"),
        (TOKEN, "", ""),
    ],
)
def test_a_template_is_filled_with_the_fields_as_they_are(value: Credential, text: str, content: str) -> None:
    assert filled(parsed_template(text), value, END).decode() == content


def test_every_field_has_a_credential_that_fills_it() -> None:
    from credbroker.wire import files

    held = {name for value in (KEYS, TOKEN, GCS, SAS, LOGIN) for name in files._fields(value)}
    assert held | {"expires_at"} == set(FIELDS)


def test_a_value_without_an_end_has_an_empty_one() -> None:
    assert filled(Template("<$expires_at>"), TOKEN, None) == b"<>"


def test_what_a_value_holds_is_not_filled_once_more() -> None:
    value = DatabaseCredentials("svc", password=SecretStr("${username} $$ $x"))
    assert filled(Template("$password"), value, END) == b"${username} $$ $x"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a\nb ${secret}", r"line 2: there is no \$\{secret\}"),
        ("${Token}", r"line 1: there is no \$\{Token\}"),
        ("$tokens", r"line 1: there is no \$\{tokens\}"),
        ("\n\n5$", r"line 3: a '\$' begins no name: write '\$\$'"),
        ("${token", "line 1: a"),
        ("${}\n$(token)", "line 1: a .* line 2: a"),
        ("${a}${b}", r"there is no \$\{a\}; line 1: there is no \$\{b\} \(there are access_key_id, "),
    ],
)
def test_what_no_value_can_fill_is_told_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        parsed_template(text)


def test_a_fault_does_not_show_the_template() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed_template("canary ${x}")
    assert "canary" not in str(caught.value)


def test_a_field_that_such_a_credential_never_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="AccessToken has no username, password: take it out") as caught:
        filled(Template("$username $token $password"), TOKEN, END)
    _shows_nothing(caught)


@pytest.mark.parametrize("control", ["\n", "\r", "\0", "\x1b", "\x85", "\u2028"])
def test_a_value_adds_no_line_of_its_own(control: str) -> None:
    for value, field in (
        (AccessToken(SecretStr(f"canary{control}admin = true")), "token"),
        (DatabaseCredentials(f"canary{control}", password=SecretStr("x")), "username"),
        (S3Credentials("a", SecretStr("s"), endpoint=f"canary{control}"), "endpoint"),
    ):
        with pytest.raises(ConfigurationError, match=f"holds control characters in {field}") as caught:
            filled(Template(f"${field}"), value, END)
        _shows_nothing(caught)


@pytest.mark.parametrize("control", ["\0", "\x1b", "\r"])
def test_a_private_key_has_lines_and_nothing_else(control: str) -> None:
    value = DatabaseCredentials("svc", private_key=SecretStr(PEM + control))
    with pytest.raises(ConfigurationError, match="holds control characters in private_key"):
        filled(Template("$private_key"), value, END)


def _shows_nothing(caught: pytest.ExceptionInfo[ConfigurationError]) -> None:
    secrets = ("wJalr", "session==", "eyJ", "ya29", "sig=", "pass word", "MIIE", "canary", "[other]")
    shown = str(caught.value) + repr([entry.frame.f_locals for entry in caught.traceback[1:]])
    assert not any(secret in shown for secret in secrets)
    assert caught.value.__context__ is None
