"""LogAnalyzerTool: which patterns it tells of, and what it never shows."""

import pytest

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.errors import ConfigError
from it_incident_response.tools.log_analyzer import LogAnalyzerTool
from tests.unit.tools.support import FixedClock, Incidents, Logs, footprint, line


def tool(*lines, **more) -> tuple[LogAnalyzerTool, Logs]:
    logs = Logs(*lines)
    return LogAnalyzerTool(logs=logs, clock=FixedClock(), **more), logs


def test_new_lines_are_grouped_and_compared_with_the_time_before():
    new = [line(n / 10, f"connection {n} to db-1 timed out after {n} ms") for n in range(1, 40)]
    old = [line(20 + n, "cache miss", LogLevel.INFO) for n in range(10)]
    analyzer, _ = tool(*new, *old)
    result = analyzer.execute({"services": ["checkout"]})
    assert result["status"] == "success"
    first = result["patterns"][0]
    assert first["count"] == 39
    assert first["baseline_count"] == 0
    assert result["lines_read"] == 39
    assert result["query"] == "the query"


def test_window_and_baseline_are_asked_for_one_after_the_other():
    analyzer, logs = tool()
    analyzer.execute({"services": ["checkout"], "servers": ["web-1"], "minimum_level": "error"})
    window, baseline = logs.queries
    assert baseline.window.end == window.window.start
    assert window.services == ("checkout",)
    assert window.hosts == (), "a service's lines come from wherever it runs"
    assert window.minimum_level is LogLevel.ERROR


def test_without_a_service_the_hosts_count():
    analyzer, logs = tool()
    analyzer.execute({"servers": ["web-1:9100"]})
    assert logs.queries[0].hosts == ("web-1",)


def test_an_incident_gives_services_and_hosts():
    analyzer, logs = tool(incidents=Incidents(footprint=footprint()))
    assert analyzer.execute({"incident_id": "INC-000001"})["status"] == "success"
    assert logs.queries[0].services == ("checkout",)


def test_flat_lines_are_the_gravest_in_order_of_time():
    many = [line(10 - n / 100, f"chatter {n}", LogLevel.INFO) for n in range(300)]
    bad = line(5, "disk is full", LogLevel.FATAL, host="web-1", service="checkout")
    analyzer, _ = tool(*many, bad)
    logs = analyzer.execute({"services": ["checkout"]})["logs"]
    assert len(logs) == 100
    assert [entry["at"] for entry in logs] == sorted(entry["at"] for entry in logs)
    (fatal,) = [entry for entry in logs if entry["level"] == "FATAL"]
    assert (fatal["message"], fatal["host"], fatal["service"]) == (
        "disk is full",
        "web-1",
        "checkout",
    )


def test_secrets_are_blacked_out_everywhere():
    secret = "hunter2hunter2"
    analyzer, _ = tool(line(1, f"login failed: password={secret}"), line(30, f"password={secret}"))
    assert secret not in str(analyzer.execute({"services": ["checkout"]}))
    own, _ = tool(line(1, "the word is xyzzy"), redact=lambda text: text.replace("xyzzy", "***"))
    result = own.execute({"services": ["checkout"]})
    assert "xyzzy" not in str(result)
    assert "***" in str(result)


def test_truncation_is_told():
    analyzer, _ = tool(*(line(n / 10, "x") for n in range(1, 20)))
    result = analyzer.execute({"services": ["checkout"], "lines_max": 5})
    assert result["is_truncated"] is True
    assert result["lines_read"] == 5


def test_nothing_is_simulated_without_a_source():
    result = LogAnalyzerTool().execute({"services": ["checkout"]})
    assert result["status"] == "error"
    assert "no log source" in result["message"]


async def test_a_url_that_nobody_answers_at_is_said_plainly():
    result = await LogAnalyzerTool("http://127.0.0.1:9").call({"servers": ["web-1"]})
    assert result["status"] == "error"
    assert "elasticsearch" in result["message"]


def test_what_is_no_url_is_refused_at_once():
    with pytest.raises(ConfigError, match="url"):
        LogAnalyzerTool("no url at all")
