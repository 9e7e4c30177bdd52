"""The comparison page of a training: one HTML file, readable anywhere, with nothing from elsewhere and no script."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from velib_dagster.forecast.bootstrap import Interval
from velib_dagster.forecast.evaluation import PERSISTENCE, Evaluation, minus_count, persistence_mae
from velib_dagster.forecast.sources import Fingerprint
from velib_dagster.forecast.training import Outcome
from velib_dagster.settings import CREDIT

_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c1c1c}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.2rem;border-top:1px solid #ccc;padding-top:1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.86rem}
th,td{text-align:right;padding:.25rem .5rem;border-bottom:1px solid #e2e2e2;vertical-align:top}
th:first-child,td:first-child{text-align:left}small{color:#666}tr.rival td{color:#555}
tr.champion td{background:#eaf6ea;font-weight:600}img{max-width:100%}.simulated{color:#a00;font-weight:700}
p.note{color:#555;max-width:60rem}
"""
_HEAD: Final = (
    "score", "PR-AUC", "onset PR-AUC", "F1", "precision", "recall", "Brier", "log loss",
    "PR-AUC − {rival}", "PR-AUC − persistence", "Brier gain on persistence", "threshold", "seconds to fit",
)  # fmt: skip


def comparison(
    title: str, outcomes: Sequence[Outcome], pictures: Mapping[str, bytes], fingerprint: Fingerprint, *, simulated: bool
) -> str:
    """The page; `pictures` by `NAME_HORIZON`, as `tracking.py` names their files."""
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
    ]
    if simulated:
        parts.append("<p class='simulated'>SIMULATED: figures of an invented network.</p>")
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in fingerprint.items())
    parts.append(
        f"<p class='note'>Data: {escape(facts)}.<br>All figures are of the test days, which neither the models nor "
        "their thresholds have seen. Brackets hold 95 % bootstrap intervals; a difference whose brackets exclude 0 is "
        "no chance. Onsets are rows without the event at the last lag: there a forecast earns its keep. The champion "
        "is chosen on the validation days.</p>"
    )
    for outcome in outcomes:
        parts.append(_section(outcome, pictures))
    credit = "" if simulated else f"<p><small>{escape(CREDIT)}</small></p>"
    return "".join(parts) + credit + "</body></html>"


def _section(outcome: Outcome, pictures: Mapping[str, bytes]) -> str:
    target = outcome.task.target
    rival = minus_count(target)
    spans = "; ".join(
        f"{part} {first} … {last} ({days} d, {outcome.rows[part]} rows)"
        for part, (first, last, days) in sorted(outcome.days.items(), key=lambda one: one[1])
    )
    any_score = next(iter(outcome.evaluations.values()))
    head = "".join(f"<th>{escape(name.format(rival=rival.replace('_', ' ')))}</th>" for name in _HEAD)
    body = "".join(_row(one, outcome, rival) for one in outcome.evaluations.values())
    images = "".join(
        f"<p><img alt='{name}' src='data:image/png;base64,{base64.b64encode(png).decode()}'></p>"
        for name, png in pictures.items()
        if name.endswith(f"_{outcome.task.horizon}")
    )
    return (
        f"<h2>{target} in {escape(outcome.horizon_name)}</h2>"
        f"<p class='note'>{escape(spans)}. {any_score.test.base_rate:.2%} of the test rows are {target}, "
        f"{any_score.test_onset.base_rate:.2%} of the onset rows. “Stays as it is” is wrong by "
        f"{persistence_mae(outcome.test):.2f} {target.level} on average. Intervals draw {escape(outcome.units)}.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{escape(said(outcome))}</p>{images}"
    )


def said(outcome: Outcome) -> str:
    """Who became champion, or why nobody did, in words."""
    if outcome.champion is not None:
        return (
            f"Champion: {outcome.champion.name}, the best PR-AUC on the validation days of those that beat "
            f"{minus_count(outcome.task.target)} in PR-AUC, also on onsets, and persistence in F1."
        )
    reasons = "; ".join(f"{name}: {', '.join(one.reasons)}" for name, one in outcome.verdicts.items())
    return f"No model is promoted. On the validation days: {reasons}."


def _row(one: Evaluation, outcome: Outcome, rival: str) -> str:
    trained = outcome.trained.get(one.name)
    champion = outcome.champion is not None and outcome.champion.name == one.name
    kind = "champion" if champion else "rival" if one.rival else ""
    cells = [
        escape(one.name) + (" ★" if champion else ""),
        _with_interval(one.intervals["pr_auc"]),
        _with_interval(one.intervals["onset_pr_auc"]),
        _with_interval(one.intervals["f1"]),
        f"{one.test.precision:.3f}",
        f"{one.test.recall:.3f}",
        _with_interval(one.intervals["brier"], 4) if one.probability else "–",
        "–" if one.test.log_loss is None else f"{one.test.log_loss:.4f}",
        _difference(one, rival, "pr_auc"),
        _difference(one, PERSISTENCE, "pr_auc"),
        _difference(one, PERSISTENCE, "brier", 4),
        f"{one.threshold:.3f}",
        "–" if trained is None else f"{trained.seconds:.0f}",
    ]
    return f"<tr class='{kind}'>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _with_interval(found: Interval, digits: int = 3) -> str:
    return f"{found.value:.{digits}f} <small>[{found.low:.{digits}f}, {found.high:.{digits}f}]</small>"


def _difference(one: Evaluation, rival: str, measure: str, digits: int = 3) -> str:
    found = one.better_than.get(rival, {}).get(measure)
    if found is None:
        return "–"
    return f"{found.value:+.{digits}f} <small>[{found.low:+.{digits}f}, {found.high:+.{digits}f}]</small>"
