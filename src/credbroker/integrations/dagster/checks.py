"""can_issue: an asset check that credentials can be had, before a job is long at work.

No ``from __future__ import annotations`` here: Dagster looks at the type of ``context``, and a text is none to it.
"""

from typing import Any

import dagster as dg

from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.integrations.dagster.metadata import metadata_of
from credbroker.integrations.dagster.preflight import check_names, try_profiles
from credbroker.integrations.dagster.resource import CredentialBrokerResource


def can_issue(
    asset: Any, *profiles: str, name: str = "can_issue", resource_key: str = "broker", blocking: bool = True
) -> dg.AssetChecksDefinition:
    """A check on ``asset`` that there are credentials for each of ``profiles`` (``"storage/lake"``).

    A value that this process holds counts; for what it does not hold, one is issued. ``asset`` is what
    ``dagster.asset_check`` takes. The check runs once the asset is there: put it on what the long job reads, and with
    ``blocking`` the job does not start where it fails. ``resource_key`` is that of the ``CredentialBrokerResource``.

    Raises ``ConfigurationError`` where there are no profiles, or one is not written as a section and a name.
    """
    if not profiles:
        raise ConfigurationError("can_issue(asset, 'storage/lake') checks nothing without a profile: name those it is about")
    check_names(profiles)

    @dg.asset_check(
        asset=asset,
        name=name,
        blocking=blocking,
        required_resource_keys={resource_key},
        description=f"Credentials can be issued for {', '.join(profiles)}.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        resource: CredentialBrokerResource = getattr(context.resources, resource_key)
        view = resource.view(context)
        try:
            try_profiles(view, profiles)
        except CredbrokerError as error:
            return dg.AssetCheckResult(
                passed=False, description=str(error), metadata={"credbroker/error": type(error).__name__}
            )
        return dg.AssetCheckResult(passed=True, metadata=metadata_of(view))

    return check
