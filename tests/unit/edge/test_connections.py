"""What comes over a connection, byte by byte: bounded, and read as what it is."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable

import httpx
import pytest

from driftlog_edge.http_api.connections import MAX_HEAD_BYTES
from tests.unit.edge.test_http import RECEIVE

BODY = json.dumps(RECEIVE).encode()
HEAD = b"POST /v1/commands/receive HTTP/1.1\r\nHost: edge\r\nIdempotency-Key: k%d\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
OFFERED = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
ENDLESS = 64 << 20
"""Far more than the system keeps for a connection whose other end does not read."""
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 30)


def said(url: str, parts: Iterable[bytes], answers: int = 1) -> bytes:
    """What the agent says to these bytes, until it has given so many answers or closes."""
    got = b""
    with connected(url) as connection:
        for part in parts:
            connection.sendall(part)
        while got.count(b"HTTP/1.1 ") < answers or not got.endswith(b"}"):
            piece = connection.recv(1 << 16)
            if not piece:
                break
            got += piece
    return got


@pytest.mark.parametrize("pieces", [1, 7])
def test_who_offers_another_protocol_is_answered_in_this_one(url: str, pieces: int) -> None:
    """Java's client offers HTTP/2 with its first request, and sends its body all the same."""
    sent = b"".join((HEAD % number) + OFFERED + LENGTH + BODY for number in (1, 2, 3))
    step = -(-len(sent) // pieces)
    got = said(url, (sent[at : at + step] for at in range(0, len(sent), step)), answers=3)
    assert got.count(b"HTTP/1.1 200 OK") == 3
    for number in (1, 2, 3):
        assert b'"command_id":"k%d"' % number in got


def test_an_offer_that_cannot_be_ignored_is_refused(url: str) -> None:
    assert said(url, [b"CONNECT edge:80 HTTP/1.1\r\nHost: edge\r\n\r\n"]).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("hosts", [b"", b"Host: edge\r\nHost: other\r\n"])
def test_a_head_names_one_host(url: str, hosts: bytes) -> None:
    got = said(url, [b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n"])
    assert got.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"", b"\r\n"),
        (b"GET /", b"x"),
        (HEAD % 4, b"X: y\r\n"),
        (HEAD % 4 + b"X: ", b"y"),
        (HEAD % 4 + CHUNKED + b"1;", b"x"),
        (HEAD % 4 + CHUNKED + b"1\r\n{\r\n0\r\n", b"X: y\r\n"),
        (HEAD % 4 + CHUNKED + b"1\r\n{\r\n0\r\nX: ", b"y"),
    ],
    ids=["nothing", "path", "heads", "head", "length", "trailers", "trailer"],
)
def test_what_is_neither_head_nor_body_has_an_end(url: str, begun: bytes, more: bytes) -> None:
    piece = more * (4096 // len(more))
    with connected(url) as connection, pytest.raises(ConnectionError):
        connection.sendall(begun)
        for _ in range(ENDLESS // len(piece)):
            connection.sendall(piece)


def test_a_body_is_no_part_of_that_bound(url: str) -> None:
    padded = BODY[:-1] + b" " * (4 * MAX_HEAD_BYTES) + b"}"
    chunks = [
        b"%x\r\n%s\r\n" % (len(padded[at : at + 999]), padded[at : at + 999]) for at in range(0, len(padded), 999)
    ]
    assert said(url, [HEAD % 5 + CHUNKED, *chunks, b"0\r\n\r\n"]).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("path", ["/healthz", "/v1/status", "/v1/documents/Stock/s1/none", "/metrics"])
def test_a_head_is_answered_as_the_get_without_its_body(url: str, path: str) -> None:
    asked, head = httpx.get(url + path, trust_env=False), httpx.head(url + path, trust_env=False)
    assert (head.status_code, head.content) == (asked.status_code, b"")
    assert head.headers["content-type"] == asked.headers["content-type"] and int(head.headers["content-length"]) > 0


def test_what_cannot_be_asked_for_cannot_be_asked_for_by_a_head(url: str) -> None:
    head = httpx.head(f"{url}/v1/commands", trust_env=False)
    assert (head.status_code, head.headers["allow"]) == (405, "POST")
    assert httpx.delete(f"{url}/v1/status", trust_env=False).headers["allow"] == "GET, HEAD"


def test_after_the_head_of_an_answer_without_end_comes_the_next_answer(url: str) -> None:
    watched = b"HEAD /v1/watch HTTP/1.1\r\nHost: edge\r\n\r\n"
    got = said(url, [watched + (HEAD % 7) + LENGTH + BODY], answers=2)
    first, _, second = got.partition(b"\r\n\r\n")
    assert b"text/event-stream" in first and second.startswith(b"HTTP/1.1 200 OK")
