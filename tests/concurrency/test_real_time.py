"""The same engine on the system's clock: the background thread, and how a process ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

from credbroker import Broker
from credbroker.context import Context
from credbroker.testing import ControlledProvider
from tests.concurrency.harness import PATIENCE

CONFIG: dict[str, Any] = {
    "environment": "local",
    "catalogs": {"c": {"credentials": {"mode": "oauth2", "client_id": "x", "client_secret": {"secret_ref": "x"}}}},
}


def test_the_background_thread_refreshes_what_somebody_listens_to_with_nobody_getting() -> None:
    pushed: list[str] = []
    enough = threading.Event()

    def keep(value: Any) -> None:
        pushed.append(value.value.get_secret_value())
        if len(pushed) == 4:
            enough.set()

    provider = ControlledProvider(timedelta(seconds=0.3))
    with Broker.from_config(CONFIG, providers={"oauth2": provider}, context=Context()) as broker:
        source = broker.catalog("c")
        source.on_refresh(keep)
        source.get()
        assert enough.wait(PATIENCE)
    assert pushed[:4] == ["token-1", "token-2", "token-3", "token-4"]


def test_a_hung_provider_ends_at_the_profiles_timeout() -> None:
    config: dict[str, Any] = {
        "environment": "local",
        "catalogs": {"c": {"credentials": {**CONFIG["catalogs"]["c"]["credentials"]}}},
    }
    config["catalogs"]["c"]["credentials"]["timeout"] = "200ms"
    provider = ControlledProvider()
    provider.hold()
    with Broker.from_config(config, providers={"oauth2": provider}, context=Context()) as broker:
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                broker.catalog("c").get()
            except Exception as error:
                errors.append(error)

        asker = threading.Thread(target=ask, daemon=True)
        asker.start()
        asker.join(PATIENCE)
        assert [type(error).__name__ for error in errors] == ["IssuerUnavailable"]
        assert "within 0.2 s" in str(errors[0])
        provider.release()


AT_EXIT = """
from credbroker import Broker
from credbroker.context import Context
from credbroker.testing import ControlledProvider
class Late:
    def __del__(self):
        print(broker.catalog("c").get().token_type, flush=True)
broker = Broker.from_config({config!r}, providers={{"oauth2": ControlledProvider()}}, context=Context())
late = Late()
late.self = late
"""


def test_a_get_while_the_interpreter_ends_hangs_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT.format(config=CONFIG)], capture_output=True, timeout=5 * PATIENCE, check=False
    )
    assert done.returncode == 0


PROGRAM = """
import threading
from credbroker import Broker
from credbroker.context import Context
from credbroker.testing import ControlledProvider
provider = ControlledProvider()
provider.hold()
broker = Broker.from_config({config!r}, providers={{"oauth2": provider}}, context=Context())
threading.Thread(target=lambda: broker.catalog("c").get(), daemon=True).start()
provider.wait_for_calls(1)
print("done", flush=True)
"""


def test_a_process_ends_without_waiting_for_an_issuer_that_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(config=CONFIG)], capture_output=True, timeout=5 * PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")
