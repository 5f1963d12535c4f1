"""What h2 does otherwise than it would: headers, and frames after a GOAWAY (more in test_streams.py)."""

import logging

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.apns.client import ClientConnection

CONSTANT = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b"apns-topic", b"com.example"),
    (b"apns-priority", b"10"),
]


def request(number: int) -> list[tuple[bytes, bytes]]:
    return [
        *CONSTANT,
        (b":path", b"/3/device/%064x" % number),
        (b"authorization", b"bearer " + b"x" * 300),
        (b"apns-id", b"%d" % number),
        (b"apns-expiration", b"%d" % number),
        (b"apns-collapse-id", b"\xc3\xbc" * 32),
    ]


def test_what_varies_stays_out_of_the_table() -> None:
    encoder, decoder = ClientConnection().encoder, Decoder()
    for number in range(100):
        assert list(decoder.decode(encoder.encode(request(number)), raw=True)) == request(number)
    assert set(encoder.header_table.dynamic_entries) == set(CONSTANT[2:])


def test_a_header_that_comes_again_takes_a_byte() -> None:
    encoder = ClientConnection().encoder
    encoder.encode(CONSTANT)
    assert len(encoder.encode(CONSTANT)) == len(CONSTANT)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"apns-topic", b"apns-priority", b"apns-id"]), st.binary(max_size=300))
    ),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0, 60, 200, 4096]))),
)
def test_every_header_arrives(headers: list[tuple[bytes, bytes]], sizes: list[tuple[int, int]]) -> None:
    """Whatever the peer does to the table meanwhile."""
    encoder, decoder = ClientConnection().encoder, Decoder()
    changes = dict(sizes)
    for number, header in enumerate(headers):
        if number in changes:
            encoder.header_table_size = changes[number]
        block = [header, *CONSTANT]
        assert list(decoder.decode(encoder.encode(block), raw=True)) == block


def test_headers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ClientConnection().encoder.encode(request(1))
    assert caplog.records == []
