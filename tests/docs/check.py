"""Checks README.md and docs/: every command runs, every option exists, every snippet is what it says, every link leads
somewhere. Ends with one line of counts; not 0 when something failed. What is not run is told with its reason.

Usage: check.py PROGRAM [PAGE...]. What a page may say of a block, as a comment before it:

  <!-- not run: REASON -->     a command that needs what a test has not
  <!-- command: NAME -->       a command that .ci/run runs itself
  <!-- exit status: N -->      a command that does not end with 0
  <!-- file: NAME -->          the block is written to this file, for the commands after it
  <!-- part of: COMMAND -->    this JSON is part of a line that the command prints; … stands for anything
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import markdown
import names
import picture
import runner
import samples
import snippets
import vector

REPOSITORY = samples.REPOSITORY
# Options of other programs that pages speak of.
FOREIGN = {"--release", "--locked", "--principal", "--filter", "--workspace", "--test", "--bench"}
# Words that stand for a value, where the program takes some values only.
VALUES = {"SEVERITY": "high", "SHELL": "bash", "FORMATS": "eve", "WHICH": "all", "WHEN": "never", "SIGNATURE_ID": "1021303"}
NUMBERS = {"N", "SECONDS", "MINUTES", "MIB", "BYTES"}
# A page of wrong statements, and how many have to be found in it.
WRONG_PAGE, WRONG = "tests/docs/wrong.page", 29


class Check:
    def __init__(self, program):
        self.program = program
        self.failures, self.skipped = [], []
        self.counts = dict.fromkeys(["pages", "commands", "outputs", "not run", "invocations", "options", "names", "snippets", "links"], 0)
        self.options = options(program)
        with self.scratch() as (folder, _):
            command = [program, "replay", "-q", "--json", "capture.pcap"]
            events = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()
            self.snippets = snippets.Snippets(program, events)
            self.names = names.counters(program, folder) | names.fields((REPOSITORY / "docs/EVENTS.md").read_text())
        self.pages = {}

    def fail(self, page, line, message):
        self.failures.append(f"{page}:{line}: {message}")

    def skip(self, page, line, message):
        self.skipped.append(f"SKIPPED: {page}:{line}: {message}")

    def page(self, path):
        if path not in self.pages:
            self.pages[path] = markdown.read(path.read_text())
        return self.pages[path]

    # What stands in a page.

    def check(self, name):
        page = self.page(REPOSITORY / name)
        self.counts["pages"] += 1
        for line, span in page.spans:
            self.span(name, line, span)
        self.counts["names"] += sum(1 for _, span in page.spans if names.NAME.fullmatch(span))
        for line, field in names.unknown(page.spans, self.names):
            self.fail(name, line, f"neither docs/EVENTS.md nor `stats` has {field}")
        if all(block.language in snippets.SHOWN or block.words == ["capture"] for block in page.blocks):
            return
        with self.scratch() as (work, folder):
            self.blocks(name, page, work, folder)

    def blocks(self, name, page, work, folder):
        """Blocks in their order."""
        with runner.Space(self.program, folder, work) as space:
            shown = None
            for block in page.blocks:
                if block.language == "text" and block.adjacent and shown is not None:
                    self.output(name, block, shown)
                shown = None
                if block.language in markdown.SHELLS:
                    shown = self.command(name, block, space)
                elif block.language not in snippets.SHOWN:
                    self.snippet(name, block, work)
                    if command := block.notes.get("part of"):
                        self.part(name, block, space, command)
                if file := block.notes.get("file"):
                    samples.write(work, file, block.text).chmod(0o600)

    def command(self, name, block, space):
        """Runs a block. What it printed, if it did."""
        if reason := block.notes.get("not run"):
            self.counts["not run"] += 1
            print(f"not run: {name}:{block.line}: {reason}")
            return None
        if "not run" in block.notes:
            self.fail(name, block.line, "`not run` wants a reason")
            return None
        if step := block.notes.get("command"):
            if f"readme_command {step}" not in (REPOSITORY / ".ci/run").read_text():
                self.fail(name, block.line, f".ci/run does not run the command `{step}`")
            self.counts["commands"] += 1
            return None
        script, expected = typed(block)
        if missing := space.missing(script):
            self.skip(name, block.line, missing)
            return None
        wanted = int(block.notes.get("exit status", 0))
        status, printed = space.run(script)
        self.counts["commands"] += 1
        if status != wanted:
            self.fail(name, block.line, f"exit status {status}, not {wanted}\n{indented(script)}\n{indented(printed)}")
            return None
        if expected:
            self.compare(name, block.line, expected, printed)
        return printed

    def output(self, name, block, printed):
        self.compare(name, block.line, block.lines, printed)

    def compare(self, name, line, expected, printed):
        """What is shown was printed, line after line. `…` stands for anything in a line, and alone for any lines."""
        self.counts["outputs"] += 1
        pattern, gap = "", ""
        for shown in expected:
            shown = shown.strip() and shown.rstrip()
            if shown == "…":
                gap = r"(?:.*\n)*?"
            elif shown:
                pattern += gap + ".*".join(re.escape(part) for part in shown.split("…")) + r" *\n"
                gap = ""
        lines = [it.rstrip() for it in printed.split("\n") if it.strip()]
        if not re.search("^" + pattern, "\n".join(lines) + "\n", re.MULTILINE):
            self.fail(name, line, f"what is shown was not printed:\n{indented(printed)}")

    def part(self, name, block, space, command):
        """Is that what a block of JSON shows part of an event?"""
        self.counts["outputs"] += 1
        status, printed = space.run(command)
        lines = [json.loads(line) for line in printed.split("\n") if line.startswith("{")]
        if status or not any(snippets.holds(line, snippets.parsed(block.text)) for line in lines):
            self.fail(name, block.line, f"no event of `{command}` has this (exit status {status})")

    # What is no command.

    def snippet(self, name, block, work):
        if block.words == ["capture"]:
            return  # An example of a detection; tests/detections_doc.rs plays it.
        self.counts["snippets"] += 1
        try:
            problem = self.snippets.problem(block, work)
        except Exception as error:
            problem = str(error)
        if problem:
            self.fail(name, block.line, f"{block.language} {' '.join(block.words)}: {problem}")

    # Code in the text.

    def span(self, name, line, span):
        if span.startswith("dcom-sensor "):
            self.counts["invocations"] += 1
            if problem := self.invocation(span):
                self.fail(name, line, f"`{span}`: {problem}")
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span):
            if span.startswith("-") or span.startswith("dcom-sensor "):
                self.counts["options"] += 1
                if option not in self.options | FOREIGN:
                    self.fail(name, line, f"`{span}`: the program has no {option}")

    def invocation(self, span):
        """A problem with what is typed there, as the program sees it: it reads all of it before it prints its help."""
        words = []
        for word in shlex.split(span.replace("\\|", "|").replace("[", "").replace("]", "")):
            if word in ("|", ">", ">>", "&&", ";", "&"):
                break
            words.append("2" if word in NUMBERS else VALUES.get(word, word))
        done = subprocess.run([self.program, *words[1:], "--help"], capture_output=True, text=True)
        return done.stderr.split("\n")[0] if done.returncode else None

    # Links.

    def links(self, name):
        page = self.page(REPOSITORY / name)
        for line, target in page.links:
            if re.match(r"[a-z]+:", target):
                continue
            self.counts["links"] += 1
            path, _, anchor = target.partition("#")
            file = (REPOSITORY / name).parent / path if path else REPOSITORY / name
            if not file.exists():
                self.fail(name, line, f"the link leads nowhere: {target}")
            elif anchor and (not path or file.suffix == ".md") and anchor not in self.page(file.resolve()).anchors:
                self.fail(name, line, f"{file.name} has no heading for #{anchor}")

    def index(self):
        """docs/README.md leads to every page of docs/, and to the first page of each folder."""
        name = "docs/README.md"
        linked = {(REPOSITORY / "docs" / target.partition("#")[0]).resolve() for _, target in self.page(REPOSITORY / name).links}
        pages = [*(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "docs").glob("*/README.md")]
        for path in sorted(pages):
            if path.resolve() not in linked | {REPOSITORY / name}:
                self.fail(name, 1, f"has no link to {path.relative_to(REPOSITORY)}")

    def examples(self):
        """The examples that the help of each command ends with."""
        for command in sorted(subcommands(self.program)):
            text = subprocess.run([self.program, *command, "--help"], capture_output=True, text=True, check=True).stdout
            for line in re.findall(r"^  (dcom-sensor .*?|.* \| dcom-sensor .*?)(?:  .*)?$", text, re.MULTILINE):
                self.counts["invocations"] += 1
                for part in line[line.index("dcom-sensor ") :].split(" && "):
                    if problem := self.invocation(part):
                        self.fail("--help of " + " ".join(command), 1, f"`{part}`: {problem}")

    def picture(self):
        """The picture on the first page is what the program prints."""
        name = "docs/images/replay.svg"
        with self.scratch() as (work, folder), runner.Space(self.program, folder, work) as space:
            _, printed = space.run_in_colour(picture.COMMAND, picture.COLUMNS)
        drawn = picture.draw(printed)
        self.counts["outputs"] += 1
        if os.environ.get("UPDATE_DOCS"):
            (REPOSITORY / name).write_text(drawn)
        elif drawn != (REPOSITORY / name).read_text():
            self.fail(name, 1, "the program prints something else; UPDATE_DOCS=1 tests/docs/check draws it anew")

    @contextlib.contextmanager
    def scratch(self):
        """A folder in which commands run, and one around it."""
        with tempfile.TemporaryDirectory(prefix="docs-") as folder:
            # Others than the owner have to reach the logs of a sensor that has given up its privileges.
            os.chmod(folder, 0o755)
            work = Path(folder, "work")
            work.mkdir()
            samples.prepare(work)
            yield work, Path(folder)

    def told(self):
        """Every option is told of on some page."""
        text = "\n".join(path.read_text() for path in self.pages)
        for option in sorted(self.options - {"--help", "--version"}):
            if not re.search(rf"(?<![\w-]){option}(?![\w-])", text):
                self.fail("docs/README.md", 1, f"no page tells of {option}")

    def unit(self):
        """The service, as systemd sees it. The program stands elsewhere here."""
        unit = REPOSITORY / "packaging/dcom-sensor.service"
        if not shutil.which("systemd-analyze"):
            self.skip(unit.name, 1, "there is no systemd-analyze")
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, unit.name)
            copy.write_text(unit.read_text().replace("/usr/bin/dcom-sensor", self.program))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
            self.counts["snippets"] += 1
            if done.returncode:
                self.fail("packaging/" + unit.name, 1, done.stderr)
        options = re.findall(r'^#?DCOM_SENSOR_OPTIONS="(.*)"', (REPOSITORY / "packaging/default").read_text(), re.MULTILINE)
        for text in options:
            self.span("packaging/default", 1, f"dcom-sensor live {text}")


def subcommands(program, *command):
    """All commands, the program itself among them."""
    yield command
    _, _, rest = subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True).stdout.partition(
        "\nCommands:\n"
    )
    for name in re.findall(r"^  (\w+)", rest.partition("\n\n")[0], re.MULTILINE):
        if name != "help":
            yield from subcommands(program, *command, name)


def options(program):
    """The options of all commands."""
    found = set()
    for command in subcommands(program):
        text = subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True).stdout
        found.update(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    return found


def typed(block):
    """What is typed in a block, and what it shows as printed."""
    if block.language != "console":
        return block.text, []
    commands, printed = [], []
    for line in block.lines:
        if line.startswith("$ "):
            commands.append(line[2:])
        elif commands and commands[-1].endswith("\\"):
            commands.append(line)
        else:
            printed.append(line)
    return "\n".join(commands) + "\n", printed


def indented(text):
    return "\n".join(f"    {line}" for line in text.rstrip().split("\n"))


def main():
    program = str(Path(sys.argv[1]).resolve())
    wrong = Check(program)
    wrong.check(WRONG_PAGE)
    wrong.links(WRONG_PAGE)
    # What YAML is needed for, and Vector's language.
    if len(wrong.failures) != WRONG - (snippets.yaml is None) - (snippets.yaml is None or vector.vrl_python is None):
        print("\n".join(wrong.failures), f"{WRONG_PAGE}: {len(wrong.failures)} failures, not {WRONG}", sep="\n")
        return 1
    check = Check(program)
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    pages = sys.argv[2:] or [it for it in sorted(tracked) if it == "README.md" or it.startswith("docs/")]
    if snippets.yaml is None:
        check.skip("docs", 0, "YAML is not read; there is no PyYAML")
    if vector.vrl_python is None:
        check.skip("docs", 0, "Vector's language is not run; vrl-python cannot be had from PyPI")
    for name in pages:
        check.check(name)
    for name in sys.argv[2:] or tracked:
        check.links(name)
    if not sys.argv[2:]:
        check.index()
        check.told()
        check.unit()
        check.examples()
        check.picture()
    for message in [*check.skipped, *check.failures]:
        print(message)
    print(f"docs: {', '.join(f'{count} {what}' for what, count in check.counts.items())}, "
          f"{len(check.skipped)} skipped, {len(check.failures)} failed")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
