"""Quantities: 500m, 2Gi, 1e3 as numbers."""
import re

UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
         "P": 1e15, "E": 1e18, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
         "Ei": 2**60}
FORM = re.compile(r"^([+-]?\d+\.?\d*|[+-]?\.\d+)([eE][+-]?\d+|[numkMGTPE]i?|)$")


def parse(text):
    """The number, or None when the text is no quantity."""
    match = FORM.match(str(text))
    if not match:
        return None
    number, unit = match.groups()
    if unit[:1] in ("e", "E") and len(unit) > 1 and unit != "Ei":
        return float(number + unit)
    return float(number) * UNITS[unit] if unit in UNITS else None


def requests_of(spec):
    """{resource: amount} that a pod asks for: the sum of its containers, or the largest init."""
    total = {}
    for one in spec.get("containers") or ():
        for name, text in ((one.get("resources") or {}).get("requests") or {}).items():
            total[name] = total.get(name, 0) + (parse(text) or 0)
    for one in spec.get("initContainers") or ():
        for name, text in ((one.get("resources") or {}).get("requests") or {}).items():
            total[name] = max(total.get(name, 0), parse(text) or 0)
    return total


def limits_of(spec):
    """{resource: amount} of the limits of a pod's containers."""
    total = {}
    for one in spec.get("containers") or ():
        for name, text in ((one.get("resources") or {}).get("limits") or {}).items():
            total[name] = total.get(name, 0) + (parse(text) or 0)
    return total


def show(amount):
    """A number as a quantity."""
    if amount == int(amount):
        return str(int(amount))
    return f"{round(amount * 1000)}m"
