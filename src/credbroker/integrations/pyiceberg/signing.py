"""The credentials object and the session that s3fs signs with."""

from __future__ import annotations

import os
from typing import Any

from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import Loader

from credbroker.integrations.pyiceberg.files import Files
from credbroker.location import Location

# botocore reads these two files and the profile's name from the environment. Nothing in them is meant for this session, and
# AWS_PROFILE with a name that is not there would end it.
_ISOLATED: dict[str, tuple[Any, ...]] = {
    "profile": (None, [], None, None),
    "config_file": (None, [], os.devnull, None),
    "credentials_file": (None, [], os.devnull, None),
    "ca_bundle": (None, [], None, None),
    # AWS_CSM_ENABLED would have each request's session token sent by UDP, in clear, to whatever host AWS_CSM_HOST names.
    "csm_enabled": (None, [], False, None),
}
# Reading S3's model takes most of what a new client costs, and it is the same for all. Not that of ~/.aws/models.
_MODELS = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
_ASKED_AT_SIGNING = "asked-of-the-broker-at-each-signing"


class BrokerCredentials(AioCredentials):  # type: ignore[misc]  # untyped
    """What aiobotocore's signer asks before each request: the broker's answer at that moment, for one location."""

    def __init__(self, files: Files, location: Location) -> None:
        super().__init__(_ASKED_AT_SIGNING, _ASKED_AT_SIGNING, method="credbroker")
        self._files = files
        self._location = location

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        # This runs on fsspec's one event loop: whatever waits here must not hold it up.
        _, held = await self._files.aget(self._location)
        token = held.session_token.get_secret_value() if held.session_token else None
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key.get_secret_value(), token)


def session_for(files: Files, location: Location) -> AioSession:
    """A session that knows no other credentials than the broker's for ``location``, a file: its folder may be another's."""
    session = AioSession(session_vars=_ISOLATED)
    session.register_component("data_loader", _MODELS)
    session._credentials = BrokerCredentials(files, location)  # noqa: SLF001 - set_credentials takes fixed keys only
    return session
