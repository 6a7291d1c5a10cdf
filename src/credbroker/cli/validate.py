"""``credbroker validate``: whether a ``floe.yaml`` holds logical names only."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from credbroker.attachment import CONFIG_VARIABLE, split
from credbroker.cli.command import Command, Outcome
from credbroker.cli.configuration import add_config
from credbroker.cli.findings import Report, add_format, content, counted, print_formatted, unique
from credbroker.cli.terminal import shown
from credbroker.system.environment import SystemEnvironment

if TYPE_CHECKING:
    from credbroker.config.scan import Finding


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="FLOE_YAML", nargs="+", help="a pipeline's file")
    add_format(parser)
    add_config(parser)
    parser.epilog = (
        "Each file is looked through for credentials before it is parsed, comments included; no pragma allows one here. "
        "Then a URL, an ARN, a host, a bucket, a region or an endpoint is refused, and catalog, storage and compute must be "
        "names; with a platform file, names of profiles in it. No value is ever shown. Exit code 1: a file is not what it "
        "should be; 78: one cannot be read, or detect-secrets (extra 'scan') is missing."
    )


def _run(arguments: Namespace) -> Outcome:
    from credbroker.config.detect import detectors
    from credbroker.config.pipeline import judged

    # Before a file is read: the error's traceback would hold its text.
    detectors()
    known = _known(arguments)
    report = Report()
    valid: list[str] = []
    for path in unique(arguments.files):
        raw, reason = content(path)
        if reason:
            report.unreadable.append(path)
            print(f"credbroker: {shown(path)}: cannot be read: {reason}", file=sys.stderr)
            continue
        report.files += 1
        found = judged(path, raw, known).findings
        del raw
        report.findings.extend(found)
        for one in found:
            print(_block(one), file=sys.stderr)
        if not found:
            valid.append(path)
    if arguments.format == "text" and not arguments.json:
        for path in valid:
            print(f"{shown(path)}: valid{', and its profiles exist' if known is not None else ''}")
        for path in unique(one.file for one in report.findings):
            print(_summary(path, [one for one in report.findings if one.file == path]))
    print_formatted(arguments, report)
    return Outcome(report.code, report.as_json())


def _known(arguments: Namespace) -> Mapping[str, Collection[str]] | None:
    paths = arguments.config or split(SystemEnvironment().variable(CONFIG_VARIABLE) or "")
    if not paths:
        return None
    from credbroker.config.load import load_files

    platform = load_files(paths)
    return {"catalogs": platform.catalogs, "storage": platform.storage, "compute": platform.compute}


def _block(finding: Finding) -> str:
    if finding.fault:
        return f"ERROR: {shown(finding.file)}:{finding.line}: {shown(f'{finding.field} {finding.fault}'.strip())}"
    # These three lines are a contract, to the byte.
    subject = f"Field '{shown(finding.field)}'" if finding.field else f"Line {finding.line}"
    return (
        f"ERROR: {subject} contains a potential credential ({finding.type}).\n"
        "       floe.yaml should only contain logical profile references.\n"
        "       Move credentials to platform.yaml or K8s secrets."
    )


def _summary(path: str, found: list[Finding]) -> str:
    lines = unique(str(one.line) for one in found)
    where = f"{'line' if len(lines) == 1 else 'lines'} {', '.join(lines)}"
    kind = ("potential credential", "potential credentials") if not found[0].fault else ("fault", "faults")
    return f"{shown(path)}: {counted(len(found), *kind)}, {where}"


COMMAND = Command(
    "validate", "Check that a floe.yaml holds logical names only: no credential, no endpoint.", _add_arguments, _run
)
