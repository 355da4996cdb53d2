"""How bad an incident is, and the words other tools use for it."""

from enum import StrEnum


class Severity(StrEnum):
    """The four severities of the product, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)


_WORDS = {
    Severity.CRITICAL: (
        "critical crit page p1 p0 sev1 sev0 s1 fatal emergency emerg disaster blocker 1 0 urgent"
    ),
    Severity.HIGH: "high error err major p2 sev2 s2 severe alert 2",
    Severity.MEDIUM: "medium warning warn moderate average p3 sev3 s3 ticket minor 3",
    Severity.LOW: "low info information informational notice none p4 p5 sev4 sev5 s4 s5 debug ok "
    "trivial lowest 4 5",
}
_BY_WORD = {word: severity for severity, words in _WORDS.items() for word in words.split()}


def parse_severity(text: str | None, default: Severity = Severity.MEDIUM) -> Severity:
    """Return the severity that a label such as `page`, `P1`, `sev-2` or `Warning` means.

    An unknown or missing word gives `default`: an alert is never dropped for its severity label.
    """
    if not text:
        return default
    word = text.strip().lower().replace("-", "").replace("_", "").replace(" ", "")
    return _BY_WORD.get(word, default)
