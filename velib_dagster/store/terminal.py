"""Texts of other people (names of stations, zones, paths, reasons) in the terminal's tables, to the letter.

A table of rich takes `[red]` in a plain string for markup and `:bus:` for a sign; a terminal obeys escape sequences.
"""

from typing import Final

from rich.text import Text

_BREAKS: Final = str.maketrans({"\n": " ", "\r": " ", "\t": " ", "\u2028": " ", "\u2029": " ", "\u0085": " "})


def plain(text: str) -> Text:
    """The text as one line that is shown as it is; characters that a terminal would obey are shown as �."""
    line = text.translate(_BREAKS)
    return Text("".join(letter if letter.isprintable() or letter == "\N{NO-BREAK SPACE}" else "�" for letter in line))
