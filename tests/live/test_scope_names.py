"""Names in two stores that nobody here wrote: each opens itself and no neighbour, or is refused before anything is asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest
from tests.servers.store import Answers, closed, granted, listed, refused

from credbroker import Broker
from credbroker.errors import ConfigurationError


def neighbours(name: str) -> set[str]:
    """What a reader might make of the name that decodes or encodes it once too often, or matches on from it or up to it."""
    codecs = {read(name) for read in (quote, quote_plus, unquote, unquote_plus)}
    return {*codecs, name.replace("+", " "), name.encode().decode("latin-1"), f"{name}2", name[:-1]} - {name}


def works_and_is_alone(broker: Broker, owner: Any, name: str) -> None:
    for key in (name, *neighbours(name)):
        owner.put_object(Bucket="lake", Key=f"names/{key}/x", Body=b"")
    with granted(broker, f"s3://lake/names/{name}", access="read_write") as client:
        client.put_object(Bucket="lake", Key=f"names/{name}/x", Body=name.encode())
        assert client.get_object(Bucket="lake", Key=f"names/{name}/x")["Body"].read() == name.encode()
        assert listed(client, "lake", f"names/{name}/") == {f"names/{name}/x"}
        for key in neighbours(name):
            closed(client, "lake", f"names/{key}/x")
        client.delete_object(Bucket="lake", Key=f"names/{name}/x")


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a  b ",
        "a+b",
        "a%20b",
        "a%2Ab",
        "a%25b",
        "a'b",
        'a"b',
        "a{}b",
        "{a}",
        "a&b=c",
        "café",
        "ÿ£",
        "a<b>|^`(c)[d]",
        "a,b;c@d!e~f",
    ],
)
def test_a_name_is_read_as_it_is_written(broker: Broker, owner: Any, name: str) -> None:
    works_and_is_alone(broker, owner, name)


def test_a_name_in_capitals_is_another_one_where_the_store_knows_it(broker: Broker, owner: Any, answers: Answers) -> None:
    owner.put_object(Bucket="lake", Key="SALES/orders", Body=b"")
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        refused(client.list_objects_v2, Bucket="lake", Prefix="SALES/")
        if answers.case_matters:
            closed(client, "lake", "SALES/orders")
        else:
            client.get_object(Bucket="lake", Key="SALES/orders")


def test_a_backslash_is_a_letter_or_opens_nothing(broker: Broker, owner: Any, answers: Answers) -> None:
    if answers.backslash:
        works_and_is_alone(broker, owner, "a\\b")
    owner.put_object(Bucket="lake", Key="names/c/d/x", Body=b"")
    with granted(broker, "s3://lake/names/c\\d", access="read_write") as client:
        closed(client, "lake", "names/c/d/x")


def test_a_colon_is_a_letter_or_refused_by_sts(broker: Broker, owner: Any, answers: Answers) -> None:
    if answers.colon:
        works_and_is_alone(broker, owner, "t=10:30")
        return
    for locations in (["s3://lake/names/t=10:30"], ["s3://lake/sales", "s3://lake/names/t=10:30"]):
        with pytest.raises(ConfigurationError, match="MalformedPolicyDocument"):
            broker.storage("lake", *locations, access="read").get()


@pytest.mark.parametrize("name", ["w*d", "*", "w$d", "w${*}d", "${aws:username}"])
def test_a_name_that_a_store_could_take_for_a_pattern_is_refused_before_any_call(broker: Broker, name: str) -> None:
    for locations in ([f"s3://lake/{name}"], ["s3://lake/sales", f"s3://lake/sales2/{name}"]):
        with pytest.raises(ConfigurationError, match="policy_escapes"):
            broker.storage("lake", *locations, access="read")


def test_neither_store_knows_the_escape_that_would_allow_it(broker: Broker, owner: Any) -> None:
    """Both take ``${*}`` for ``${``, anything, ``}``: the name itself stays closed, and another one is open."""
    for key in ("w*d/x", "wxd/x", "w${x}d/x"):
        owner.put_object(Bucket="lake", Key=key, Body=b"")
    with granted(broker, "s3://lake/w*d", access="read", profile="escaping") as client:
        refused(client.get_object, Bucket="lake", Key="w*d/x")
        refused(client.list_objects_v2, Bucket="lake", Prefix="w*d/")
        closed(client, "lake", "wxd/x")
        client.get_object(Bucket="lake", Key="w${x}d/x")
