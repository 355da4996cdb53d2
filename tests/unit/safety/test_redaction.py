"""Redaction: what is removed, what stays, and that no text makes it slow."""

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from it_incident_response.domain.execution import CommandResult
from it_incident_response.safety.card_numbers import passes_luhn
from it_incident_response.safety.redaction import Redactor, SecretShape

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
BASIC = base64.b64encode(b"alice:s3cr3t").decode()
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret", "mark"),
    [
        ("Authorization: Bearer abc.def-123456", "abc.def", "token"),
        (f"Authorization: Basic {BASIC}", BASIC, "token"),
        (f"sent basic {BASIC} twice", BASIC, "password"),
        ("bearer 0123456789abcdef", "0123456789abcdef", "token"),
        ("curl -H 'X-API-Key: 12345abc'", "12345abc", "key"),
        ("api_key=s3cr3t&user=bob", "s3cr3t", "key"),
        ("password=hunter2", "hunter2", "password"),
        ("PGPASSWORD=hunter2 psql", "hunter2", "password"),
        ("db.password: hunter2", "hunter2", "password"),
        ("password = 'hun ter2'", "hun ter2", "password"),
        ('{"password": "hun ter\\"2"}', "hun ter", "password"),
        ('"{\\"password\\": \\"hun ter\\"}"', "hun ter", "password"),
        ("{'client_secret': 'hunter2'}", "hunter2", "secret"),
        ("token => 'abc123'", "abc123", "token"),
        ("mysql --password hunter2 -h db", "hunter2", "password"),
        ("vault --auth-token=hunter2", "hunter2", "token"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI", "key"),
        ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE", "key"),
        ("postgres://app:s3cr3t@db:5432/x", "s3cr3t", "password"),
        ("https://u:p@ss@host/x", "p@ss", "password"),
        ("amqp://:s3cr3t@mq", "s3cr3t", "password"),
        (f"jwt {JWT} end", "eyJzdWIi", "token"),
        ("ghp_abcdefghij0123456789abcdABCD", "abcdefghij", "token"),
        ("glpat-abcdefghij0123456789", "abcdefghij", "token"),
        ("xoxb-123456789012-abcdefghijkl", "abcdefghijkl", "token"),
        ("Set-Cookie: sid=abc123; Path=/", "abc123", "cookie"),
        (f"x {KEY} y", "MIIEow", "private key"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow without an end", "MIIEow", "private key"),
        ("mail to bob.b+x@mail.example.com now", "bob.b", "email"),
        ("card 4111 1111 1111 1111 ok", "4111", "card"),
        ("card 5555-5555-5555-4444 ok", "5555", "card"),
        ("amex 378282246310005", "378282246310005", "card"),
        ("order 42 4111 1111 1111 1111", "4111", "card"),
    ],
)
def test_secrets_are_removed_and_named(text: str, secret: str, mark: str) -> None:
    shown = Redactor().redact(text)
    assert secret not in shown
    assert f"[redacted:{mark}]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "GET /orders/123 in 12ms status=200",
        "basic authentication failed for user bob",
        "bearer authentication is required",
        "max_tokens=4096 tokens: 5",
        "token=null password=''",
        "getty@tty1.service failed, user@1000.service too",
        "ssh deploy@10.0.0.1",
        "at 1732390000000 and 1732390000000000000 ns",
        "card 4111 1111 1111 1112 is none",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "sk-learn-is-a-library-of-many-words",
        "https://host:8080/path and https://user@host/path",
        "secretName of the volume",
        "basic abcdefghi is no base64",
        "",
        "é\x00\x1b[0m",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor().redact(text) == text


def test_exact_secrets_are_removed_in_every_coding() -> None:
    secret = "p/ä ss+w0rd"
    redactor = Redactor(secrets=[SecretStr(secret)])
    encoded = base64.b64encode(secret.encode()).decode()
    shown = redactor.redact(
        f"1 {secret} 2 p%2F%C3%A4%20ss%2Bw0rd 3 {encoded} 4 {encoded.rstrip('=')}"
    )
    assert shown == " ".join(f"{n} [redacted:secret]" for n in range(1, 5))
    assert secret not in repr(redactor)
    assert redactor.register("abc") is False
    assert redactor.redact("abc") == "abc"


def test_shapes_of_ones_own() -> None:
    shape = SecretShape(label="ticket", prefix="TK(", length_min=4)
    redactor = Redactor(shapes=[shape])
    assert redactor.redact("x TK(abcd-1 y TK(abc z") == "x [redacted:ticket] y TK(abc z"
    with pytest.raises(ValueError, match="prefix"):
        SecretShape(label="x", prefix="a")


def test_addresses_and_cards_may_stay() -> None:
    text = "bob@example.com 4111111111111111"
    assert Redactor(emails=False, cards=False).redact(text) == text


def test_nested_data_are_redacted_by_name_and_by_text() -> None:
    given = {
        "dbPassword": "x",
        "X-Api-Key": 5,
        "token": None,
        "secret": True,
        "list": [("password=abc", {"cookie": ["a"]}), b"token=abc"],
        "pin": SecretStr("abcd"),
        "password=abc": 1,
        "n": 1.5,
        "row": CommandResult(command=("a",), output="password=abc"),
    }
    shown = Redactor().redact_value(given)
    assert shown["dbPassword"] == "[redacted:password]"
    assert shown["X-Api-Key"] == "[redacted:key]"
    assert shown["token"] is None
    assert shown["secret"] is True
    assert shown["list"] == [
        ["password=[redacted:password]", {"cookie": "[redacted:cookie]"}],
        "token=[redacted:token]",
    ]
    assert shown["pin"] == "[redacted:secret]"
    assert shown["password=[redacted:password]"] == 1
    assert shown["n"] == 1.5
    assert shown["row"]["output"] == "password=[redacted:password]"
    assert given["dbPassword"] == "x"


def test_data_that_never_end_are_cut() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "[redacted:too deep]" in str(Redactor().redact_value(endless))


_pieces = st.sampled_from(
    [
        "password=",
        "token: ",
        '"',
        "'",
        "\\",
        "://",
        "@",
        "a",
        "4111",
        " ",
        "\n",
        "eyJ",
        ".",
        "-----BEGIN PRIVATE KEY-----",
        "bearer ",
        "[redacted:",
        "]",
        "=",
        "cookie:",
        "AKIA",
        "--",
    ]
)


@example("AKIAcookie:=password=")
@given(st.lists(_pieces, max_size=25).map("".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = Redactor().redact(text)
    assert Redactor().redact(once) == once


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=40))
def test_no_password_survives_in_json(password: str) -> None:
    if password.lower() in ("undefined",) or password in "password host db postgres redacted":
        return
    text = json.dumps({"password": password, "url": f"postgres://u:{password}@db/x"})
    assert password not in Redactor(cards=False).redact(text)


@given(st.integers(10**11, 10**17))
def test_the_check_digit_finds_every_slip_of_one_digit(number: int) -> None:
    digits = next(f"{number}{d}" for d in range(10) if passes_luhn(f"{number}{d}"))
    wrong = str((int(digits[0]) + 1) % 10) + digits[1:]
    assert not passes_luhn(wrong)


SIZE = 100_000
HOSTILE = [
    "a", "1", "1 ", "4111 ", "411 ", " ", "\n", "é", "\\", '"', "-", "--a-", "=", "a@", "a.a@a.",
    "eyJ", "eyJaaaaaaa.", "://", "://a:", "password", 'password="', "password='", "password=\\\\\"",
    "password        =        ", "token ", "bearer ", "basic ", "cookie:", "sk-", "ghp_", "AKIA",
    "-----BEGIN ", "authorization: bearer ", "[redacted:", "-----BEGIN PRIVATE KEY-----",
]  # fmt: skip
BAIT = "token eyJ ://a: a@ bearer cookie -----BEGIN "
"""Makes every search worth its while, however the rest of the text looks."""


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_repetition_is_worked_through(unit: str) -> None:
    """Quadratic work of this size would not end; that it is linear shows `bench/core.py`."""
    text = BAIT + (unit * (SIZE // len(unit) + 1))[:SIZE] + " password=hunter23"
    shown = Redactor().redact(text)
    assert len(shown) <= 2 * len(text)


def test_a_secret_after_megabytes_of_a_hostile_mix_is_found() -> None:
    unit = "".join(HOSTILE[:-1]) + " hunter22hunter22"
    text = f"{unit * (1_000_000 // len(unit))} password=hunter23"
    assert "hunter23" not in Redactor().redact(text)


def test_a_name_too_long_is_no_name() -> None:
    name = "x" * 300 + "_password"
    assert Redactor().redact_value({name: 1}) == {name: 1}
