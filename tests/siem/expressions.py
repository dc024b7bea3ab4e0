"""Expressions of Splunk's and Sumo Logic's languages, as far as docs/siem uses them, and how their queries are cut up. No
parser of either is to be had, so this one reads them as their manuals do; what it does not know is an error. It shows what
the queries say, not that a product takes them."""

import datetime
import fnmatch
import re

TOKEN = re.compile(r'''\s*(?:
    (?P<string>"(?:\\.|[^"\\])*") | (?P<number>\d+(?:\.\d+)?) | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\{\})?)
  | (?P<operator>==|!=|<=|>=|[-+*/.,()=<>!]))''', re.VERBOSE)


class NotUnderstood(Exception):
    """Something that is not in the part of the language known here."""


def without_comments(text, dialect):
    if dialect == "splunk":
        return re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    # In strings there may be slashes too, as in "*://*".
    return re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda match: match[1] or " ", text)


def stages(text):
    """What stands between the bars, outside strings and parentheses."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r'"(?:\\.|[^"\\])*"|[()|]', text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth < 0:
            raise NotUnderstood("a parenthesis too many")
        if match[0] == "|" and depth == 0:
            parts.append(text[start:match.start()].strip())
            start = match.end()
    if depth:
        raise NotUnderstood("a parenthesis is not closed")
    return parts + [text[start:].strip()]


def split(text, separator):
    """Parts at a separator (a regular expression), outside strings and parentheses."""
    parts, depth, start, position = [], 0, 0, 0
    pattern = re.compile(separator, re.IGNORECASE)
    while position < len(text):
        string = re.compile(r'"(?:\\.|[^"\\])*"').match(text, position)
        if string:
            position = string.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        match = pattern.match(text, position) if depth == 0 else None
        if match:
            parts.append(text[start:position].strip())
            start = position = match.end()
        else:
            position += 1
    return parts + [text[start:].strip()]


def unquote(token, dialect):
    known = {"\\\\": "\\", '\\"': '"'}
    return re.sub(r"\\.", lambda match: known.get(match[0], match[0]), token[1:-1])


class Expression:
    """An expression, parsed once and evaluated for each row."""

    def __init__(self, text, dialect):
        self.dialect, self.tokens, position = dialect, [], 0
        while text[position:].strip():
            match = TOKEN.match(text, position)
            if not match:
                raise NotUnderstood(text[position:position + 40])
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self.position = 0
        self.root = self.either()
        if self.position != len(self.tokens):
            raise NotUnderstood(f"left over: {self.tokens[self.position][1]}")

    def __call__(self, row):
        return self.root(row)

    def peek(self):
        return self.tokens[self.position] if self.position < len(self.tokens) else (None, None)

    def take(self, *wanted):
        kind, text = self.peek()
        if text is not None and kind != "string" and text.lower() in wanted:
            self.position += 1
            return text.lower()
        return None

    def need(self, wanted):
        if not self.take(wanted):
            raise NotUnderstood(f"{wanted} expected, found {self.peek()[1]}")

    def either(self):
        parts = [self.both()]
        while self.take("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def both(self):
        parts = [self.negated()]
        while self.take("and"):
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def negated(self):
        if self.take("not", "!"):
            inner = self.negated()
            return lambda row: not inner(row)
        return self.compared()

    def compared(self):
        left = self.sum()
        if self.dialect == "sumo" and self.take("in"):
            values = self.arguments()
            return lambda row: any(compare("=", left(row), value(row)) for value in values)
        if self.dialect == "sumo" and self.take("matches"):
            pattern = self.sum()
            return lambda row: left(row) is not None and wildcard(pattern(row), left(row))
        operator = self.take("=", "==", "!=", "<=", ">=", "<", ">")
        if not operator:
            return left
        right = self.sum()
        return lambda row: compare(operator, left(row), right(row))

    def sum(self):
        left = self.value()
        while operator := self.take("+", "-", "/", "*", "."):
            left = self.computed(operator, left, self.value())
        return left

    @staticmethod
    def computed(operator, left, right):
        def compute(row):
            a, b = left(row), right(row)
            if a is None or b is None:
                return None
            if operator == ".":
                return f"{a}{b}"
            a, b = float(a), float(b)
            return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[operator]
        return compute

    def value(self):
        kind, text = self.peek()
        self.position += 1
        if kind == "string":
            literal = unquote(text, self.dialect)
            return lambda row: literal
        if kind == "number":
            number = float(text)
            return lambda row: number
        if text == "-":
            inner = self.value()
            return lambda row: -inner(row)
        if text == "(":
            inner = self.either()
            self.need(")")
            return inner
        if kind != "name":
            raise NotUnderstood(f"a value expected, found {text}")
        if self.peek()[1] == "(":
            return function(text.lower(), self.arguments(), self.dialect)
        return lambda row: row.get(text)

    def arguments(self):
        self.need("(")
        values = []
        if self.take(")"):
            return values
        while True:
            values.append(self.either())
            if self.take(")"):
                return values
            self.need(",")


def wildcard(pattern, text):
    literal = "".join(".*" if part == "*" else "." if part == "?" else re.escape(part) for part in pattern)
    return re.fullmatch(literal, str(text), re.DOTALL) is not None


def compare(operator, left, right):
    if left is None or right is None:
        return False
    try:
        left, right = float(left), float(right)
    except ValueError:
        left, right = str(left), str(right)
    return {"=": left == right, "==": left == right, "!=": left != right, "<": left < right, ">": left > right,
            "<=": left <= right, ">=": left >= right}[operator]


def function(name, given, dialect):
    def text(index):
        return lambda row: None if (value := given[index](row)) is None else str(value)

    def first_that_holds(row):
        for condition, value in zip(given[::2], given[1::2]):
            if condition(row):
                return value(row)
        return None

    def replaced(row):
        value = text(0)(row)
        if value is None:
            return None
        if dialect == "sumo":
            return value.replace(given[1](row), given[2](row))
        return re.sub(given[1](row), lambda _: given[2](row), value)

    def substring(row):
        value, start = text(0)(row), int(given[1](row))
        return value[start:] if start < 0 else value[start - 1:]

    def parsed_time(row):
        value = given[0](row)
        if value is None:
            return None
        at = datetime.datetime.strptime(value, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=datetime.timezone.utc).timestamp()
        return at * 1000 if dialect == "sumo" else at

    def lowered(row):
        value = text(0)(row)
        return None if value is None else value.lower()

    both = {
        "if": lambda row: given[1](row) if given[0](row) else given[2](row),
        "isnull": lambda row: given[0](row) is None,
    }
    splunk = {
        "coalesce": lambda row: next((value for one in given if (value := one(row)) is not None), None),
        "lower": lowered, "replace": replaced, "case": first_that_holds, "true": lambda row: True, "null": lambda row: None,
        "in": lambda row: any(compare("=", given[0](row), value(row)) for value in given[1:]),
        "match": lambda row: text(0)(row) is not None and re.search(given[1](row), text(0)(row), re.DOTALL) is not None,
        "isnotnull": lambda row: given[0](row) is not None, "len": lambda row: len(text(0)(row) or ""),
        "substr": substring, "strptime": parsed_time,
        "mvfind": lambda row: next((i for i, value in enumerate(given[0](row) or []) if re.search(given[1](row), value)), None),
    }
    sumo = {
        "tolowercase": lowered, "replace": replaced, "isblank": lambda row: not (text(0)(row) or "").strip(),
        "num": lambda row: None if given[0](row) is None else float(given[0](row)), "parsedate": parsed_time,
        "contains": lambda row: (given[1](row) or "") in (text(0)(row) or ""),
    }
    known = both | (splunk if dialect == "splunk" else sumo)
    if name not in known:
        raise NotUnderstood(f"function {name}")
    return known[name]


WORD = re.compile(r"""\s*(?:(?P<either>OR\b)|(?P<open>\()|(?P<close>\))
  | (?P<field>[\w.{}]+)(?:\s+IN\s+\((?P<values>[^)]*)\)|=(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s()"]+))))""",
                  re.VERBOSE | re.IGNORECASE)


def searched(text, row):
    """The first stage: `field=value` words, where values may hold asterisks. OR binds tighter than what stands side by side."""
    words, position = [], 0
    while text[position:].strip():
        match = WORD.match(text, position)
        if not match:
            raise NotUnderstood(f"search word {text[position:position + 40]}")
        words.append(match)
        position = match.end()

    def group(index):
        """The value of what stands up to the closing parenthesis, and where that is."""
        alternatives = []
        while index < len(words) and not words[index]["close"]:
            if words[index]["either"]:
                value, index = one(index + 1)
                alternatives[-1] = alternatives[-1] or value
            else:
                value, index = one(index)
                alternatives.append(value)
        return all(alternatives), index

    def one(index):
        word = words[index]
        if word["open"]:
            value, index = group(index + 1)
            return value, index + 1
        told = str(row.get(word["field"])).lower()
        if word["values"]:
            return told in [value.strip().strip('"').lower() for value in word["values"].split(",")], index + 1
        return fnmatch.fnmatchcase(told, (word["quoted"] or word["bare"]).lower()), index + 1

    return group(0)[0]
