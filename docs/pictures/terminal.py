"""Draws what a terminal has shown, read from standard input, as an SVG: terminal.py FILE.svg"""

import re
import sys

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 112

console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"))
for line in sys.stdin.read().rstrip("\n").split("\n"):
    text = Text(line)
    if line.startswith("$ "):
        text.stylize("bold green", 0, 2)
        text.stylize("bold")
    text.highlight_regex(r"\bWARN\b|\d+ workers? was lost", "bold yellow")
    text.highlight_regex(r"\b\d+ tasks ok, 0 failed", "bold green")
    console.print(text)

# Without the fonts that it would fetch from elsewhere.
form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
form = form.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace")
console.save_svg(sys.argv[1], title="rankpool", code_format=form)
