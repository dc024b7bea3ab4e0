"""What the checks share: where things are, and what was found."""

import contextlib
import json
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIEM = ROOT / "docs" / "siem"
# The columns of Microsoft's tables, as far as the queries read them.
SCHEMA = json.loads((HERE / "tables.json").read_text())


class Report:
    """What was found, by file."""

    def __init__(self, title="docs/siem"):
        self.title, self.passed, self.failed, self.skipped = title, Counter(), {}, []

    @contextlib.contextmanager
    def of(self, subject, what):
        """One check of a subject: what it raises is a failure of that subject."""
        subject = str(subject.relative_to(ROOT) if isinstance(subject, Path) else subject)
        try:
            yield
        except Exception as error:  # noqa: BLE001, whatever a parser raises is a finding
            self.failed.setdefault(subject, []).append(f"{what}: {type(error).__name__}: {str(error)[:600]}")
        else:
            self.passed[subject] += 1

    def skip(self, what):
        self.skipped.append(what)

    def end(self):
        for subject in sorted(set(self.passed) | set(self.failed)):
            problems = self.failed.get(subject, [])
            print(f"FAILED  {subject}" if problems else f"ok      {subject} ({self.passed[subject]} checks)")
            for problem in problems:
                print(f"        {problem}")
        for what in self.skipped:
            print(f"SKIPPED {what}")
        failed = sum(len(problems) for problems in self.failed.values())
        print(f"{self.title}: {sum(self.passed.values())} passed, {failed} failed, {len(self.skipped)} skipped")
        return 1 if failed else 0


def same(found, wanted):
    """Both are lists; says what is too much and what is missing."""
    found, wanted = Counter(found), Counter(wanted)
    if found != wanted:
        raise AssertionError(f"not expected: {sorted((found - wanted).elements())[:6]}; "
                             f"missing: {sorted((wanted - found).elements())[:6]}")
