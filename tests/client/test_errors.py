"""Errors: one branch of the tree, each with a code of its own."""

import pytest

import gobbler.client
from gobbler.client import ClientError, GobblerError, MessagesLost, Refused


def below(kind: type[GobblerError]) -> list[type[GobblerError]]:
    return [each for child in kind.__subclasses__() for each in (child, *below(child))]


def test_every_error_has_a_code_of_its_own_and_can_be_imported() -> None:
    kinds = below(ClientError)
    codes = {kind.code for kind in kinds}
    assert len(codes) == len(kinds) >= 10
    assert not codes & {kind.code for kind in below(GobblerError) if kind not in kinds}
    assert [kind for kind in kinds if getattr(gobbler.client, kind.__name__, None) is not kind] == []


@pytest.mark.parametrize(
    ("status", "retry"), [(401, False), (403, False), (404, True), (429, True), (500, True), (503, True)]
)
def test_whether_to_try_again_is_in_the_status(status: int, retry: bool) -> None:
    assert Refused(status, "why").retry is retry
    assert str(Refused(status, "why")) == f"{status} why"


def test_a_time_out_is_pythons_too() -> None:
    assert issubclass(gobbler.client.Timeout, TimeoutError)


def test_what_is_lost_is_named() -> None:
    error = MessagesLost("/a", 3, 7)
    assert (error.topic, error.first, error.last) == ("/a", 3, 7)
    assert str(error) == "messages 3 to 7 of /a are lost"
