"""A batch that would unpack to more than there is memory ends no worker: its offsets come, and are blank."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka.record._crecords import default_records

from driftlog_streams.faust_driver import unpacking
from tests.unit.streams.driver.test_fetched import batch, fetched, plain

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS = ("gzip_decode", "lz4_decode", "zstd_decode")


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in CODECS:
        monkeypatch.setattr(default_records, name, getattr(default_records, name))
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1 << 20)
    unpacking.bound()
    yield


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_what_would_unpack_to_too_much_is_blank(codec: int) -> None:
    data = batch(0, (b"a", []), (bytes(3 << 20), []), codec=codec)
    assert len(data) < 1 << 14
    found = fetched(data + plain(2, b"b"))
    assert [(r.offset, r.value) for r in found] == [(0, None), (1, None), (2, b"b")]


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("size", [1, 1000, 900 << 10])
def test_what_producers_send_comes_as_it_is(codec: int, size: int) -> None:
    value = bytes(size)
    found = fetched(batch(0, (value, []), (b"b", []), codec=codec))
    assert [r.value for r in found] == [value, b"b"]


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_what_is_no_compressed_data_is_blank(codec: int) -> None:
    data = plain(0, b"a", b"b", attributes=codec)
    assert [(r.offset, r.value) for r in fetched(data)] == [(0, None), (1, None)]
