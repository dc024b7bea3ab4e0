"""Runs Sigma rules, EQL and KQL on events, each by a parser that others wrote."""

import contextlib
import functools
import re

import duckdb_kql
import eql
import eql.parser
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule

import samples
from sigma_conditions import sigma_conditions, sigma_holds


# Sigma.

@functools.cache
def sigma_rules(*folders):
    return SigmaCollection.load_ruleset([str(folder) for folder in folders])


def sigma_matches(rule, event):
    source, fields = samples.sigma(event)
    if source not in (rule.logsource.category, rule.logsource.service):
        return False
    return all(sigma_holds(condition, fields) for condition in sigma_conditions(rule))


def sigma_single(rules, events):
    """Pairs of event and `name:severity`, by the rules that look at one event."""
    return sorted(
        (event["index"], f"{str(rule.title).split()[0]}:{rule.level.name.lower()}")
        for rule in rules if not isinstance(rule, SigmaCorrelationRule)
        for event in events if sigma_matches(rule, event)
    )


def sigma_sequences(rules, events):
    """For each window in seconds, the last events of ordered pairs that the correlation ties together."""
    by_name = {rule.name: rule for rule in rules if rule.name}
    found = {}
    for rule in rules:
        if not isinstance(rule, SigmaCorrelationRule):
            continue
        first, second = (by_name[reference.reference] for reference in rule.rules)

        def key(event, part):
            aliases = rule.aliases.aliases
            names = [
                next((name for reference, name in aliases[field].mapping.items() if reference.reference == part.name), None)
                if field in aliases else field
                for field in rule.group_by
            ]
            values = [event.get(name) for name in names]
            return None if None in values else values

        ends, starts = set(), [event for event in events if sigma_matches(first, event)]
        for end in (event for event in events if sigma_matches(second, event)):
            for start in starts:
                delta = (samples.time_of(end) - samples.time_of(start)).total_seconds()
                same = key(start, first) is not None and key(start, first) == key(end, second)
                if same and 0 <= delta <= rule.timespan.seconds:
                    ends.add(end["index"])
        found[rule.timespan.seconds] = sorted(ends)
    return found


# EQL: Elastic's own engine in Python.

@functools.cache
def eql_query(text):
    with eql.parser.elasticsearch_syntax, eql.parser.elastic_endpoint_syntax:
        return eql.parser.parse_query(text)


def eql_run(query, documents):
    """The last event of each match."""
    found = []
    engine = eql.PythonEngine()
    engine.add_query(query)
    engine.add_output_hook(found.append)
    documents = sorted(documents, key=lambda document: document["timestamp"])
    engine.stream_events([eql.Event(document["kind"], document["timestamp"], document) for document in documents])
    return sorted({output.events[-1].data["index"] for output in found})


# KQL: translated to SQL and run in DuckDB.

SQL_TYPES = {"datetime": "TIMESTAMP", "string": "VARCHAR", "long": "BIGINT", "int": "INTEGER", "dynamic": "JSON"}


@contextlib.contextmanager
def kql_tables(schema, rows):
    connection = duckdb_kql.connect()
    try:
        for table, columns in schema.items():
            connection.execute(f'CREATE TABLE "{table}" (' + ", ".join(
                f'"{name}" {SQL_TYPES[type_]}' for name, type_ in columns.items()) + ")")
            values = [[row.get(name) for name in columns] for row in rows.get(table, [])]
            if values:
                holes = ", ".join("?" for _ in columns)
                connection.executemany(f'INSERT INTO "{table}" VALUES ({holes})', values)
        yield connection
    finally:
        connection.close()


def kql_run(connection, text):
    """The rows of a query. The time limit goes; so does column_ifexists, which the translation does not know."""
    text = re.sub(r"let Lookback = \w+;", "let Lookback = 36500d;", text)
    text = re.sub(r'column_ifexists\("(\w+)", datetime\(null\)\)', r"\1", text)
    relation = duckdb_kql.query(connection, text)
    return [dict(zip(relation.columns, row)) for row in relation.fetchall()]
