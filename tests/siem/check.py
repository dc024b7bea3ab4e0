"""Checks docs/siem; called by `check`, which installs what this imports. One line a file, then a summary."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import engines
import pipelines
import samples
from antlr4 import CommonTokenStream, InputStream
from esql_parser.EsqlBaseLexer import EsqlBaseLexer
from esql_parser.EsqlBaseParser import EsqlBaseParser
from report import HERE, ROOT, SCHEMA, SIEM, Report, same
from sensor_logs import check_sensor
from shipped import eql_singles, enabled, ended, kql, named, sigma_rules, splunk, sumo
from sigma.backends.elasticsearch import EqlBackend, LuceneBackend
from sigma.backends.kusto import KustoBackend
from sigma.backends.splunk import SplunkBackend
from sigma.collection import SigmaCollection
from sigma.pipelines.elasticsearch.windows import ecs_windows
from sigma.pipelines.microsoftxdr import microsoft_xdr_pipeline
from sigma.pipelines.splunk import splunk_windows_pipeline

TAGS = {"attack.lateral-movement", "attack.execution", "attack.t1021.003", "attack.t1047"}
PATTERNS = {
    "COM_SuspiciousChild", "MMC20_DCOM", "DCOM_ConfigTool", "DCOM_CommandLineRef", "COM_ServerChild", "DcomLaunch_Child",
    "COM_EmbeddingStart", "WMI_Child", "DCOM_Denied", "DCOM_Unreachable", "DCOM_WeakLevel", "DCOM_Script",
    "COM_InboundThenChild",
}


def files(suffix):
    return sorted(SIEM.rglob(f"*.{suffix}"))


# What the files are

def check_parses(report, modules):
    if modules:
        told = subprocess.run(["node", str(HERE / "kql.js"), modules, *map(str, files("kql"))],
                              capture_output=True, text=True, check=False)
        if told.returncode:
            with report.of("tests/siem/kql.js", "run"):
                raise AssertionError(told.stderr[-500:])
        for line in told.stdout.splitlines():
            result = json.loads(line)
            with report.of(Path(result["file"]), "Microsoft's parser"):
                same(result["errors"], [])
    else:
        report.skip("KQL by Microsoft's parser")
    for path in files("eql"):
        with report.of(path, "EQL"):
            engines.eql_query(path.read_text())
    for path in files("esql"):
        with report.of(path, "ES|QL"):
            parse_esql(path.read_text())
    for path in files("spl"):
        with report.of(path, "linter"):
            told = subprocess.run([f"{Path(sys.executable).parent}/splint", "--no-color", str(path)],
                                  capture_output=True, text=True, check=False)
            assert told.returncode == 0, told.stdout + told.stderr
        with report.of(path, "macros"):
            used = set(re.findall(r"(?<!`)`(\w+)`(?!`)", path.read_text()))
            same(used - set(pipelines.macros(SIEM / "splunk" / "macros.conf")), [])
    for path in files("json"):
        with report.of(path, "JSON"):
            json.loads(path.read_text())


def parse_esql(text):
    class Errors:
        def __init__(self):
            self.told = []

        def syntaxError(self, recognizer, symbol, line, column, message, error):  # noqa: N802, ANTLR's name
            self.told.append(f"line {line}: {message}")

        def __getattr__(self, name):
            return lambda *_: None

    errors = Errors()
    # The grammar has key words in lower case; Elasticsearch takes any.
    lexer = EsqlBaseLexer(InputStream(lower_keywords(text)))
    parser = EsqlBaseParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(errors)
    parser.singleStatement()
    same(errors.told, [])


def lower_keywords(text):
    return re.sub(r'("(?:\\.|[^"\\])*")|\b[A-Z]+\b', lambda match: match[1] or match[0].lower(), text)


def check_static(report):
    classes = (ROOT / "sensor/src/catalog/classes.toml").read_text().lower()
    index = (SIEM / "README.md").read_text()
    for path in sorted(path for path in SIEM.rglob("*.*") if path.suffix != ".md"):
        with report.of(path, "CLSIDs are in the catalogue"):
            known = re.findall(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", without_ids(path))
            same({clsid for clsid in known if clsid not in classes}, [])
        with report.of(path, "the README names it"):
            name = path.name
            assert name in index or path.stem in index or path.parent.name == "filters", name
    names = index[index.index("## Names"):index.index("## Files")]
    told = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", names, re.MULTILINE)}
    with report.of(SIEM / "README.md", "the table of names"):
        same(list(told), PATTERNS)
    with report.of(SIEM / "README.md", "severities are those of the Sigma rules"):
        levels = {(str(rule.title).split()[0], rule.level.name.lower()) for rule in sigma_rules()[1]}
        same([(name, level) for name, (severity, _) in told.items() for level in severity.split(", ")], levels)
    for language, suffix in (("kql", "kql"), ("splunk", "spl"), ("sumo", "sumo"), ("elastic", "eql"), ("sigma", "yml")):
        with report.of(SIEM / "README.md", f"{language} has every name"):
            text = "".join(path.read_text() for path in (SIEM / language).rglob(f"*.{suffix}"))
            same({pattern for pattern in PATTERNS if pattern not in text}, [])


def without_ids(path):
    """The text without the rules' own identifiers, in lower case."""
    return re.sub(r"^id: .*$", "", path.read_text(), flags=re.MULTILINE).lower()


def check_sigma_rules(report):
    folders = [SIEM / "sigma" / name for name in ("rules", "correlations", "filters")]
    command = [f"{Path(sys.executable).parent}/sigma", "check", "--fail-on-issues", "--validation-config",
               str(HERE / "sigma-validation.yml"), *map(str, folders)]
    with report.of("sigma check", "all rules"):
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        clean = "Found 0 errors, 0 condition errors and 0 issues" in told.stdout
        assert told.returncode == 0 and clean, told.stdout + told.stderr
    backends = {
        "Splunk": SplunkBackend(splunk_windows_pipeline()), "EQL": EqlBackend(ecs_windows()),
        "Lucene": LuceneBackend(ecs_windows()),
    }
    for path in sorted(folders[0].glob("*.yml")):
        text = path.read_text()
        for name, backend in backends.items():
            with report.of(path, f"conversion to {name}"):
                query, = backend.convert(SigmaCollection.from_yaml(text))
                if name == "EQL":
                    engines.eql_query(query)
        # Defender has no table of Windows' own logs.
        if "category: process_creation" in text:
            with report.of(path, "conversion to Kusto"):
                assert KustoBackend(microsoft_xdr_pipeline()).convert(SigmaCollection.from_yaml(text))
        with report.of(path, "tags"):
            for rule in SigmaCollection.from_yaml(text):
                same({str(tag) for tag in rule.tags} - TAGS, [])


# What they find

def findings(report, events, tuned=False):
    """What each language finds: {language: [(event, name:severity)]}, and for sequences {language: [(event, confidence)]}."""
    single, sequences = {}, {}
    rules, alone = sigma_rules(*([SIEM / "sigma/filters"] if tuned else []))
    documents = [samples.elastic(event) for event in events]
    piped = [samples.piped(event) for event in events]
    suffix = ", allow-lists enabled" if tuned else ""
    with report.of("Sigma" + suffix, "run"):
        single["Sigma"] = engines.sigma_single(alone, events)
        sequences["Sigma"] = narrowest(engines.sigma_sequences(rules, events))
    with report.of("EQL" + suffix, "run"):
        single["EQL"] = [(index, name) for _, name, query in eql_singles(tuned)
                         for index in engines.eql_run(engines.eql_query(query), documents)]
        paths = {seconds: SIEM / f"elastic/com_inbound_then_child_{seconds}s.eql" for seconds in WITHIN}
        sequences["EQL"] = narrowest({seconds: engines.eql_run(engines.eql_query(path.read_text()), documents)
                                      for seconds, path in paths.items()})
    with report.of("KQL" + suffix, "run"), engines.kql_tables(SCHEMA, samples.device_rows(events)) as tables:
        text = (SIEM / "kql/process.kql").read_text()
        rows = engines.kql_run(tables, enabled(text) if tuned else text)
        single["KQL"] = [(row["ReportId"], named(row)) for row in rows] + [
            (int(row["Computer"].split("#")[1]), named(row))
            for name in ("system_log", "script_block") for row in kql(tables, name)]
        sequences["KQL"] = [(row["ReportId"], row["Confidence"]) for row in kql(tables, "inbound_then_child")]
    for language, run in (("Splunk", splunk(piped, tuned)), ("Sumo Logic", sumo(piped, tuned))):
        with report.of(language + suffix, "run"):
            rows = [row for name in ("process", "system_log", "script_block") for row in run(name)]
            single[language] = [(row["number"], f"{row['pattern']}:{row['severity']}") for row in rows]
            sequences[language] = [(ended(row), row["confidence"]) for row in run("inbound_then_child")]
    return single, sequences


WITHIN = {5: "high", 60: "medium", 120: "low"}


def narrowest(found):
    """(event, confidence) out of events by window in seconds; a wider window must contain the narrower one."""
    confidence = {}
    for seconds in sorted(found, reverse=True):
        if set(confidence) - set(found[max(found)]):
            raise AssertionError(f"the window of {seconds} s finds more than the widest")
        confidence |= dict.fromkeys(found[seconds], WITHIN[seconds])
    return list(confidence.items())


def check_events(report, sets, tuned=False):
    """Runs all queries on events that say what must be found. With the allow-lists enabled, some must be kept back."""
    events = samples.together({label: [event for event in members if samples.kind(event)] for label, members in sets.items()})
    single, sequences = findings(report, events, tuned)
    for label in sets:
        members = [event for event in events if event["set"] == label]
        wanted = {event["index"]: [] if tuned and event.get("tuned") else event["expect"] for event in members}
        for language, found in single.items():
            # Queries that tell an event once tell the most telling name.
            told = slice(None) if language in ("Sigma", "EQL") else slice(1)
            with report.of(label, language):
                same([one for one in found if one[0] in wanted],
                     [(index, name) for index, names in wanted.items() for name in names[told]])
        for language, found in sequences.items():
            with report.of(label, f"{language}, sequences"):
                same([one for one in found if one[0] in wanted],
                     [(event["index"], event["then"]) for event in members if event.get("then")])


def check_corpus(report):
    """Other people's recordings, read where they lie."""
    corpus = Path(os.environ.get("DCOM_CORPUS") or ROOT.parent / "shared" / "corpus")
    if not corpus.is_dir():
        report.skip("other people's recordings: there are none beside the workspace, nor where DCOM_CORPUS says")
        return
    sets = {f"corpus {name}": samples.corpus(corpus / name) for name in samples.CORPUS}
    events = samples.together(sets)
    single, sequences = findings(report, events)
    for name, wanted in samples.CORPUS.items():
        label = f"corpus {name}"
        members = {event["index"] for event in events if event["set"] == label}
        for language, found in single.items():
            with report.of(label, language):
                same([told for index, told in found if index in members],
                     Counter({told: count for told, count in wanted.items() if ":" in told}).elements())
        for language, found in sequences.items():
            with report.of(label, f"{language}, sequences"):
                same([confidence for index, confidence in found if index in members],
                     ["high"] * wanted.get(f"COM_InboundThenChild in {language}", wanted.get("COM_InboundThenChild", 0)))


def check_wmi_by_pid(report):
    """A log without parent names: event 4688 of old Windows."""
    events = samples.together({"": samples.load("wmi_4688_without_parent")})
    with report.of(SIEM / "elastic/wmi_child_by_pid.eql", "events without parent names"):
        query = engines.eql_query((SIEM / "elastic/wmi_child_by_pid.eql").read_text())
        same(engines.eql_run(query, [samples.elastic(event) for event in events]), [1])


def main():
    report = Report()
    check_static(report)
    check_parses(report, sys.argv[1])
    check_sigma_rules(report)
    sets = {f"tests/siem/events/{name}.ndjson": samples.load(name) for name in samples.names()}
    sets["each parent with each child"] = samples.combinations()
    check_events(report, sets)
    check_events(report, {"tests/siem/events/tuning.ndjson": samples.load("tuning")}, tuned=True)
    check_wmi_by_pid(report)
    check_sensor(report)
    check_corpus(report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
