"""What a raw log line says about itself: time, level, stack trace."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.log_events import (
    EVENT_LENGTH_MAX,
    decoded,
    joined,
    read_event,
    read_level,
)
from it_incident_response.analysis.log_traces import Libraries
from it_incident_response.domain.evidence import LogLevel, LogLine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

JAVA = """\
2026-03-01 12:00:00,123 ERROR [http-8] o.a.c.Dispatcher - Servlet threw exception
org.springframework.dao.DataAccessException: could not open connection
\tat org.springframework.jdbc.Foo.run(Foo.java:12)
\tat com.acme.shop.OrderDao.load(OrderDao.java:88)
Caused by: java.net.SocketException: Connection reset
\tat java.base/java.net.SocketInputStream.read(SocketInputStream.java:186)
\tat com.acme.shop.Pool.take(Pool.java:41)
\tat com.acme.shop.OrderDao.load(OrderDao.java:80)
\t... 23 more"""
PYTHON = """\
Traceback (most recent call last):
  File "/srv/app/shop/views.py", line 31, in pay
    charge(order)
    ~~~~~~^^^^^^^
  File "/srv/app/shop/billing.py", line 7, in charge
    requests.post(url)
  File "/usr/lib/python3.11/site-packages/requests/api.py", line 115, in post
    return request("post", url)
requests.exceptions.ConnectionError: refused"""
PYTHON_CHAIN = """\
Traceback (most recent call last):
  File "/srv/app/db.py", line 3, in get
    return rows[key]
KeyError: 'user'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/app/api.py", line 9, in show
    raise LookupFailed from error
api.LookupFailed"""
GO = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a1b2c]

goroutine 17 [running]:
runtime.gopanic(0x4e1b20, 0x5a1b30)
\t/usr/local/go/src/runtime/panic.go:884 +0x212
acme.example/shop/cart.(*Cart).Total(0x0)
\t/build/shop/cart/cart.go:42 +0x1d
main.main()
\t/build/shop/main.go:12 +0x65"""
NODE = """\
TypeError: Cannot read properties of undefined (reading 'id')
    at Router.handle (/app/node_modules/express/lib/router.js:10:3)
    at async charge (/app/src/billing.js:22:9)
    at /app/src/index.js:5:1
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)"""
DOTNET = """\
System.InvalidOperationException: order failed
 ---> System.NullReferenceException: Object reference not set
   at System.Linq.Enumerable.First[T](IEnumerable`1 source)
   at Acme.Shop.Cart.Total(Order order) in /src/Cart.cs:line 42
   --- End of inner exception stack trace ---
   at Acme.Shop.Api.Post(Order order) in /src/Api.cs:line 9"""
RUBY = """\
/srv/app/lib/cart.rb:10:in `total': undefined method `price' for nil (NoMethodError)
\tfrom /usr/lib/ruby/gems/rack/lib/rack.rb:3:in `call'
\tfrom /srv/app/app.rb:5:in `<main>'"""

TRACES = [
    (JAVA, "java.net.SocketException", "com.acme.shop.Pool.take (Pool.java:41)"),
    (PYTHON, "requests.exceptions.ConnectionError", "charge (/srv/app/shop/billing.py:7)"),
    (PYTHON_CHAIN, "KeyError", "get (/srv/app/db.py:3)"),
    (GO, "panic", "acme.example/shop/cart.(*Cart).Total (/build/shop/cart/cart.go:42)"),
    (NODE, "TypeError", "charge (/app/src/billing.js:22:9)"),
    (DOTNET, "System.NullReferenceException", "Acme.Shop.Cart.Total (/src/Cart.cs:line 42)"),
    (RUBY, "NoMethodError", "total (/srv/app/lib/cart.rb:10)"),
]


def raw(text, at=NOON, level=LogLevel.INFO, service="shop", host=None):
    return LogLine(at=at, message=text, level=level, service=service, host=host)


@pytest.mark.parametrize(("text", "exception", "frame"), TRACES)
def test_a_trace_tells_its_first_cause_and_our_deepest_frame(text, exception, frame):
    event = read_event(text)
    assert (event.exception, event.frame) == (exception, frame)
    assert event.level in (LogLevel.ERROR, LogLevel.FATAL)


@pytest.mark.parametrize(("text", "exception", "frame"), TRACES)
def test_a_trace_written_line_by_line_becomes_one_event(text, exception, frame):
    lines = [raw(part) for part in text.split("\n")]
    after = raw("request served", NOON + timedelta(milliseconds=5))
    events = list(joined([raw("started", NOON - timedelta(seconds=9)), *lines, after]))
    assert [line.message for line in events] == ["started", text, "request served"]


def test_traces_of_two_hosts_are_not_mixed():
    one = [raw(part, host="a") for part in JAVA.split("\n")]
    other = [raw(part, host="b") for part in PYTHON.split("\n")]
    mixed = [line for pair in zip(one, other, strict=False) for line in pair]
    events = {line.host: line.message for line in joined(mixed)}
    assert events == {"a": JAVA, "b": PYTHON}


def test_what_comes_later_is_another_event():
    late = raw("\tat com.acme.Shop.run(Shop.java:1)", NOON + timedelta(minutes=1))
    assert len(list(joined([raw("ERROR java.lang.Error: no"), late]))) == 2


def test_indented_text_without_a_trace_stays_apart():
    assert len(list(joined([raw("config:"), raw("  port: 80"), raw("  host: a")]))) == 3


def test_which_frames_are_ours_can_be_told():
    event = read_event(JAVA, Libraries(prefixes=("java.", "com.acme.shop.Pool")))
    assert event.frame == "com.acme.shop.OrderDao.load (OrderDao.java:80)"


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("2026-03-01T12:00:00Z ERROR disk full", LogLevel.ERROR, "disk full"),
        ("2026-03-01 12:00:00,001 [WARN] slow", LogLevel.WARNING, "slow"),
        ("Mar  1 12:00:00 FATAL: no slots", LogLevel.FATAL, "no slots"),
        ("\x1b[31mERROR\x1b[0m no route", LogLevel.ERROR, "no route"),
        ("E0301 12:00:00.000001    17 main.go:3] lost lease", LogLevel.ERROR, "lost lease"),
        ("[01/Mar/2026:12:00:00 +0000] info: up", LogLevel.INFO, "up"),
        ("level=warning msg=late", LogLevel.WARNING, "level=warning msg=late"),
        ('{"level":"error","msg":"no route"}', LogLevel.ERROR, "no route"),
        ('{"log":"12:00:01 WARN late\\n","stream":"stdout"}', LogLevel.WARNING, "late"),
        (
            '{"log":"{\\"severity\\":\\"CRITICAL\\",\\"message\\":\\"dead\\"}"}',
            LogLevel.FATAL,
            "dead",
        ),
        ('{"level":"error" broken', LogLevel.ERROR, '{"level":"error" broken'),
        ("the error was handled", None, "the error was handled"),
        ("errors: 0", None, "errors: 0"),
        ("information desk", None, "information desk"),
        ("no ERRORS in 12 rows", None, "no ERRORS in 12 rows"),
    ],
)
def test_levels_are_read_where_a_header_names_them(line, level, text):
    event = read_event(line)
    assert (event.level, event.text) == (level, text)
    assert read_level(line) is level


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-03-01T12:00:00Z up", NOON),
        ("2026-03-01 13:00:00.000+01:00 up", NOON),
        ("[01/Mar/2026:07:00:00 -0500] up", NOON),
        ("2026/03/01 12:00:00 up", NOON),
        ("2026-02-31T12:00:00Z up", None),
        ("Mar  1 12:00:00 up", None),
        ("up", None),
    ],
)
def test_times_are_read_with_their_zone(line, at):
    event = read_event(line)
    assert event.at == at
    assert event.text == "up"


def test_bytes_that_are_not_utf8_and_huge_lines_are_bounded():
    assert decoded(b"caf\xe9 \xff open") == "caf\ufffd \ufffd open"
    assert len(decoded(b"x" * 10**7)) <= EVENT_LENGTH_MAX * 4
    for text in (
        "x" * 10**7,
        "\tat a(b)\n" * 10**6,
        "Traceback (most recent call last):\n" * 10**5,
    ):
        event = read_event(text)
        assert len(event.text) <= EVENT_LENGTH_MAX


@given(st.text(max_size=300))
def test_any_text_can_be_read(text):
    event = read_event(text)
    assert "\n" not in event.text


def test_a_trace_in_a_field_of_json_is_read():
    event = read_event(orjson.dumps({"message": "payment failed", "stack_trace": JAVA}).decode())
    assert (event.text, event.exception) == ("payment failed", "java.net.SocketException")
