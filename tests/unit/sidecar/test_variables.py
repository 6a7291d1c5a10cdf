from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from credbroker.errors import ConfigurationError
from credbroker.sidecar.protocol import Place
from credbroker.sidecar.protocols import PROTOCOLS
from credbroker.sidecar.variables import child_environment

CLOSED = "127.0.0.1:1"
"""Nobody listens there: a sidecar that has gone."""
AMBIENT = {
    "AWS_ACCESS_KEY_ID": "AKIAAMBIENT",
    "AWS_SECRET_ACCESS_KEY": "ambient",
    "AWS_SESSION_TOKEN": "ambient",
    "AWS_PROFILE": "ambient",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/ambient",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/ambient",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/ambient",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "ambient",
    "AWS_CREDENTIAL_FILE": "/ambient",
    "GOOGLE_APPLICATION_CREDENTIALS": "/ambient.json",
    "CLOUDSDK_AUTH_ACCESS_TOKEN": "ambient",
    "SERVICE_ACCOUNT": "/ambient.json",
    "NO_GCE_CHECK": "true",
    "AZURE_CLIENT_ID": "ambient",
    "AZURE_CLIENT_SECRET": "ambient",
    "AZURE_TENANT_ID": "ambient",
    "AZURE_FEDERATED_TOKEN_FILE": "/ambient",
    "AZURE_STORAGE_ACCOUNT_KEY": "ambient",
    "IMDS_ENDPOINT": "http://ambient",
    "MSI_ENDPOINT": "http://ambient",
    "MSI_SECRET": "ambient",
    "FSSPEC_S3_KEY": "ambient",
}


def place(binding: str = "lake-read", authority: str = CLOSED) -> Place:
    return Place(
        binding=binding,
        authority=authority,
        token_file=f"/run/credbroker/{binding}.token",
        token=SecretStr(f"token-of-{binding}"),
        region="eu-west-1",
    )


def environment(inherited: Mapping[str, str], authority: str = CLOSED, **bindings: list[str]) -> dict[str, str]:
    """By name: the protocols of each binding."""
    places = [place(name.replace("_", "-"), authority) for name in bindings]
    return child_environment(inherited, places, [[PROTOCOLS[one] for one in names] for names in bindings.values()])


# ----------------------------------------------------------------------------------------------------- what it says


def test_nothing_that_would_win_is_left_and_the_rest_is_as_it_was() -> None:
    kept = {"PATH": "/usr/bin", "HOME": "/home/ana", "AWS_CA_BUNDLE": "/ca.pem", "AZURE_AUTHORITY_HOST": "login.example"}
    given = environment(AMBIENT | kept, lake_read=["aws-container"])
    assert not [name for name, text in given.items() if "ambient" in text.lower()]
    assert {name: given[name] for name in kept} == kept


def test_each_protocol_s_variables_lead_to_its_binding() -> None:
    given = environment(
        {},
        lake_read=["aws-container"],
        archive=["gce-metadata"],
        landing=["azure-app-service"],
        polaris=["oauth2-token", "google-subject-token", "iceberg-credentials"],
    )
    for name, told in {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{CLOSED}/lake-read/aws-container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/run/credbroker/lake-read.token",
        "AWS_REGION": "eu-west-1",
        "GCE_METADATA_HOST": CLOSED,
        "GCE_METADATA_ROOT": CLOSED,
        "IDENTITY_ENDPOINT": f"http://{CLOSED}/landing/azure-app-service",
        "IDENTITY_HEADER": "token-of-landing",
        "AZURE_MSI_ENDPOINT": f"http://{CLOSED}/landing/azure-app-service",
    }.items():
        assert given[name] == told
    assert given["PYICEBERG_CATALOG__POLARIS__CREDENTIAL"].endswith("token-of-polaris")
    assert "NO_GCE_CHECK" not in given


def test_where_imds_is_served_nothing_wins_over_it() -> None:
    given = environment({}, landing=["azure-imds"])
    host = f"http://{CLOSED}/landing/azure-imds"
    assert given["AZURE_POD_IDENTITY_AUTHORITY_HOST"] == host
    assert given["AZURE_MSI_ENDPOINT"] == f"{host}/metadata/identity/oauth2/token"
    assert not {"IDENTITY_ENDPOINT", "IDENTITY_HEADER"} & set(given)


def test_two_bindings_that_want_one_variable_are_named_and_no_token_is() -> None:
    with pytest.raises(ConfigurationError) as caught:
        environment({}, lake_read=["aws-container", "azure-app-service"], orders=["aws-container"])
    text = str(caught.value)
    assert text.startswith("the bindings lake-read and orders both need the variable AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert "--binding orders" in text
    trace = caught.value.__traceback__
    while trace is not None:  # an error tracker shows what each frame held
        if "credbroker/sidecar" in trace.tb_frame.f_code.co_filename:
            assert "token-of" not in repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def test_two_that_want_the_same_text_are_not_at_odds() -> None:
    given = environment({}, lake_read=["aws-container"], archive=["gce-metadata"], polaris=["oauth2-token"])
    assert given["AWS_EC2_METADATA_DISABLED"] == "true"


def test_no_proxy_is_asked_for_loopback() -> None:
    given = environment({"NO_PROXY": "corp.example", "HTTP_PROXY": "http://proxy.example"}, lake_read=["aws-container"])
    assert given["NO_PROXY"] == "corp.example,127.0.0.1,localhost,::1"
    assert given["no_proxy"] == "127.0.0.1,localhost,::1"
    assert given["HTTP_PROXY"] == "http://proxy.example"


# ----------------------------------------------------------------------------------------------- what SDKs make of it

# Every address that Python code connects to, or has looked up, is noted; beyond this machine nothing is reached.
RECORDED = """
import atexit, ipaddress, json, socket, sys
noted = set()
def recorded(kind):
    class Recorded(kind):
        def connect(self, address):
            note(address)
            return super().connect(address)
        def connect_ex(self, address):
            note(address)
            return super().connect_ex(address)
    return Recorded
def note(address):
    noted.add(str(address[0] if isinstance(address, tuple) else address))
    if isinstance(address, tuple) and not address[0].startswith("127."):
        raise OSError("not from a test")
socket.socket = recorded(socket.socket)
resolve = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    noted.add(str(host))
    if host not in ("127.0.0.1", "localhost"):
        raise socket.gaierror("not from a test")
    return resolve(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
atexit.register(lambda: print(json.dumps(sorted(noted))))
"""
FAILS = {
    "botocore": "import botocore.session; assert botocore.session.Session().get_credentials() is None",
    "google-auth": (
        "import google.auth, google.auth.exceptions as errors\n"
        "try:\n    google.auth.default()\nexcept errors.DefaultCredentialsError:\n    pass\nelse:\n    raise AssertionError"
    ),
    "azure-identity": (
        "from azure.identity import DefaultAzureCredential\n"
        "from azure.core.exceptions import ClientAuthenticationError\n"
        "try:\n"
        "    DefaultAzureCredential(retry_total=0).get_token('https://storage.azure.com/.default')\n"
        "except ClientAuthenticationError:\n    pass\nelse:\n    raise AssertionError"
    ),
}


@pytest.mark.parametrize("sdk", FAILS)
def test_left_alone_an_sdk_would_ask_the_machine(sdk: str, tmp_path: Path) -> None:
    """Otherwise the tests below would show nothing."""
    assert {"169.254.169.254", "metadata.google.internal"} & connected(FAILS[sdk], {"HOME": str(tmp_path)})


@pytest.mark.parametrize("sdk", FAILS)
@pytest.mark.parametrize("protocol", [None, "oauth2-token"])
def test_an_sdk_without_a_binding_fails_and_asks_nobody_beyond_this_machine(
    sdk: str, protocol: str | None, tmp_path: Path
) -> None:
    given = environment(AMBIENT | {"HOME": str(tmp_path)}, polaris=[protocol] if protocol else [])
    assert connected(FAILS[sdk], given) <= {"127.0.0.1"}


@pytest.mark.parametrize(
    ("sdk", "protocol", "code"),
    [
        (
            "botocore",
            "aws-container",
            (
                "import botocore.session\n"
                "from botocore.exceptions import CredentialRetrievalError\n"
                "try:\n    botocore.session.Session().get_credentials()\n"
                "except CredentialRetrievalError:\n    pass\nelse:\n    raise AssertionError"
            ),
        ),
        ("google-auth", "gce-metadata", FAILS["google-auth"]),
        ("azure-identity", "azure-app-service", FAILS["azure-identity"]),
        ("azure-identity", "azure-imds", FAILS["azure-identity"]),
    ],
)
def test_an_sdk_whose_sidecar_has_gone_fails_as_well(sdk: str, protocol: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token-of-lake-read")
    given = environment(AMBIENT | {"HOME": str(tmp_path)}, lake_read=[protocol])
    if "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in given:
        given["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(tmp_path / "token")
    assert connected(code, given) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "name", [".boto", ".aws/credentials", ".aws/config", ".config/gcloud/application_default_credentials.json"]
)
def test_no_file_of_the_home_counts(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    keys = "aws_access_key_id = AKIAAMBIENT\naws_secret_access_key = ambient\n"
    user = {"type": "authorized_user", "client_id": "ambient", "client_secret": "ambient", "refresh_token": "ambient"}
    file.write_text(f"[Credentials]\n{keys}[default]\n{keys}" if "gcloud" not in name else json.dumps(user))
    given = environment({"HOME": str(tmp_path)}, polaris=[])
    assert connected(FAILS["google-auth" if "gcloud" in name else "botocore"], given) <= {"127.0.0.1"}


def connected(code: str, given: Mapping[str, str]) -> set[str]:
    """Whom the code has turned to, run with that environment."""
    done = subprocess.run(
        [sys.executable, "-c", RECORDED + code], env=dict(given), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


# ----------------------------------------------------------------------------- clients whose connections are not Python's


class Recorder(ThreadingHTTPServer):
    """Stands where the sidecar is, answers 404, and notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Recording)


class _Recording(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Recorder)
        self.server.asked.append((self.path.partition("?")[0], self.headers["X-IDENTITY-HEADER"]))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_GET  # noqa: N815 - the base class's word

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's word
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


OBSTORE = "import obstore, obstore.store; obstore.get(obstore.store.{}, 'x')"
ASKED = {
    "obstore, S3": (
        OBSTORE.format("S3Store('b', region='us-east-1', retry_config={'max_retries': 0})"),
        "/latest/api/token",
    ),
    "obstore, GCS": (
        OBSTORE.format("GCSStore('b', retry_config={'max_retries': 0})"),
        None,
    ),
    "obstore, Azure": (OBSTORE.format("AzureStore('c', account_name='a', retry_config={'max_retries': 0})"), "/none"),
    "deltalake, GCS": (
        "import deltalake; deltalake.DeltaTable('gs://b/x')",
        None,
    ),
    "deltalake, Azure": ("import deltalake; deltalake.DeltaTable('abfss://c@a.dfs.core.windows.net/x')", "/none"),
    "Arrow, GCS": (
        (
            "import pyarrow.fs, datetime\n"
            "pyarrow.fs.GcsFileSystem(retry_time_limit=datetime.timedelta(seconds=1)).get_file_info('b/x')"
        ),
        None,
    ),
    "Arrow, Azure": ("import pyarrow.fs; pyarrow.fs.AzureFileSystem('acct').get_file_info('b/x')", "/none"),
}


@pytest.mark.parametrize("client", ASKED)
def test_what_would_be_asked_of_the_machine_is_asked_here_and_refused(
    client: str, recorder: Recorder, tmp_path: Path
) -> None:
    code, path = ASKED[client]
    given = environment({"HOME": str(tmp_path)}, f"127.0.0.1:{recorder.server_port}", polaris=[])
    subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, timeout=120, check=False)
    # Google's clients are led to a file that is not there, and ask nobody.
    assert (path in {asked for asked, _ in recorder.asked}) if path is not None else (recorder.asked == [])


@pytest.mark.parametrize("client", ["obstore, GCS", "deltalake, GCS", "Arrow, GCS"])
def test_google_s_tokens_are_asked_of_the_binding(client: str, recorder: Recorder, tmp_path: Path) -> None:
    given = environment({"HOME": str(tmp_path)}, f"127.0.0.1:{recorder.server_port}", landing=["gce-metadata"])
    subprocess.run([sys.executable, "-c", ASKED[client][0]], env=given, capture_output=True, timeout=120, check=False)
    assert "/computeMetadata/v1/instance/service-accounts/default/token" in {asked for asked, _ in recorder.asked}


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        ("azure-app-service", "/landing/azure-app-service"),
        ("azure-imds", "/landing/azure-imds/metadata/identity/oauth2/token"),
    ],
)
@pytest.mark.parametrize("client", ["obstore, Azure", "deltalake, Azure"])
def test_azure_s_tokens_are_asked_of_the_binding(
    client: str, protocol: str, path: str, recorder: Recorder, tmp_path: Path
) -> None:
    given = environment({"HOME": str(tmp_path)}, f"127.0.0.1:{recorder.server_port}", landing=[protocol])
    subprocess.run([sys.executable, "-c", ASKED[client][0]], env=given, capture_output=True, timeout=120, check=False)
    assert set(recorder.asked) == {(path, "token-of-landing" if protocol == "azure-app-service" else None)}
