from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.security.canary import locals_of
from tests.servers.certificates import server_context
from tests.servers.duckdb_extensions import connect
from tests.servers.hostile import HostileServer, answer, saying
from tests.unit.integrations.conftest import CANARY, HOUR, Desk

from credbroker.errors import ConfigurationError, IssueDenied
from credbroker.integrations.duckdb import secret
from credbroker.integrations.duckdb_settings import settings_of
from credbroker.source import CredentialSource

FILE = "s3://lake/sales/f.csv"
SECRETS = "SELECT name, type, persistent, scope, secret_string FROM duckdb_secrets()"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    made = connect("httpfs")
    yield made
    made.close()


@pytest.fixture
def lake(desk: Desk) -> CredentialSource[Any]:
    source: CredentialSource[Any] = desk.broker.storage("lake", "s3://lake/sales")
    return source


def refresh(desk: Desk, source: CredentialSource[Any]) -> None:
    """Let the time of a refresh come, and wait until each callback has had the new value: those there are come first."""
    had = threading.Event()
    stop = source.on_refresh(lambda _: had.set())
    desk.pass_time(0.9 * HOUR.total_seconds())
    assert had.wait(10)
    stop()


def is_refreshed(desk: Desk, source: CredentialSource[Any]) -> bool:
    """Whether a refresh begins when its time has come: it is under way then, or over."""
    calls = desk.provider.calls
    desk.pass_time(0.9 * HOUR.total_seconds())
    return source._slot.flight is not None or desk.provider.calls > calls


def read(connection: duckdb.DuckDBPyConnection, path: str = FILE) -> list[Any]:
    return connection.read_csv(path).fetchall()


def names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in connection.execute(SECRETS).fetchall()}


def test_a_file_is_read_with_the_keys_that_are_current_then(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    with secret(connection, lake):
        assert read(connection) == [(1,)]
        refresh(desk, lake)
        assert read(connection) == [(1,)]
    assert list(dict.fromkeys(desk.store.key_ids)) == ["ASIA1", "ASIA2"]
    assert {one.region for one in desk.store.seen} == {"eu-west-1"}
    assert desk.store.seen[-1].token == f"{CANARY}-token-2"


def test_s3a_is_the_same_place(desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection) -> None:
    with secret(connection, lake):
        assert read(connection, "s3a://lake/sales/f.csv") == [(1,)]
        assert read(connection, "s3://lake/sales/*.csv") == [(1,)]
    assert set(desk.store.key_ids) == {"ASIA1"}


def test_the_scope_is_exactly_the_locations(
    desk: Desk, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("SET s3_endpoint = $1", [desk.store.uri.removeprefix("http://")])
    connection.execute("SET s3_use_ssl = false; SET s3_url_style = 'path'")
    with secret(connection, desk.broker.storage("lake", "s3://lake/sales", "s3://pond")):
        for path in ("s3://lake/sales2/f.csv", "s3://lake/f.csv", "s3://pond2/f.csv"):
            read(connection, path)
        assert set(desk.store.key_ids) == {None}
        desk.store.seen.clear()
        for path in (FILE, "s3://pond/deep/f.csv"):
            read(connection, path)
        assert set(desk.store.key_ids) == {"ASIA1"}


def test_nothing_of_the_environment_is_used(
    desk: Desk, lake: CredentialSource[Any], ambient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a proxy, which is a setting of the connection's own."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.delenv("http_proxy")
    connection = connect("httpfs")
    with connection, secret(connection, lake):
        read(connection)
    assert set(desk.store.key_ids) == {"ASIA1"}
    assert {one.region for one in desk.store.seen} == {"eu-west-1"}


@pytest.mark.parametrize("name", [None, "mine", 'a"; drop secret x; --', "o'brien", "ünï 🦆"])
def test_no_name_and_no_value_is_read_as_sql(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, name: str | None
) -> None:
    connection.execute("CREATE SECRET x (TYPE s3, KEY_ID 'mine', SECRET 'mine', SCOPE 's3://other/')")
    with secret(connection, lake, name) as made:
        names = {row[0] for row in connection.execute(SECRETS).fetchall()}
        assert names == {"x", made.name}
        read(connection)
        assert desk.store.seen[0].token == f"{CANARY}-token-1"  # with its quotes and its semicolon
    assert {row[0] for row in connection.execute(SECRETS).fetchall()} == {"x"}


def test_it_is_temporary_and_shows_nothing(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute("CALL enable_logging('QueryLog')")
    with secret(connection, lake) as made:
        ((name, kind, persistent, scope, text),) = connection.execute(SECRETS).fetchall()
        assert (name, kind, persistent) == (made.name, "s3", False)
        assert scope == ["s3://lake/sales/", "s3a://lake/sales/", made._mark]
        logged = connection.execute("SELECT message FROM duckdb_logs").fetchall()
        assert any("CREATE OR REPLACE TEMPORARY SECRET" in row[0] for row in logged)
        for shown in (text, str(scope), str(logged), repr(made), repr(vars(made))):
            assert CANARY not in shown
            assert CANARY.replace("'", "''") not in shown
    with pytest.raises(TypeError, match="is one connection's, and is not pickled"):
        pickle.dumps(made)


def test_of_two_secrets_for_one_place_duckdb_takes_the_first_by_name(connection: duckdb.DuckDBPyConnection) -> None:
    """DuckDB's own way, from which the names and the refusals follow: else the longest scope that the path begins with."""

    def create(name: str, scope: str) -> None:
        connection.execute(f"CREATE SECRET {name} IN memory (TYPE s3, KEY_ID 'x', SECRET 'x', SCOPE '{scope}')")

    def taken() -> Any:
        return connection.execute("SELECT name FROM which_secret($1, 's3')", [FILE]).fetchall()

    for name, first in (("m", "m"), ("z", "m"), ("b", "b"), ("b_9", "b"), ("b_10", "b")):
        create(name, "s3://lake/sales/")
        assert taken() == [(first,)]
    connection.execute("CREATE OR REPLACE SECRET b IN memory (TYPE s3, KEY_ID 'y', SECRET 'y', SCOPE 's3://lake/sales/')")
    assert taken() == [("b",)]
    connection.execute("DROP SECRET b")
    assert taken() == [("b_10",)]
    create("zz", "s3://lake/sales/f")
    create("a", "s3://lake/")
    assert taken() == [("zz",)]


@pytest.mark.parametrize("first_closed", [0, 1])
def test_equal_sources_have_a_secret_each_and_one_outlives_the_other(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, first_closed: int
) -> None:
    equal = desk.broker.with_context(run_id="42").storage("lake", "s3://lake/sales")
    made = [secret(connection, lake), secret(connection, equal)]
    assert names(connection) == {made[0].name, made[1].name}
    refresh(desk, lake)
    read(connection)  # whichever of them is taken
    assert set(desk.store.key_ids) == {"ASIA2"}
    made.pop(first_closed).close()
    assert names(connection) == {made[0].name}
    refresh(desk, lake)
    read(connection)
    assert desk.store.key_ids[-1] == "ASIA3"
    made.pop().close()
    assert names(connection) == set()


@pytest.mark.parametrize(("one", "other"), [("mine", None), (None, "mine"), ("mine", "yours")])
def test_equal_sources_are_known_by_any_name(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, one: str | None, other: str | None
) -> None:
    with secret(connection, lake, one), secret(connection, lake, other):
        assert len(names(connection)) == 2
        with connect("httpfs") as another:
            another.execute("CREATE SECRET mine (TYPE s3, KEY_ID 'x', SECRET 'x', SCOPE 's3://lake/sales/')")
            with pytest.raises(ConfigurationError, match="'mine' is for s3://lake/sales/ too"):  # here it is another's
                secret(another, lake)


@pytest.mark.parametrize("name", [None, "a"])
def test_another_actors_secret_for_the_same_place_is_refused(
    desk: Desk, connection: duckdb.DuckDBPyConnection, name: str | None
) -> None:
    ana, ben = (
        desk.broker.with_context(actor=who).storage("lake", "s3://lake/sales", "s3://pond") for who in ("ana", "ben")
    )
    with secret(connection, ana, name) as made:
        with pytest.raises(
            ConfigurationError, match=rf"the secret '{made.name}' is for s3://lake/sales/ too.*close it, or DROP"
        ) as caught:
            secret(connection, ben)
        assert CANARY not in locals_of(caught.value.__traceback__)
        with pytest.raises(ConfigurationError, match="is for s3://pond/ too"):
            secret(connection, desk.broker.with_context(actor="ben").storage("lake", "s3://pond"), "b")
        assert names(connection) == {made.name}
        read(connection)
        assert set(desk.store.key_ids) == {"ASIA1"}
        refresh(desk, ana)
        assert names(connection) == {made.name}
    with secret(connection, ben):
        desk.store.seen.clear()
        read(connection)
        assert set(desk.store.key_ids) == {ben.get().access_key_id}


@pytest.mark.parametrize("name", [None, "mine"])
def test_what_the_user_drops_does_not_come_back(desk: Desk, connection: duckdb.DuckDBPyConnection, name: str | None) -> None:
    """Nor does it take the place of what has its name now, or drop that."""
    ana, ben = (desk.broker.with_context(actor=who).storage("lake", "s3://lake/sales") for who in ("ana", "ben"))
    with secret(connection, ana, name) as made:
        with pytest.raises(ConfigurationError, match="not of an equal source") as caught:
            secret(connection, ben)
        connection.execute(str(caught.value).partition("close it, or ")[2].partition(",")[0])
        with secret(connection, ben, name) as other:
            refresh(desk, ana)
            assert names(connection) == {other.name}
            made.close()
            ((there, _, _, scope, _),) = connection.execute(SECRETS).fetchall()
            assert (there, scope[-1]) == (other.name, other._mark)


def test_of_what_the_user_drops_the_refresh_ends(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    with secret(connection, lake) as made:
        connection.execute(f'DROP SECRET "{made.name}"')
        refresh(desk, lake)
        assert not is_refreshed(desk, lake)


@pytest.mark.parametrize("name", [None, "mine"])
def test_what_is_left_of_a_closed_one_bars_nobody(
    desk: Desk, connection: duckdb.DuckDBPyConnection, name: str | None
) -> None:
    ana, ben = (desk.broker.with_context(actor=who).storage("lake", "s3://lake/sales") for who in ("ana", "ben"))
    cursor = connection.cursor()
    with connect("httpfs") as another, secret(another, ana, name):  # open, by the same name
        with secret(cursor, ana, name) as made:
            cursor.close()
        assert names(connection) == {made.name}
        with secret(connection, ben, name) as other:
            assert names(connection) == {other.name}
        assert len(names(another)) == 1
    with secret(connection.cursor(), ana, name):
        assert len(names(connection)) == 1
    with secret(connection, ana) as other:  # equal, and still no more refreshed
        assert names(connection) == {other.name}


def test_one_that_is_not_closed_is_left_alone_though_its_connection_is(
    desk: Desk, connection: duckdb.DuckDBPyConnection
) -> None:
    """Its block may go on to read."""
    ana, ben = (desk.broker.with_context(actor=who).storage("lake", "s3://lake/sales") for who in ("ana", "ben"))
    with secret(connection.cursor(), ana) as made:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="not of an equal source"):
                secret(connection, ben)
            refresh(desk, ana)
        assert names(connection) == {made.name}


def test_two_that_are_made_at_once_see_each_other(desk: Desk, connection: duckdb.DuckDBPyConnection) -> None:
    sources = [desk.broker.with_context(actor=f"{n}").storage("lake", "s3://lake/sales") for n in range(8)]
    together = threading.Barrier(len(sources))
    made: list[Any] = []
    refused: list[ConfigurationError] = []

    def make(source: CredentialSource[Any]) -> None:
        cursor = connection.cursor()
        cursors.append(cursor)
        together.wait()
        try:
            made.append(secret(cursor, source))
        except ConfigurationError as error:
            refused.append(error)

    cursors: list[Any] = []
    threads = [threading.Thread(target=make, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(refused) == len(sources) - 1
    assert names(connection) == {made[0].name}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # forking is the test
def test_a_forked_child_waits_for_no_thread_of_its_parents(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, at_it, go_on = sys.modules[secret.__module__], threading.Event(), threading.Event()

    def slow(*asked: Any) -> None:
        at_it.set()
        go_on.wait(60)

    lake.get()
    monkeypatch.setattr(module, "clash", slow)
    thread = threading.Thread(target=lambda: secret(connection, lake).close())
    thread.start()
    at_it.wait(60)
    monkeypatch.undo()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # ends a deadlock
        code = 1
        try:
            with connect("httpfs") as own, secret(own, lake) as made:
                code = 0 if names(own) == {made.name} else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    go_on.set()
    thread.join()


def test_a_run_is_told_from_another_where_it_is_in_the_credential(desk: Desk, connection: duckdb.DuckDBPyConnection) -> None:
    one, same, other = (desk.broker.with_context(run_id=run).storage("Runs") for run in ("1", "1", "2"))
    with secret(connection, one) as made:
        assert made.name.startswith("credbroker_runs_")  # as DuckDB writes it
        with secret(connection, same):
            assert len(names(connection)) == 2
        with pytest.raises(ConfigurationError, match="not of an equal source"):
            secret(connection, other)


def test_another_brokers_secret_for_the_same_place_is_refused(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    """Equal as the two may be: the other one may have been closed, and its keys replaced no more."""
    another = Desk(desk.store)
    with secret(connection, lake), another.broker, pytest.raises(ConfigurationError, match="not of an equal source"):
        secret(connection, another.broker.storage("lake", "s3://lake/sales"))


def test_after_a_reload_equal_sources_are_still_equal(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    with secret(connection, lake):
        desk.broker.reload({**desk.config, "storage": {"lake": {**desk.config["storage"]["lake"], "max_ttl": "30m"}}})
        with secret(connection, desk.broker.storage("lake", "s3://lake/sales")):
            assert len(names(connection)) == 2


def test_a_secret_for_a_smaller_place_stands_beside_one_for_a_greater(
    desk: Desk, connection: duckdb.DuckDBPyConnection
) -> None:
    greater = desk.broker.with_context(actor="ana").storage("lake", "s3://lake/sales")
    smaller = desk.broker.with_context(actor="ben").storage("lake", "s3://lake/sales/2026")
    with secret(connection, greater), secret(connection, smaller):
        read(connection)
        read(connection, "s3://lake/sales/2026/f.csv")
    assert list(dict.fromkeys(desk.store.key_ids)) == ["ASIA1", "ASIA2"]


def test_a_secret_of_somebody_elses_for_the_same_place_is_refused(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute("CREATE SECRET mine (TYPE s3, KEY_ID 'mine', SECRET 'mine', SCOPE 's3a://lake/sales/')")
    with pytest.raises(ConfigurationError, match="the secret 'mine' is for s3a://lake/sales/ too"):
        secret(connection, lake)
    connection.execute("DROP SECRET mine")
    with secret(connection, lake):
        read(connection)


def test_a_name_that_is_taken_is_refused(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    pond = desk.broker.storage("lake", "s3://pond")
    with secret(connection, lake, "Mine") as made:
        for source in (lake, pond):
            with pytest.raises(
                ConfigurationError, match="there is a secret 'mine': close it, or DROP TEMPORARY SECRET \"mine\","
            ):
                secret(connection, source, "MINE")
        assert names(connection) == {"mine"} == {made.name}
    with secret(connection, pond, "mine"):
        assert names(connection) == {"mine"}


def test_secrets_that_cannot_be_listed_are_refused(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "broken.duckdb_secret").write_bytes(b"broken")
    connection.execute("SET secret_directory = $1", [str(tmp_path)])
    with pytest.raises(ConfigurationError, match=r"does not list its secrets \(IOException\)"):
        secret(connection, lake)


def test_without_the_extension_it_says_what_to_load_and_no_secret(desk: Desk, lake: CredentialSource[Any]) -> None:
    with connect() as bare, pytest.raises(ConfigurationError, match="load its extension 'httpfs' before") as caught:
        secret(bare, lake)
    assert caught.value.__context__ is None
    assert CANARY not in locals_of(caught.value.__traceback__)
    assert not is_refreshed(desk, lake)


def test_what_the_issue_raises_is_raised_and_nothing_is_left(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    desk.provider.fail_with(IssueDenied("the role may not be assumed"))
    with pytest.raises(IssueDenied):
        secret(connection, lake)
    assert connection.execute(SECRETS).fetchall() == []


def test_closed_it_is_dropped_and_refreshed_no_more(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    made = secret(connection, lake)
    made.close()
    made.close()
    assert not is_refreshed(desk, lake)
    assert connection.execute(SECRETS).fetchall() == []


def test_without_a_handle_it_is_refreshed_for_as_long_as_the_connection_is_there(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    secret(connection, lake)
    gc.collect()
    refresh(desk, lake)
    read(connection)
    assert set(desk.store.key_ids) == {"ASIA2"}


@pytest.mark.parametrize("closed", [True, False])
def test_it_holds_no_database_open(desk: Desk, lake: CredentialSource[Any], tmp_path: Path, closed: bool) -> None:
    connection = connect("httpfs", database=str(tmp_path / "one.duckdb"))
    made = secret(connection, lake)
    gone = weakref.ref(connection)
    if closed:
        connection.close()
    del connection
    gc.collect()
    assert gone() is None
    with duckdb.connect(str(tmp_path / "one.duckdb"), config={"threads": 1}) as another:  # other settings: another instance
        assert another.execute(SECRETS).fetchall() == []
    for _ in range(3):
        refresh(desk, lake)
    assert not is_refreshed(desk, lake)  # it has ended its refresh by itself
    made.close()


def test_a_refresh_while_it_is_made_is_kept(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = type(lake).get

    def slow(source: CredentialSource[Any], **how: Any) -> Any:
        value = get(source, **how)
        monkeypatch.undo()
        refresh(desk, source)
        return value

    monkeypatch.setattr(type(lake), "get", slow)
    with secret(connection, lake):
        read(connection)
    assert set(desk.store.key_ids) == {"ASIA2"}


def test_for_a_connection_that_is_closed_nothing_is_refreshed(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    connection.close()
    secret(connection, lake)
    assert not is_refreshed(desk, lake)


def test_an_older_value_never_takes_the_place_of_a_newer_one(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    with secret(connection, lake) as made:
        older = lake.get()
        desk.clock.advance(2 * HOUR.total_seconds())
        made._put(lake.get())
        made._put(older)
        read(connection)
    assert set(desk.store.key_ids) == {"ASIA2"}


def test_a_refresh_goes_through_while_a_statement_runs(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    running = threading.Event()
    found: list[Any] = []

    def busy() -> None:
        running.set()
        found.append(connection.execute("SELECT count(*) FROM range(300000) a, range(3000) b").fetchall())

    with secret(connection, lake):
        thread = threading.Thread(target=busy)
        thread.start()
        running.wait()
        refresh(desk, lake)
        thread.join()
        assert found == [[(900_000_000,)]]
        read(connection)
    assert set(desk.store.key_ids) == {"ASIA2"}


def test_a_transaction_keeps_the_keys_that_it_has_used(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection
) -> None:
    """DuckDB's own way, which docs/adapters.md tells of: a statement must end before its keys do."""
    with secret(connection, lake):
        connection.begin()
        read(connection)
        refresh(desk, lake)
        read(connection)
        assert set(desk.store.key_ids) == {"ASIA1"}
        connection.commit()
        read(connection)
        assert desk.store.key_ids[-1] == "ASIA2"


def test_a_table_with_one_set_of_keys(desk: Desk, connection: duckdb.DuckDBPyConnection) -> None:
    with secret(connection, desk.broker.table("polaris", "sales.orders")):
        read(connection)
        assert connection.execute(SECRETS).fetchall()[0][3][:-1] == ["s3://lake/sales/", "s3a://lake/sales/"]
    desk.prefixes = ("s3://lake/sales/orders", "s3://pond/orders")
    desk.broker.purge("polaris")
    with pytest.raises(ConfigurationError, match="2 sets of credentials"):
        secret(connection, desk.broker.table("polaris", "sales.orders"))


def test_the_other_stores_words(desk: Desk, connection: duckdb.DuckDBPyConnection) -> None:
    with secret(connection, desk.broker.storage("gcs")):
        ((_, kind, _, scope, text),) = connection.execute(SECRETS).fetchall()
    assert (kind, scope[:-1]) == ("gcs", ["gs://lake/sales/", "gcs://lake/sales/"])
    assert "bearer_token=redacted;endpoint=storage.googleapis.com" in text
    adls = desk.broker.storage("adls")
    kind, settings = settings_of(adls, adls.get())
    assert (kind, settings["SCOPE"]) == ("azure", ["abfss://lake@acme.dfs.core.windows.net/sales/"])
    assert settings["CONNECTION_STRING"] == (
        "BlobEndpoint=https://acme.blob.core.windows.net;DfsEndpoint=https://acme.dfs.core.windows.net;AccountName=acme;"
        "SharedAccessSignature=sv=1&sig=2%2B"
    )
    with pytest.raises(ConfigurationError, match="load its extension 'azure' before"):
        secret(connection, adls)


def test_a_sas_cannot_say_where_it_is_sent(desk: Desk) -> None:
    from pydantic import SecretStr

    from credbroker import ADLSCredentials

    adls = desk.broker.storage("adls")
    vended = ADLSCredentials("acme", SecretStr(f"sig={CANARY};BlobEndpoint=https://evil.example"))
    with pytest.raises(ConfigurationError, match="the SAS has a ';'") as caught:
        settings_of(adls, vended)
    assert CANARY not in locals_of(caught.value.__traceback__)


@pytest.mark.parametrize("profile", ["lake", "gcs", "adls"])
def test_a_host_that_is_not_allowed_is_sent_nothing(desk: Desk, connection: duckdb.DuckDBPyConnection, profile: str) -> None:
    desk.network = {"allowed_hosts": ["elsewhere.example"]}
    source = desk.broker.storage(profile, "s3://lake/sales") if profile == "lake" else desk.broker.storage(profile)
    with pytest.raises(ConfigurationError, match=r"is not in network\.allowed_hosts"):
        secret(connection, source)


@pytest.mark.parametrize("client", ["curl", "httplib"])
def test_a_server_without_a_trusted_certificate_is_sent_nothing(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, tmp_path: Path, client: str
) -> None:
    """DuckDB's own default of the latter is to ask for none."""
    with HostileServer(saying(answer(b"a\n1\n")), tls=server_context(tmp_path)) as server:
        desk.endpoint = server.url.removesuffix("/token")
        connection.execute(f"SET httpfs_client_implementation = '{client}'; SET http_retries = 0")
        with secret(connection, lake), pytest.raises(duckdb.Error, match=r"(?i)ssl|certificate") as caught:
            read(connection)
        assert server.requests == []
    assert CANARY not in str(caught.value)


def test_a_refresh_that_duckdb_does_not_take_is_logged_without_the_value(
    desk: Desk, lake: CredentialSource[Any], connection: duckdb.DuckDBPyConnection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), secret(connection, lake) as made:
        made.name = "\0"
        refresh(desk, lake)
    assert "a callback of on_refresh failed with ConfigurationError" in caplog.text
    assert CANARY not in caplog.text
