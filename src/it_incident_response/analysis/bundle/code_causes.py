"""Which change of code or configuration fits the failure: by what it does, where, and when."""

import math
import re
from collections import Counter
from datetime import datetime, timedelta

from it_incident_response.analysis.bundle.diff_effects import effects_of
from it_incident_response.analysis.bundle.diff_sides import Effect, likeness, sides_of
from it_incident_response.analysis.bundle.failure import (
    Failure,
    short_name,
    split_words,
    words_in,
)
from it_incident_response.analysis.bundle.metric_meaning import Meaning
from it_incident_response.domain.bundle import Bundle, Commit, Deploy
from it_incident_response.domain.model import Value

SLACK = timedelta(minutes=1)
"""Clocks of systems differ: a change so little after the onset may still be before it."""
INERT = re.compile(
    r"(?:^|/)(?:docs?|test|tests|testdata|\.github|\.circleci)/|_test\.\w+$|\.test\.\w+$|\.spec\."
    r"\w+$|\.(?:md|rst|txt|css|scss|svg|png|golden|snap)$|CODEOWNERS|CHANGELOG|LICENSE|README",
    re.I,
)
BUMPED = re.compile(
    r"(?:^|/)(?:go\.(?:mod|sum)|package(?:-lock)?\.json|yarn\.lock|pom\.xml|requirements[^/]*\.txt|"
    r"poetry\.lock|Cargo\.(?:toml|lock)|Gemfile(?:\.lock)?|build\.gradle)$"
)
SHARED = re.compile(
    r"(?:^|/)(?:pkg|libs?|common|shared|internal|platform|core|vendor|proto|schema)/"
)
CONFIGURATION = re.compile(
    r"\.(?:ya?ml|toml|ini|env|properties|conf|cfg|tf|tfvars|hcl)$|(?:^|/)config/"
)

WEIGHTS = {"effect": 3.0, "words": 1.6, "place": 1.5, "deploy": 1.2}
"""Set by hand from what reviewers look at, then held against ten frozen incidents."""
AFTER_THE_FIRST_SIGN = 0.5
"""What came when something was wrong already may make it worse, and is seldom the cause."""
PLAIN_EFFECT = 0.12
"""Of a change that only moves words, or whose text is not there."""


class CodeCause(Value):
    """A commit as a suspect."""

    commit: Commit
    score: float
    effect: str
    """What it does."""
    reasons: tuple[str, ...]
    deploy: Deploy | None
    is_configuration: bool


def code_causes(bundle: Bundle, failure: Failure) -> list[CodeCause]:
    """Return the commits that could have done it, the likeliest first."""
    scorer = _Scorer(bundle, failure)
    causes = [cause for commit in bundle.commits if (cause := scorer.cause(commit)) is not None]
    return sorted(causes, key=lambda cause: -cause.score)


class _Scorer:
    def __init__(self, bundle: Bundle, failure: Failure) -> None:
        self._failure = failure
        self._deploys: dict[str, list[Deploy]] = {}
        for deploy in bundle.deploys:
            if deploy.sha:
                self._deploys.setdefault(deploy.sha, []).append(deploy)
        texts = [f"{c.message} {' '.join(c.files)} {c.diff}" for c in bundle.commits]
        self._spread = words_in(texts)
        self._commits = max(2, len(texts))
        self._said = _said(bundle, failure)
        self._names = {service: short_name(service) for service in _known(bundle, failure)}

    def cause(self, commit: Commit) -> CodeCause | None:
        """Return a commit as a suspect; None if it came too late or changes nothing that runs."""
        deploy, is_late = self._deploy(commit)
        if is_late or _is_after(commit.at, self._failure.onset):
            return None
        effect, doing = self._effect(commit)
        words, shared = self._words(commit)
        place, where = self._place(commit, deploy)
        brought = self._brought(commit, deploy)
        parts = {"effect": effect, "words": words, "place": place, "deploy": brought}
        score = sum(WEIGHTS[name] * value for name, value in parts.items())
        if deploy is not None and self._was_sick_before(deploy):
            score *= AFTER_THE_FIRST_SIGN
        if commit.files and all(INERT.search(name) for name in commit.files):
            score *= 0.1
        reasons = [doing, where]
        if shared:
            reasons.append(f"speaks of {', '.join(shared[:5])}, as the failure does")
        if deploy is not None:
            reasons.append(f"deployed to {deploy.service} at {deploy.at:%H:%M:%S} UTC")
        return CodeCause(
            commit=commit,
            score=score,
            effect=doing,
            reasons=tuple(reason for reason in reasons if reason),
            deploy=deploy,
            is_configuration=_is_configuration(commit),
        )

    def _was_sick_before(self, deploy: Deploy) -> bool:
        """Return whether what failed first had left its usual range before this deploy."""
        signs = [
            anomaly.onset
            for anomaly in self._failure.anomalies
            if anomaly.service == self._failure.first_service
            and anomaly.meaning in (Meaning.FAILURE, Meaning.LATENCY, Meaning.USE)
        ]
        return bool(signs) and deploy.at > min(signs) + SLACK

    def _deploy(self, commit: Commit) -> tuple[Deploy | None, bool]:
        """Return the deploy that brought the commit, and whether all of them came too late."""
        found = self._deploys.get(commit.sha, [])
        in_time = [d for d in found if not _is_after(d.at, self._failure.onset)]
        sick = self._failure.services
        best = sorted(in_time, key=lambda d: (d.service not in sick, d.at))
        return (best[0] if best else None), bool(found) and not in_time

    def _effect(self, commit: Commit) -> tuple[float, str]:
        """Return how well what it does fits what is said of the failure, 0 to 1."""
        if commit.files and all(BUMPED.search(name) for name in commit.files):
            return 0.1, "takes other versions of libraries"
        if not commit.diff:
            return 0.05, ""
        moved = likeness(sides_of(commit.diff))
        best, words = PLAIN_EFFECT * (1 - moved / 2), ""
        for effect in effects_of(commit.diff):
            value = effect.weight * (0.25 + 0.75 * self._fit(effect))
            if value > best:
                best, words = value, effect.words
        return best, words

    def _fit(self, effect: Effect) -> float:
        """Return the share of what is said that this effect would explain, stretched to 0 to 1."""
        spoken = self._failure.spoken
        most = max(spoken.values(), default=0.0)
        if not most:
            return 0.0
        fits = [
            weight * spoken.get(symptom, 0.0) / most for symptom, weight in effect.shows.items()
        ]
        return max(fits, default=0.0)

    def _words(self, commit: Commit) -> tuple[float, list[str]]:
        """Return how far it speaks of what the failure speaks of; rare words count more."""
        sides = sides_of(commit.diff)
        text = "\n".join((*sides.removed, *sides.added, commit.diff[:0]))
        own = set(split_words(f"{commit.message} {' '.join(commit.files)} {text} {_notes(commit)}"))
        shared = {word: self._said[word] * self._rarity(word) for word in own & set(self._said)}
        ranked = sorted(shared, key=lambda word: -shared[word])
        total = sum(shared[word] for word in ranked[:8])
        return 1 - math.exp(-total / 6), ranked

    def _rarity(self, word: str) -> float:
        return math.log(self._commits / (1 + self._spread[word])) if self._spread[word] else 0.0

    def _place(self, commit: Commit, deploy: Deploy | None) -> tuple[float, str]:
        """Return how near it is to what failed first, 0 to 1, and why."""
        failure = self._failure
        first = failure.first_service
        paths = " ".join(commit.files).lower()
        named = {
            s for s, short in self._names.items() if re.search(rf"\b{re.escape(short)}", paths)
        }
        called = failure.topology.calls.get(first or "", frozenset())
        if first in named:
            return 1.0, f"it changes {first}"
        if deploy is not None and deploy.service == first:
            return 1.0, f"it came to {first}"
        if named & called:
            return 0.7, f"it changes {sorted(named & called)[0]}, which {first} calls"
        if named & failure.services:
            return 0.5, f"it changes {sorted(named & failure.services)[0]}"
        if any(SHARED.search(name) for name in commit.files) and not named:
            return 0.6, "it changes what services share"
        if deploy is not None and deploy.service in failure.services | called:
            return 0.5, f"it came to {deploy.service}"
        return (0.0 if named else 0.15), ""

    def _brought(self, commit: Commit, deploy: Deploy | None) -> float:
        """Return how well it is known to run where it failed, 0 to 1."""
        if deploy is None:
            return 0.25 if any(SHARED.search(name) for name in commit.files) else 0.1
        if deploy.service == self._failure.first_service:
            return 1.0
        return 0.6 if deploy.service in self._failure.services else 0.2


def _said(bundle: Bundle, failure: Failure) -> Counter[str]:
    """Return the words of the failure with weights; those of the quiet time count no more."""
    said: Counter[str] = Counter()
    quiet = words_in(
        line.message for line in bundle.lines if failure.onset and line.at < failure.onset
    )
    texts = [(f"{bundle.alert.metric} {bundle.alert.summary}", 1.0)]
    texts += [(line.example, 0.8) for line in failure.lines[:40]]
    texts += [(error, 0.8) for error in failure.errors]
    texts += [(anomaly.metric, 0.6) for anomaly in failure.anomalies]
    texts += [(p.signature, 0.6) for p in bundle.patterns if p.is_more]
    for text, weight in texts:
        for word in set(split_words(text)):
            said[word] = max(said[word], weight / (1 + quiet[word]))  # type: ignore[assignment]
    return said


def _known(bundle: Bundle, failure: Failure) -> set[str]:
    told = {d.service for d in bundle.deploys} | {s.service for s in bundle.spans}
    return told | set(failure.services) | {m.service for m in bundle.metrics}


def _notes(commit: Commit) -> str:
    """Return the comments of the difference: people say there what the code is for."""
    lines = commit.diff[:40_000].splitlines()
    return " ".join(x for x in lines if x[:1] in "+-" and re.match(r"^[+-]\s*(?://|#|\*|--)", x))


def _is_configuration(commit: Commit) -> bool:
    return bool(commit.files) and all(CONFIGURATION.search(name) for name in commit.files)


def _is_after(at: datetime | None, onset: datetime | None) -> bool:
    return at is not None and onset is not None and at > onset + SLACK
