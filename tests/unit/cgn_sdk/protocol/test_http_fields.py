"""Fields that end at each hop (RFC 9110 section 7.6.1)."""

import pytest
from cgn_sdk.protocol.http_fields import HOP_BY_HOP, named_by_connection


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([], set()),
        (["close"], {"close"}),
        (["Keep-Alive, X-Hop"], {"keep-alive", "x-hop"}),
        (["close", "\tX-One ,x-two"], {"close", "x-one", "x-two"}),
        ([",, ,"], set()),
    ],
)
def test_what_connection_names(values: list[str], named: set[str]) -> None:
    assert named_by_connection(values) == named


def test_the_table_is_in_lower_case_and_holds_the_fields_of_the_standard() -> None:
    assert all(name == name.lower() for name in HOP_BY_HOP)
    assert {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"} <= HOP_BY_HOP
