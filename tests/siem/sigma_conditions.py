"""Runs Sigma's conditions on the fields of an event: pySigma parses and resolves modifiers; what is left are comparisons."""

import re

from sigma.conditions import (
    ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR,
)
from sigma.types import SigmaNumber, SigmaString, SpecialChars


def sigma_holds(node, fields):
    if isinstance(node, ConditionAND):
        return all(sigma_holds(part, fields) for part in node.args)
    if isinstance(node, ConditionOR):
        return any(sigma_holds(part, fields) for part in node.args)
    if isinstance(node, ConditionNOT):
        return not sigma_holds(node.args[0], fields)
    if isinstance(node, ConditionFieldEqualsValueExpression):
        value = fields.get(node.field)
        if value is None:
            return False
        if isinstance(node.value, SigmaNumber):
            return str(value) == str(node.value.number)
        if isinstance(node.value, SigmaString):
            wild = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
            pattern = "".join(wild[part] if part in wild else re.escape(part) for part in node.value.s)
            return re.fullmatch(pattern, str(value), re.IGNORECASE | re.DOTALL) is not None
    raise NotImplementedError(f"{type(node).__name__} of {type(getattr(node, 'value', None)).__name__}")


CONDITIONS = {}


def sigma_conditions(rule):
    """A rule's conditions, parsed once: pySigma parses them at each access."""
    if id(rule) not in CONDITIONS:
        # The rule is kept with them, so that its identity is not given to another.
        CONDITIONS[id(rule)] = rule, [condition.parsed for condition in rule.detection.parsed_condition]
    return CONDITIONS[id(rule)][1]
