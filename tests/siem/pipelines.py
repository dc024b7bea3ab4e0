"""Runs the searches of Splunk and the queries of Sumo Logic in docs/siem, command by command."""

import csv
import json
import re

from expressions import Expression, NotUnderstood, searched, split, stages, unquote, wildcard, without_comments


# Splunk

def macros(path):
    text = path.read_text()
    return dict(re.findall(r"^\[(\w+)\]\ndefinition = (.*)$", text, re.MULTILINE))


def run_splunk(text, rows, folder, allow_enabled=False):
    text = without_comments(text, "splunk")
    defined = macros(folder / "macros.conf")
    first, *rest = stages(re.sub(r"`(\w+)`", lambda match: defined[match[1]], text))
    rows = [dict(row) for row in rows if searched(first, row)]
    for stage in rest:
        command, _, argument = stage.partition(" ")
        rows = splunk_command(command, argument.strip(), rows, folder, allow_enabled)
    return rows


def splunk_command(command, argument, rows, folder, allow_enabled):
    if command == "eval":
        for assignment in split(argument, ","):
            name, _, value = assignment.partition("=")
            expression = Expression(value, "splunk")
            for row in rows:
                row[name.strip()] = expression(row)
        return rows
    if command == "where":
        condition = Expression(argument, "splunk")
        return [row for row in rows if condition(row)]
    if command == "rename":
        for pair in split(argument, ","):
            old, new = re.split(r"\s+AS\s+", pair)
            for row in rows:
                if old in row:
                    row[new] = row.pop(old)
        return rows
    if command == "lookup":
        return splunk_lookup(argument, rows, folder, allow_enabled)
    if command == "sort":
        keys = split(argument.removeprefix("0 "), ",")
        for key in reversed(keys):
            rows.sort(key=lambda row: row.get(key.lstrip("-")) or 0, reverse=key.startswith("-"))
        return rows
    if command == "dedup":
        seen = {}
        for row in rows:
            seen.setdefault(tuple(str(row.get(key)) for key in split(argument, ",")), row)
        return list(seen.values())
    if command == "streamstats":
        return splunk_streamstats(argument, rows)
    if command == "table":
        return [{name: row.get(name) for name in [*split(argument, ","), "number"]} for row in rows]
    raise NotUnderstood(f"command {command}")


def splunk_lookup(argument, rows, folder, allow_enabled):
    name, rest = argument.split(" ", 1)
    keys, output = re.split(r"\s+OUTPUT\s+", rest)
    source, _, target = output.partition(" AS ")
    with (folder / f"{name}.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    if allow_enabled:
        table = [entry | {"enabled": "1"} for entry in table]
    for row in rows:
        row[target] = [
            entry[source] for entry in table
            if all(wildcard(entry[key].lower(), str(row.get(key) or "").lower()) for key in split(keys, ","))
        ] or None
    return rows


def splunk_streamstats(argument, rows):
    measures, by = re.split(r"\s+BY\s+", argument)
    pairs = [re.fullmatch(r"last\((\w+)\)\s+AS\s+(\w+)", measure) for measure in split(measures, ",")]
    if None in pairs:
        raise NotUnderstood(measures)
    state = {}
    for row in rows:
        last = state.setdefault(tuple(row.get(key) for key in split(by, ",")), {})
        for pair in pairs:
            # Splunk's statistics pass over what is null.
            if row.get(pair[1]) is not None:
                last[pair[1]] = row[pair[1]]
        row |= {pair[2]: last.get(pair[1]) for pair in pairs}
    return rows


# Sumo Logic

def run_sumo(text, rows):
    first, *rest = stages(without_comments(text, "sumo"))
    rows = [dict(row) for row in rows if searched(first, row)]
    for stage in rest:
        rows = sumo_operator(stage, rows)
    return rows


def sumo_operator(stage, rows):
    word = re.match(r"\w*", stage)[0]
    if word == "where":
        condition = Expression(stage[len(word):], "sumo")
        return [row for row in rows if condition(row)]
    if word == "parse":
        match = re.fullmatch(r'parse regex field=(\w+) ("(?:\\.|[^"\\])*")( nodrop)?', stage)
        if not match:
            raise NotUnderstood(stage)
        pattern = re.compile(re.sub(r"\(\?<(\w+)>", r"(?P<\1>", unquote(match[2], "sumo")))
        kept = []
        for row in rows:
            found = pattern.search(row.get(match[1]) or "")
            if found or match[3]:
                kept.append(row | (found.groupdict() if found else dict.fromkeys(pattern.groupindex)))
        return kept
    if word == "json":
        return sumo_json(stage, rows)
    if word == "join":
        return sumo_join(stage, rows)
    if word == "fields":
        names = split(stage[len(word):], ",")
        return [{name: row.get(name) for name in [*names, "number", "process_number"]} for row in rows]
    if word == "sort":
        return rows
    if len(split(stage, r"\bby\b")) == 2:
        return sumo_group(stage, rows)
    if re.fullmatch(r"num\(\w+\)", stage):
        stage += f" as {stage[4:-1]}"
    parts = split(stage, r"\bas\b")
    if len(parts) != 2:
        raise NotUnderstood(stage[:60])
    expression = Expression(parts[0], "sumo")
    return [row | {parts[1]: expression(row)} for row in rows]


def sumo_json(stage, rows):
    paths, names = split(stage[len("json"):], r"\bas\b")
    nodrop = names.endswith(" nodrop")
    pairs = list(zip([path.strip('"') for path in split(paths, ",")], split(names.removesuffix(" nodrop"), ",")))
    kept = []
    for row in rows:
        found = {}
        for path, name in pairs:
            value = row.get("_json")
            for key in path.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found[name] = json.dumps(value) if isinstance(value, (dict, list)) else value
        if nodrop or len(found) == len(pairs):
            kept.append(dict.fromkeys(name for _, name in pairs) | row | found)
    return kept


def sumo_join(stage, rows):
    match = re.fullmatch(r"join\s*(\(.*\))\s+as\s+(\w+),\s*(\(.*\))\s+as\s+(\w+)\s+on\s+(\w+)\.(\w+)\s*=\s*(\w+)\.(\w+)\s+"
                         r"timewindow\s+(\d+)s", stage, re.DOTALL)
    if not match or (match[5], match[7]) != (match[2], match[4]):
        raise NotUnderstood(stage[:60])
    sides = []
    for inner in (match[1], match[3]):
        side = rows
        for part in stages(inner[1:-1]):
            side = sumo_operator(part, side)
        sides.append(side)
    joined = []
    for left in sides[0]:
        for right in sides[1]:
            key = left.get(match[6])
            near = abs(left["_messageTime"] - right["_messageTime"]) <= int(match[9]) * 1000
            if key is not None and key == right.get(match[8]) and near:
                joined.append(sided(match[2], left) | sided(match[4], right))
    return joined


def sided(side, row):
    """Joined fields carry their side's name; those that begin with _ are lower case."""
    return {f"{side}_{name.lower() if name[0] == '_' else name}": value for name, value in row.items()}


def sumo_group(stage, rows):
    measures, by = split(stage, r"\bby\b")
    keys = split(by, ",")
    groups = {}
    for row in sorted(rows, key=lambda row: row["_messageTime"]):
        groups.setdefault(tuple(str(row.get(key)) for key in keys), []).append(row)
    out = []
    for group in groups.values():
        told = {key: group[0].get(key) for key in [*keys, "number"]}
        for measure in split(measures, ","):
            match = re.fullmatch(r"(min|first)\((\w+)\) as (\w+)|count", measure)
            if not match:
                raise NotUnderstood(measure)
            if match[1]:
                told[match[3]] = group[0].get(match[2])
        out.append(told)
    return out
