"""What a page of documentation holds: blocks, code in the text, links, headings. As much of Markdown as these pages use."""

import re
from dataclasses import dataclass, field


@dataclass
class Block:
    """A fenced block, or an indented one that begins with a command."""

    line: int
    # What stands behind the fence: language, and words of our own.
    language: str
    words: list[str]
    lines: list[str]
    # What HTML comments just before it say: {"not run": "needs systemd"}.
    notes: dict[str, str]
    # Nothing but blank lines and comments between it and the block before.
    adjacent: bool = False

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


@dataclass
class Page:
    blocks: list[Block] = field(default_factory=list)
    # (line, text)
    spans: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*(.*?)\s*$")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
COMMENT = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")
SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
TAG = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"]+)\"")
# What is typed at a prompt, in a block that is only indented.
COMMAND = re.compile(r"^    (?:\$ )?(?:dcom-sensor|sudo|cargo|make|jq|\./)[ \w]")
SHELLS = ("sh", "bash", "console")


def slug(heading, seen):
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[^\w\- ]", "", text.replace("`", "").lower()).replace(" ", "-")
    count = seen.get(text, 0)
    seen[text] = count + 1
    return f"{text}-{count}" if count else text


def read(text):
    page, seen = Page(), {}
    prose = []
    lines = text.split("\n")
    notes, after_block, at = {}, False, 0
    while at < len(lines):
        line = lines[at]
        number = at + 1
        if fence := FENCE.match(line):
            indent, mark, info = fence.groups()
            block = []
            at += 1
            while at < len(lines) and not re.match(rf"^ *{re.escape(mark)}[`~]*\s*$", lines[at]):
                block.append(lines[at].removeprefix(indent))
                at += 1
            language, *words = info.split() or [""]
            page.blocks.append(Block(number, language, words, block, notes, after_block))
            notes, after_block = {}, True
            prose.extend([""] * (at - number + 2))
        elif COMMAND.match(line) and not (at and lines[at - 1].strip()):
            block = []
            while at < len(lines) and lines[at].startswith("    "):
                block.append(lines[at][4:])
                at += 1
            at -= 1
            language = "console" if block[0].startswith("$ ") else "sh"
            page.blocks.append(Block(number, language, [], block, notes, after_block))
            notes, after_block = {}, True
            prose.extend([""] * len(block))
        elif comment := COMMENT.match(line):
            name, _, value = comment[1].partition(":")
            notes = {**notes, name.strip(): value.strip()}
            prose.append("")
        else:
            if line.strip():
                notes, after_block = {}, False
            if heading := HEADING.match(line):
                page.anchors.add(slug(heading[1], seen))
            page.anchors.update(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", line))
            prose.append(line)
        at += 1
    # A span or a link may go on in the next line, but not in the next paragraph or row.
    start = 0
    for stop in range(len(prose) + 1):
        if stop == len(prose) or not prose[stop].strip() or prose[stop].startswith("|"):
            paragraph("\n".join(prose[start:stop]), start + 1, page)
            start = stop
    return page


def paragraph(text, first, page):
    """Takes spans and links out of a paragraph, with their lines."""

    def line_of(offset):
        return first + text.count("\n", 0, offset)

    for found in SPAN.finditer(text):
        page.spans.append((line_of(found.start()), " ".join(found[2].split())))
    # What stands in code is no link.
    bare = SPAN.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), text)
    for pattern in (LINK, TAG):
        for found in pattern.finditer(bare):
            page.links.append((line_of(found.start()), found[1]))
