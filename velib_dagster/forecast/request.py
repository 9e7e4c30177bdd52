"""What to train on and how, and how the words of a command or of Dagster's launchpad become that.

No Spark and no MLflow: a wrong word is refused before anything starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from velib_dagster.forecast.errors import ForecastError
from velib_dagster.forecast.task import HORIZONS, MODEL_NAMES, Split, Target

DRAWS = 200
MOST_ROWS = 100_000
"""Rows that a model of the rich set is fitted on at most; above that, rows without the event are thinned."""


@dataclass(frozen=True)
class Options:
    """What is trained, and how."""

    targets: tuple[Target, ...] = (Target.FULL, Target.EMPTY)
    models: tuple[str, ...] = MODEL_NAMES
    one_station: bool = False
    station_code: str | None = None
    seed: int = 1
    draws: int = DRAWS
    """Draws of the bootstrap."""
    most_rows: int = MOST_ROWS

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODEL_NAMES]
        if unknown or not self.models:
            msg = f"model {', '.join(unknown) or '(none)'}: one or more of {', '.join(MODEL_NAMES)}"
            raise ForecastError(msg)


@dataclass(frozen=True)
class Request:
    """The whole of it; None: as the data say."""

    options: Options = field(default_factory=Options)
    history: tuple[Path, ...] = ()
    horizons: tuple[int, ...] = HORIZONS
    first: date | None = None
    last: date | None = None
    split: Split | None = None
    step_seconds: int | None = None
    origin_seconds: int | None = None


def request_from_text(
    *,
    history: Sequence[Path] = (),
    target: str = "both",
    horizons: str = "5,15,30,60",
    days: tuple[date, date] | None = None,
    validate_from: str | None = None,
    test_from: str | None = None,
    station: str | None = None,
    one_station: bool = False,
    models: str | None = None,
    step: int | None = None,
    seed: int = 1,
) -> Request:
    """The request that words ask for.

    Raises:
        ForecastError: a word is none that is known, a file is missing; the message says which.
    """
    if target not in {"both", *Target}:
        msg = f"target {target!r}: one of full, empty, both"
        raise ForecastError(msg)
    missing = [str(path) for path in history if not path.is_file()]
    if missing:
        msg = f"{', '.join(missing)}: no such file; give Parquet files of polls"
        raise ForecastError(msg)
    if days is not None and days[0] > days[1]:
        msg = f"days {days[0]}..{days[1]}: the first day is after the last"
        raise ForecastError(msg)
    return Request(
        options=Options(
            targets=(Target.FULL, Target.EMPTY) if target == "both" else (Target(target),),
            models=MODEL_NAMES if models is None else tuple(name.strip() for name in models.split(",") if name.strip()),
            one_station=one_station,
            station_code=station,
            seed=seed,
        ),
        history=tuple(history),
        horizons=_minutes(horizons),
        first=days[0] if days else None,
        last=days[1] if days else None,
        split=_split(validate_from, test_from),
        step_seconds=step,
    )


def _minutes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        msg = f"horizons {text!r}: minutes separated by commas, as 5,15,30,60"
        raise ForecastError(msg) from None


def _split(validate_from: str | None, test_from: str | None) -> Split | None:
    if validate_from is None and test_from is None:
        return None
    if validate_from is None or test_from is None:
        msg = "give both days, from which to validate and from which to test, or neither"
        raise ForecastError(msg)
    try:
        return Split(date.fromisoformat(validate_from), date.fromisoformat(test_from))
    except ValueError:
        msg = f"days {validate_from!r} and {test_from!r}: a day is YYYY-MM-DD"
        raise ForecastError(msg) from None
