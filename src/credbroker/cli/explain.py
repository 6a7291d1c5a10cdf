"""``credbroker explain``: what would be granted, with nothing issued and no secret looked at."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from credbroker.cli.command import Command, Outcome
from credbroker.cli.configuration import add_config, broker_of
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.terminal import console, print_fields
from credbroker.location import Location
from credbroker.profile import StorageProfile
from credbroker.request import Access
from credbroker.vending import gcs, s3

if TYPE_CHECKING:
    from credbroker.broker import Broker
    from credbroker.providers import Grant

_NOT_NARROWED = "none: nothing narrows what is issued here, it reaches all that its owner reaches"


@dataclass(frozen=True, slots=True)
class _Size:
    """One measure of a policy, and the most that its issuer takes."""

    name: str
    size: int
    limit: int
    unit: str


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("storage", metavar="STORAGE", help="a profile under storage:")
    parser.add_argument(
        "locations", metavar="LOCATION", nargs="*", help="as s3://lake/sales/ (default: the profile's only one)"
    )
    parser.add_argument(
        "--access", choices=[access.value for access in Access], default=Access.READ.value, help="default: %(default)s"
    )
    add_config(parser)
    parser.epilog = (
        "Shows the policy that the issuer would be sent for exactly these locations: an IAM session policy, a GCS access "
        "boundary, or the fields of an Azure SAS. Nothing is issued, nobody is asked, and no secret is needed. What the "
        "profile does not allow is refused as it would be in a pipeline: exit code 77; 78 for settings, or a location, "
        "that cannot work."
    )


def _run(arguments: Namespace) -> Outcome:
    with broker_of(arguments) as broker:
        profile, grant = _granted(broker, arguments)
    sizes = _sizes(profile, grant)
    if not arguments.json:
        _show(profile, grant, sizes)
    return Outcome(ExitCode.FINE, _report(profile, grant, sizes))


def _granted(broker: Broker, arguments: Namespace) -> tuple[StorageProfile, Grant]:
    source = broker.storage(arguments.storage, *arguments.locations, access=arguments.access)
    profile = broker.profile("storage", arguments.storage)
    if not isinstance(profile, StorageProfile):
        raise TypeError(type(profile).__name__)
    return profile, source.explain()


def _mode(profile: StorageProfile) -> str | None:
    return profile.credentials.mode if profile.credentials is not None else None


def _sizes(profile: StorageProfile, grant: Grant) -> list[_Size]:
    if grant.policy is None:
        return []
    match _mode(profile), profile.type:
        case "iam_role", "s3":
            return [_Size("policy", len(s3.compact(grant.policy, grant.locations or ())), s3.LONGEST_POLICY, "characters")]
        case "service_account", "gcs":
            rules = _rules(grant.policy)
            longest = max((len(_expression(rule)) for rule in rules), default=0)
            return [
                _Size("rules", len(rules), gcs.MOST_RULES, "rules"),
                _Size("longest_condition", longest, gcs.LONGEST_EXPRESSION, "characters in the longest condition"),
            ]
    return []


def _rules(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(policy.get("accessBoundary", {}).get("accessBoundaryRules", []))


def _expression(rule: Mapping[str, Any]) -> str:
    return str(rule.get("availabilityCondition", {}).get("expression", ""))


def _report(profile: StorageProfile, grant: Grant, sizes: list[_Size]) -> dict[str, object]:
    return {
        "ok": True,
        "profile": profile.name,
        "where": profile.where or None,
        "type": profile.type,
        "mode": _mode(profile),
        "locations": None if grant.locations is None else [str(location) for location in grant.locations],
        "access": grant.access,
        "max_ttl": int(profile.max_ttl.total_seconds()),
        "policy": grant.policy,
        "sizes": {size.name: {"size": size.size, "limit": size.limit} for size in sizes},
    }


def _show(profile: StorageProfile, grant: Grant, sizes: list[_Size]) -> None:
    out = console()
    where = f" ({profile.where})" if profile.where else ""
    fields = [
        ("profile", f"{profile.name}{where}"),
        ("mode", f"{_mode(profile)}, {profile.type}"),
        *_granted_lines(grant.locations),
        ("access", grant.access.value if grant.access is not None else "not narrowed"),
        ("life", f"at most {_life(profile.max_ttl)} (max_ttl)"),
        ("policy", _NOT_NARROWED if grant.policy is None else ", ".join(map(_size_text, sizes)) or "as follows"),
    ]
    print_fields(out, fields)
    if grant.policy is None:
        return
    if out is None:
        print(json.dumps(grant.policy, indent=2))
    else:
        from rich.json import JSON

        out.print(JSON.from_data(grant.policy, indent=2, ensure_ascii=True))


def _granted_lines(locations: tuple[Location, ...] | None) -> list[tuple[str, str]]:
    if locations is None:
        return [("locations", "not narrowed")]
    names = ["locations", *[""] * (len(locations) - 1)]
    return list(zip(names, map(str, locations), strict=True))


def _size_text(size: _Size) -> str:
    return f"{size.size:,} of {size.limit:,} {size.unit}"


def _life(ttl: timedelta) -> str:
    seconds = ttl.total_seconds()
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


COMMAND = Command("explain", "Show what would be granted for a location, without asking anybody.", _add_arguments, _run)
