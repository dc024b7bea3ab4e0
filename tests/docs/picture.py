"""docs/images/replay.svg: what the program prints on a wide terminal, drawn. `UPDATE_DOCS=1 tests/docs/check` draws it anew."""

import re
from xml.sax.saxutils import escape

COMMAND = "dcom-sensor replay --no-progress --color always --min-severity high pcaps/mmc20-connect.pcap pcaps/shellwindows-connect.pcap"
SHOWN = COMMAND.replace(" --no-progress --color always", "")
TITLE = (
    "dcom-sensor prints four critical alerts: MMC20.Application and ShellWindows were activated from another machine, and ran a "
    "command"
)
COLUMNS = 136
ADVANCE, LINE, MARGIN, TOP = 7.25, 18, 18, 58
STYLE = """\
    text { font: 12px ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre; }
    .dim { fill: #7b8494; }
    .title { fill: #9aa5b8; }
    .sum { fill: #a3be8c; }
    .crit { fill: #ff6b6b; font-weight: bold; }
    .rule { stroke: #3b4252; }
    .head { stroke: #6b7689; stroke-width: 2; }"""
# How fast this machine read is not for a picture.
SPEED = re.compile(r"read in [\d.]+ s \([^)]*\)")


def draw(printed):
    """An SVG of what the command printed."""
    lines = [SPEED.sub("read in 0.01 s (12 Mbit/s)", line).rstrip() for line in printed.rstrip().split("\n")]
    # The last line may be longer than the terminal, which wraps it.
    lines[-1:] = wrapped(lines[-1])
    width = round(2 * MARGIN + COLUMNS * ADVANCE)
    y, body, rules = TOP, [text(0, TOP, "$", "dim"), text(2, TOP, SHOWN, "")], 0
    for number, line in enumerate(lines):
        if line and set(line) <= {"─", "═"}:
            kind = "head" if line[0] == "═" else "rule"
            rules += 1
            body.append(f'  <line x1="{MARGIN}" y1="{y + 11}" x2="{width - MARGIN}" y2="{y + 11}" class="{kind}"/>')
            y += 9
            continue
        y += LINE
        plain = "title" if rules == 1 else "sum" if number >= len(lines) - 2 else ""
        for column, piece, coloured in pieces(line):
            body.append(text(column, y, piece, "crit" if coloured else plain))
    height = y + 24
    dots = "".join(
        f'<circle cx="{20 + 20 * at}" cy="20" r="6" fill="{fill}"/>' for at, fill in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="title">',
        f'  <title id="title">{TITLE}</title>',
        f"  <style>\n{STYLE}\n  </style>",
        f'  <rect width="{width}" height="{height}" rx="8" fill="#1b1f27"/>',
        f"  {dots}",
        *body,
        "</svg>\n",
    ])


def wrapped(line):
    cut = line.rfind(" ", 0, COLUMNS)
    return [line] if len(line) <= COLUMNS else [line[:cut], line[cut + 1 :]]


def pieces(line):
    """(column, text, coloured) of what stands apart from each other in a line."""
    column, coloured = 0, False
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if part.startswith("\x1b"):
            coloured = part not in ("\x1b[0m", "\x1b[m")
            continue
        for found in re.finditer(r"\S+(?: \S+)*", part):
            yield column + found.start(), found[0], coloured
        column += len(part)


def text(column, y, content, kind):
    named = f' class="{kind}"' if kind else ""
    return f'  <text x="{MARGIN + column * ADVANCE:.1f}" y="{y}"{named}>{escape(content)}</text>'
