"""Names of other people in the terminal's tables."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from velib_dagster.store.terminal import plain


def shown(name: str) -> str:
    table = Table("station")
    table.add_row(plain(name))
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="truecolor")
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    ["[Gare]", "Quai [/]", "[red]rouge[/red]", "[link=x]", "fin\\", "\\[a]", "Arrêt :bus: 12", "[/red]", "a\u00a0b"],
)
def test_brackets_colons_and_backslashes_are_shown_to_the_letter(name: str) -> None:
    assert name in shown(name)


@pytest.mark.parametrize("break_", ["\n", "\r", "\t", "\u2028", "\u0085"])
def test_a_name_stays_one_line(break_: str) -> None:
    assert "Gare Nord" in shown(f"Gare{break_}Nord")


def test_a_terminal_is_given_no_orders() -> None:
    text = shown("a\x1b[2Jb\x07c\x9b31m")
    assert "a�[2Jb�c�31m" in text
