"""Cells that Excel leaves as they are."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from velib_dagster.archive.spreadsheet import SHEET_ROWS, cell


@pytest.mark.parametrize("name", ["=1+1", "+33 1 Gare", "-Nord", "@Sud", "\tEst", "\rOuest", "\nGare", "  =1+1", "＝1"])
def test_what_excel_runs_gets_an_apostrophe(name: str) -> None:
    assert cell(name) == f"'{name}"


@pytest.mark.parametrize(
    "text",
    [
        *("0731", "00", "1234567890123456", "12e4", "1E+5", "3/4", "1-2", "2024-11-07", "12:30", "12,5", "50 %"),
        *("8 mai 1945", "1er mai", "11 Novembre 1918", "juillet 1789", "mars", "VRAI", "false"),
    ],
)
def test_what_excel_would_change_gets_a_tab(text: str) -> None:
    assert cell(text) == f"\t{text}"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "201",
            "0",
            "123456789012345",
            "7101_relais",
            "881f90cd6dfffff",
            "Gare d'Ouest",
            "11 rue Mars",
            "Marseille",
        ),
        *("Place du 11 Novembre 1918", " avant", "fin\\", "null", "N/A", "Mairie du 12e", "Quai; ouest"),
    ],
)
def test_every_other_text_stays_to_the_letter(text: str) -> None:
    assert cell(text) == text


def test_numbers_stay_numbers_and_times_are_utc_to_the_second() -> None:
    assert [cell(value) for value in (-4.85, 10, None, True, False)] == ["-4,85", "10", "", "1", "0"]
    paris = datetime(2024, 11, 7, 9, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    assert cell(paris) == "2024-11-07 08:00:00"
    assert cell(datetime(2024, 11, 7, 8, 0, tzinfo=UTC)) == "2024-11-07 08:00:00"


def test_a_sheet_has_two_to_the_twentieth_rows() -> None:
    assert SHEET_ROWS == 1 << 20
