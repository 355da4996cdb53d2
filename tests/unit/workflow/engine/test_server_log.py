"""The server's output: its levels, bounded, printable, and no flood."""

import asyncio
import json
import logging

import pytest

from it_incident_response.workflow.engine.server_log import LogPump

NAME = "it_incident_response.temporal"


def line(level: str = "WARN", msg: str = "hello", **fields: object) -> bytes:
    return json.dumps({"level": level, "msg": msg, **fields}).encode()


async def pumped(caplog, data: bytes, *, chunk: int = 0) -> LogPump:
    caplog.set_level(logging.DEBUG, NAME)
    stream = asyncio.StreamReader()
    for start in range(0, len(data), chunk or len(data) or 1):
        stream.feed_data(data[start : start + (chunk or len(data))])
    stream.feed_eof()
    pump = LogPump()
    await pump.run(stream)
    return pump


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("DEBUG", logging.DEBUG),
        ("INFO", logging.INFO),
        ("WARN", logging.WARNING),
        ("ERROR", logging.ERROR),
        ("FATAL", logging.CRITICAL),
        ("?", logging.INFO),
    ],
)
async def test_levels(caplog, said, level):
    await pumped(caplog, line(said) + b"\n")
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [(NAME, level, "hello")]


async def test_what_matters_of_the_fields_is_shown(caplog):
    data = line(error="disk is full", component="shard", stack="x" * 9000, **{"shard-id": 7})
    await pumped(caplog, data + b"\n")
    assert caplog.messages == ["hello component=shard error=disk is full"]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (b"Error: can't set frontend port", logging.ERROR),
        (b"panic: boom", logging.ERROR),
        (b"Temporal Server: localhost:1", logging.INFO),
        (b"{not json", logging.INFO),
        (b'["a", "list"]', logging.INFO),
        (b"[" * 50_000, logging.INFO),
        (b'{"a":' * 10_000, logging.INFO),
    ],
)
async def test_plain_text_and_broken_json(caplog, text, level):
    await pumped(caplog, text + b"\n")
    (record,) = caplog.records
    assert record.levelno == level
    assert len(record.getMessage()) <= 500


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
async def test_lines_are_put_together_from_pieces(caplog, chunk):
    data = b"\n".join([line(msg=f"line {n}") for n in range(5)])
    await pumped(caplog, data, chunk=chunk)
    assert caplog.messages == [f"line {n}" for n in range(5)]


async def test_an_endless_line_is_cut_once_and_the_next_is_whole(caplog):
    await pumped(caplog, b"x" * 1_000_000 + b"\n" + line() + b"\n", chunk=4096)
    assert len(caplog.messages) == 2
    assert caplog.messages[0] == "x" * 497 + "..."
    assert caplog.messages[1] == "hello"


async def test_control_characters_do_not_reach_the_log(caplog):
    await pumped(caplog, line(msg="a\x1b[31mb\r\nforged line") + b"\n\xff\xfe\n\n   \n")
    assert caplog.messages[0] == "a [31mb  forged line"
    assert all(text.isprintable() for text in caplog.messages)
    assert len(caplog.messages) == 2


async def test_a_flood_is_bounded_and_counted(caplog, monkeypatch):
    monkeypatch.setattr("it_incident_response.workflow.engine.server_log._WAVE_S", 0.0)
    pump = LogPump()
    pump._wave_ends_at = float("inf")
    for _ in range(1000):
        pump.take(line())
    assert len(caplog.messages) == 50
    pump._wave_ends_at = 0.0
    pump.take(line(msg="after"))
    assert caplog.messages[-2:] == ["950 more lines like these were left out", "after"]


async def test_a_quiet_pump_keeps_its_last_words(caplog):
    caplog.set_level(logging.INFO, NAME)
    pump = LogPump()
    assert pump.tail == "it said nothing"
    pump.is_quiet = True
    pump.take(b"Error: address already in use")
    assert caplog.messages == []
    assert pump.tail == "Error: address already in use"
    assert pump.said("already in use")
    assert not pump.said("disk")
