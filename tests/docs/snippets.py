"""Blocks that are no commands: settings, configuration of other programs, events. Each has to be what it says it is."""

import configparser
import json
import re
import subprocess
import tomllib
from xml.etree import ElementTree

import markdown
import samples
import vector

try:
    import yaml
except ImportError:
    yaml = None

# Blocks that are shown and not meant to be run or read by a program.
SHOWN = {"text", "csv", "diff", "http", "mermaid"}
CATALOGUE = {"class", "method", "operation", "tool", "fact"}
KEYS = {"ntlm", "kerberos"}


class Snippets:
    def __init__(self, program, events):
        """The program, and the lines of a sample's eve.json."""
        self.program, self.events = program, events
        self.readers = {
            "toml": self.toml,
            "json": self.json,
            "yaml": self.yaml,
            "ini": self.ini,
            "conf": self.conf,
            "xml": self.xml,
            "python": self.python,
        }

    def problem(self, block, work):
        """What is wrong with it, if something is; or an exception that says so."""
        if block.language not in self.readers:
            known = ", ".join([*self.readers, *sorted(SHOWN), *markdown.SHELLS])
            return f"which language is this? Known are {known}"
        return self.readers[block.language](block, work)

    def toml(self, block, work):
        """A file for the program, which reads it; with a word behind, a file for another one."""
        keys = set(tomllib.loads(block.text))
        if block.words and block.words != ["settings"]:
            return None
        file = samples.write(work, "snippet.toml", block.text)
        file.chmod(0o600)
        if keys & CATALOGUE:
            arguments = ["catalog", "check", file.name]
        elif keys & KEYS:
            arguments = ["replay", "-q", "--keys", file.name, "pcaps/mmc20-sealed.pcap"]
        else:
            arguments = ["replay", "--config", file.name, "--print-config"]
        done = subprocess.run([self.program, *arguments], cwd=work, capture_output=True, text=True)
        return done.stdout + done.stderr if done.returncode else None

    def json(self, block, _):
        parsed(block.text)

    def yaml(self, block, _):
        for document in yaml.safe_load_all(block.text) if yaml else []:
            if problem := vector.problem(document, self.events):
                return problem
        return None

    def ini(self, block, _):
        # A unit of systemd may have a key twice.
        read = configparser.ConfigParser(interpolation=None, strict=False)
        read.read_string(block.text)
        for section in read.sections():
            # Splunk's: where the time of a line begins.
            if (prefix := read.get(section, "TIME_PREFIX", fallback=None)) is not None:
                if not all(re.match(prefix + r"\d{4}-\d\d-\d\dT", line) for line in self.events):
                    return f"TIME_PREFIX of [{section}] does not find the time of a line of eve.json"
        return None

    def xml(self, block, _):
        ElementTree.fromstring(block.text)

    def python(self, block, _):
        compile(block.text, "snippet", "exec")

    def conf(self, block, _):
        return None if block.text.strip() else "it is empty"


def parsed(text):
    """A document, members of an object without its braces, or a document a line."""
    try:
        return json.loads(text)
    except ValueError as error:
        for form in ("{" + text + "}", "[" + text.strip().replace("\n", ",") + "]"):
            try:
                return json.loads(form)
            except ValueError:
                pass
        raise error


def holds(whole, part):
    """Is one document found in the other, at whatever depth? `…` in a list stands for what is left out."""
    return fits(whole, part) or isinstance(whole, dict) and any(holds(value, part) for value in whole.values())


def fits(whole, part):
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and fits(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        shown = [it for it in part if it != "…"]
        if not isinstance(whole, list) or shown == part and len(whole) != len(part):
            return False
        return all(any(fits(it, one) for it in whole) for one in shown)
    return whole == part
