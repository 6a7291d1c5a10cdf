from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.unit.sidecar.asgi import BY_SOCKET, BY_TOKEN, OWN, ask, world

from credbroker.errors import IssueDenied, IssuerUnavailable
from credbroker.system.peer import Peer

if TYPE_CHECKING:
    import pytest

LAKE_READ = {"lake-read": {"storage": "lake", "access": "read", "protocols": ["aws-container"]}}
AWS = "/lake-read/aws-container"


def test_a_value_is_told_in_the_protocol_with_an_end_a_little_before_the_real_one() -> None:
    with world(LAKE_READ) as one:
        told = one.get(AWS).json
        assert told["AccessKeyId"] == "ASIA0000000000000001"
        # Of an hour, the last quarter of a minute is never used.
        assert told["Expiration"] == "2026-01-01T00:59:45Z"
        one.clock.advance(600)
        assert one.get(AWS).json == told
        assert one.provider.calls == 1


def test_a_wall_clock_that_jumps_changes_nothing_for_a_client_of_the_same_machine() -> None:
    with world(LAKE_READ) as one:
        one.get(AWS)
        one.clock.jump(7200)
        told = one.get(AWS)
        assert told.status == 200
        assert told.json["Expiration"] == "2026-01-01T02:59:45Z"  # an hour by the clock that the client reads
        one.clock.jump(-86_400)
        assert one.get(AWS).json["Expiration"] == "2025-12-31T02:59:45Z"
        assert one.provider.calls == 1


def test_a_held_value_is_served_while_the_issuer_is_down_and_nothing_after_it() -> None:
    with world(LAKE_READ) as one:
        one.get(AWS)
        one.provider.fail_with(IssuerUnavailable("sts did not answer"))
        one.clock.advance(3580)
        assert one.get(AWS).status == 200
        one.clock.advance(10)
        reply = one.get(AWS)
        assert reply.status == 503
        assert reply.json["code"] == "IssuerUnavailable"
        assert "AccessKeyId" not in reply.json
        assert int(reply.headers["retry-after"]) >= 1
        one.provider.fail_with(None)
        one.clock.advance(60)
        assert one.get(AWS).json["AccessKeyId"].startswith("ASIA")


def test_a_denied_grant_is_no_passing_trouble() -> None:
    with world(LAKE_READ) as one:
        one.provider.fail_with(IssueDenied("the role may not be assumed"))
        reply = one.get(AWS)
        assert (reply.status, reply.json["code"]) == (403, "IssueDenied")


def test_who_is_handed_a_value_is_on_record_once_and_before_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    with world(LAKE_READ) as one, caplog.at_level(logging.INFO, "credbroker.audit"):
        for _ in range(3):
            one.get(AWS)
        one.get(AWS, {"Authorization": "token-of-lake-read"}, peer=Peer(2000, None, unix=False))
        delivered = [json.loads(text) for text in caplog.messages if '"delivered"' in text]
        assert [(record["peer_uid"], record["unix_socket"]) for record in delivered] == [(OWN, True), (2000, False)]
        assert {record["binding"] for record in delivered} == {"lake-read"}
        assert {record["protocol"] for record in delivered} == {"aws-container"}
        assert delivered[0]["fingerprint"] == delivered[1]["fingerprint"]
        one.clock.advance(3590)
        one.get(AWS)
        assert len([text for text in caplog.messages if '"delivered"' in text]) == 3


def test_without_its_record_nobody_gets_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(LAKE_READ, environment="production", audit={"required": True}) as one:
        one.get(AWS)
        trail = one.broker._brokerage.trail

        class Full:
            def write(self, record: object) -> None:
                raise OSError("No space left on device")

        monkeypatch.setattr(trail, "_sink", Full())
        assert one.get(AWS).status == 200  # it is on record that this reader has it
        reply = one.get(AWS, {"Authorization": "token-of-lake-read"}, peer=BY_TOKEN)
        assert reply.status == 503
        assert b"ASIA" not in reply.body


def test_over_tcp_the_token_of_the_binding_is_needed_and_over_the_socket_the_uid() -> None:
    with world(LAKE_READ) as one:
        assert one.get(AWS, peer=BY_TOKEN).status == 401
        assert one.get(AWS, {"Authorization": "token-of-status"}, peer=BY_TOKEN).status == 401
        assert one.get(AWS, {"Authorization": "Bearer token-of-lake-read"}, peer=BY_TOKEN).status == 200
        assert one.get(AWS, peer=BY_SOCKET).status == 200
        assert one.get(AWS, peer=Peer(2000, 7, unix=True)).status == 403
        assert one.get(AWS, peer=Peer(None, None, unix=True)).status == 403
        assert one.get("/status", peer=Peer(2000, 7, unix=True)).status == 403


def test_declared_readers_are_a_second_wall_behind_the_token() -> None:
    with world(LAKE_READ, readers=(2000,)) as one:
        token = {"Authorization": "token-of-lake-read"}
        assert one.get(AWS, token, peer=Peer(2000, None, unix=False)).status == 200
        assert one.get(AWS, token, peer=Peer(3000, None, unix=False)).status == 403
        assert one.get(AWS, token, peer=Peer(None, None, unix=False)).status == 403
        assert one.get(AWS, peer=Peer(2000, 7, unix=True)).status == 200


def test_readiness_is_that_of_each_binding() -> None:
    bindings = {**LAKE_READ, "polaris": {"catalog": "polaris", "protocols": ["oauth2-token"]}}
    with world(bindings) as one:
        assert one.get("/healthz").status == 200
        assert one.get("/readyz").json == {"ready": False, "bindings": {"lake-read": "absent", "polaris": "absent"}}
        one.get(AWS)
        assert one.get("/readyz").status == 503
        reply = one.post("/polaris/oauth2-token", b"grant_type=client_credentials")
        assert reply.json["access_token"].startswith("canary.session.token")
        assert one.get("/readyz").json == {"ready": True, "bindings": {"lake-read": "fresh", "polaris": "fresh"}}
        one.clock.advance(3590)
        assert one.get("/readyz").json["bindings"]["lake-read"] == "expired"


def test_the_status_tells_of_each_binding_and_shows_no_secret() -> None:
    with world(LAKE_READ) as one:
        one.get(AWS)
        one.provider.fail_with(IssuerUnavailable("sts did not answer"))
        one.clock.advance(3000)
        one.get(AWS)
        reply = one.get("/status")
        assert b"canary" not in reply.body
        told = reply.json["bindings"][0]
        assert (told["name"], told["profile"], told["state"]) == ("lake-read", "lake", "stale")
        assert told["life"] == 3585.0
        assert told["left"] == 585.0
        assert told["answers"] == 2
        metrics = one.get("/metrics").body
        assert b"canary" not in metrics
        assert b'credbroker_answers_total{binding="lake-read",protocol="aws-container",status="200"} 2.0' in metrics


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with world({"polaris": {"catalog": "polaris", "protocols": ["oauth2-token"]}}) as one:
        twice = one.post("/polaris/oauth2-token", b"grant_type=client_credentials&grant_type=x")
        assert (twice.status, twice.json["error"]) == (400, "invalid_request")
        assert one.post("/polaris/oauth2-token", b"x" * 20_000).status == 413
        plain = one.post("/polaris/oauth2-token", b"{}", {"Content-Type": "application/json"})
        assert plain.status == 415
        assert one.post("/polaris/oauth2-token", b"grant_type=\xff").status == 400
        assert one.provider.calls == 0


def test_an_unexpected_failure_tells_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with world(LAKE_READ) as one:

        async def broken(self: object) -> None:
            raise RuntimeError("canary")

        monkeypatch.setattr("credbroker.sidecar.bindings.Binding.value", broken)
        reply = one.get(AWS)
        assert reply.status == 500
        assert b"canary" not in reply.body
        assert "canary" not in caplog.text


def test_bindings_are_swapped_as_a_whole() -> None:
    with world(LAKE_READ) as one:
        assert one.get(AWS).status == 200
        one.app.serve({})
        assert one.get(AWS).status == 404
        assert ask(one.app, "GET", "/healthz", {"Host": "localhost"}, peer=BY_SOCKET).status == 200


def test_short_lived_values_are_told_as_they_are() -> None:
    with world(LAKE_READ, life=timedelta(seconds=4)) as one:
        assert one.get(AWS).json["Expiration"] == "2026-01-01T00:00:03Z"
        one.clock.advance(2.6)  # in the last moments of its use it is not told as over, or an SDK would refuse it
        assert one.get(AWS).json["Expiration"] == "2026-01-01T00:00:03Z"
        one.clock.advance(0.1)
        assert one.get(AWS).json["AccessKeyId"] == "ASIA0000000000000002"
