"""The queries of docs/siem by name, ready to run."""

import re

import engines
import pipelines
from report import SIEM


def sigma_rules(*more):
    """The single rules and the correlations; the parts of these are no findings."""
    rules = list(engines.sigma_rules(SIEM / "sigma/rules", SIEM / "sigma/correlations", *more).rules)
    return rules, [rule for rule in rules if "(Part)" not in str(rule.title)]


def eql_singles(tuned=False):
    """(path, name:severity, query) of the queries that look at one event."""
    for path in sorted((SIEM / "elastic").glob("*.eql")):
        text = path.read_text()
        query = enabled(text) if tuned else text
        if "\nsequence " not in text:
            yield path, re.match(r"// (\w+):", text)[1] + ":" + re.search(r"^// Severity (\w+)", text, re.MULTILINE)[1], query


def enabled(text):
    """With the entries of the allow-list that are commented out as shipped."""
    return re.sub(r"^(\s*)// or ", r"\1or ", text, flags=re.MULTILINE)


def named(row):
    return f"{row['Pattern']}:{row['Severity']}"


def ended(row):
    return row["number"] if row.get("number") is not None else row.get("process_number")


def kql(tables, name):
    return engines.kql_run(tables, (SIEM / f"kql/{name}.kql").read_text())


def splunk(rows, tuned=False):
    folder = SIEM / "splunk"
    return lambda name: pipelines.run_splunk((folder / f"{name}.spl").read_text(), rows, folder, tuned)


def sumo(rows, tuned=False):
    def run(name):
        text = (SIEM / f"sumo/{name}.sumo").read_text()
        return pipelines.run_sumo(enabled(text) if tuned else text, rows)
    return run
