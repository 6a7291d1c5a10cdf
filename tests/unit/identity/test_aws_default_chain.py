from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.secrets.aws_answers import assert_nothing_stays

from credbroker.context import Context
from credbroker.errors import CredentialUnavailable
from credbroker.identity.aws_default_chain import chain_keys
from credbroker.profile import StorageProfile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laptop of nobody's: no variables, no metadata service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_what_the_laptop_has_is_found_at_each_call(home: Path) -> None:
    for key in ("AKIAONE", "AKIATWO"):
        (home / "credentials").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = canary\n")
        keys = chain_keys(Context())
        assert (keys.access_key_id, keys.secret_access_key.get_secret_value(), keys.session_token) == (key, "canary", None)
        assert "canary" not in repr(keys)


def test_a_laptop_without_a_login_says_how_to_log_in(home: Path) -> None:
    with pytest.raises(CredentialUnavailable, match="default_chain finds no keys: log in") as caught:
        chain_keys(Context(profile=StorageProfile(name="lake")))
    assert caught.value.profile == "lake"


def test_a_chain_that_breaks_shows_nothing_of_what_broke_it(home: Path) -> None:
    (home / "config").write_text("[default]\ncredential_process = /bin/sh -c 'echo canary; exit 1'\n")
    with pytest.raises(CredentialUnavailable, match="default_chain failed with CredentialRetrievalError") as caught:
        chain_keys(Context())
    assert_nothing_stays(caught.value)
