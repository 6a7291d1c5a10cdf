"""Whatever the order of events, nothing that is over is handed out, and the issuer is left in peace."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.concurrency.harness import Bench, Issuer, token

from credbroker.errors import CredbrokerError, InsufficientLifetime, IssueDenied, IssuerUnavailable
from credbroker.refresh.policy import guard
from credbroker.refresh.slot import Loaded


class Recording(Issuer):
    """Keeps the end of each token it has issued, and when it was called."""

    def __init__(self, bench: Bench, lifetime: float) -> None:
        super().__init__(bench.clock, lifetime)
        self.ends: dict[str, float] = {}
        self.called: list[float] = []

    def __call__(self, slot: object, flight: object) -> Loaded:
        self.called.append(self.clock.elapsed())
        loaded = super().__call__(slot, flight)  # type: ignore[arg-type]
        assert loaded.lifetime is not None
        self.ends[loaded.value.value.get_secret_value()] = loaded.sent + loaded.lifetime  # type: ignore[union-attr]
        return loaded


class Refreshing(RuleBasedStateMachine):
    @initialize(lifetime=st.sampled_from([1.0, 4.0, 60.0, 900.0, 3600.0, 43200.0]))
    def begin(self, lifetime: float) -> None:
        self.bench = Bench()
        self.lifetime = lifetime
        self.issuer = self.bench.issuer = Recording(self.bench, lifetime)
        self.last: str | None = None
        self.asked_anew = 0

    @rule(share=st.floats(0, 1.5))
    def time_goes_by(self, share: float) -> None:
        self.bench.clock.advance(share * self.lifetime)

    @rule(seconds=st.floats(0, 40))
    def a_little_time_goes_by(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)

    @rule(days=st.integers(-2, 2))
    def the_wall_clock_jumps(self, days: int) -> None:
        self.bench.clock.jump(days * 86400)

    @rule(
        error=st.sampled_from(
            [
                None,
                IssuerUnavailable("down"),
                IssuerUnavailable("throttled", retry_after=timedelta(seconds=100)),
                IssueDenied("invalid_client"),
                IssueDenied("AccessDenied", grant_denied=True),
            ]
        )
    )
    def the_issuer_changes_its_mind(self, error: CredbrokerError | None) -> None:
        self.issuer.error = error

    @rule(wait=st.booleans())
    def somebody_gets(self, wait: bool) -> None:
        try:
            self.last = self.bench.get(wait=wait)
        except (IssuerUnavailable, IssueDenied):
            assert self.issuer.error is not None or self.bench.slot().failure is not None
        else:
            now = self.bench.clock.elapsed()
            assert now < self.issuer.ends[self.last] - guard(self.lifetime) + 1e-6
        self.bench.settled()

    @rule(share=st.floats(0, 1.2))
    def somebody_demands(self, share: float) -> None:
        demand = share * self.lifetime
        try:
            got = self.bench.get(demand)
        except (InsufficientLifetime, IssuerUnavailable, IssueDenied):
            pass
        else:
            assert self.issuer.ends[got] - guard(self.lifetime) - self.bench.clock.elapsed() >= demand - 1e-6
        self.bench.settled()

    @precondition(lambda self: self.last is not None)
    @rule()
    def a_server_refuses(self) -> None:
        assert self.last is not None
        self.asked_anew += self.bench.engine.invalidate(self.bench.slot(), token(self.last))

    @rule()
    def the_background_ticks(self) -> None:
        self.bench.engine.tick()
        self.bench.settled()

    @rule()
    def somebody_purges(self) -> None:
        self.bench.engine.purge(lambda _: True)
        self.asked_anew += 1

    @invariant()
    def failures_are_backed_off(self) -> None:
        """Two calls of the issuer closer than the shortest backoff have a reason: a refusal, a purge, or a short life."""
        if not hasattr(self, "issuer"):
            return
        close = sum(
            later - earlier < 0.05 for earlier, later in zip(self.issuer.called, self.issuer.called[1:], strict=False)
        )
        demands_and_expiries = len(self.issuer.ends)
        assert close <= self.asked_anew + demands_and_expiries

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.engine.close()


TestRefreshing = Refreshing.TestCase
TestRefreshing.settings = settings(stateful_step_count=40)
