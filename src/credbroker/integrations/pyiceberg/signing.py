"""The credentials object and the session that s3fs signs with."""

from __future__ import annotations

from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from credbroker.integrations.botocore import ASKED_AT_SIGNING, FROM_NOWHERE, MODELS
from credbroker.integrations.pyiceberg.files import Files
from credbroker.location import Location


class BrokerCredentials(AioCredentials):  # type: ignore[misc]  # untyped
    """What aiobotocore's signer asks before each request: the broker's answer at that moment, for one location."""

    def __init__(self, files: Files, location: Location) -> None:
        super().__init__(ASKED_AT_SIGNING, ASKED_AT_SIGNING, method="credbroker")
        self._files = files
        self._location = location

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        # This runs on fsspec's one event loop: whatever waits here must not hold it up.
        _, held = await self._files.aget(self._location)
        token = held.session_token.get_secret_value() if held.session_token else None
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key.get_secret_value(), token)


def session_for(files: Files, location: Location) -> AioSession:
    """A session that knows no other credentials than the broker's for ``location``, a file: its folder may be another's."""
    session = AioSession(session_vars=FROM_NOWHERE)
    session.register_component("data_loader", MODELS)
    session._credentials = BrokerCredentials(files, location)  # noqa: SLF001 - set_credentials takes fixed keys only
    return session
