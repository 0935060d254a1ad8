"""DESIGN §13 as one table: what is to be reached, and what the benches measured.

Reads what benches/run.sh kept: divan's tree of the micro benches, whose medians it holds to
§13, and the proxy bench's own figures and verdicts, which it repeats.
"""

import re
import sys

NANOSECONDS = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}


def medians(tree):
    """`{"decision_hit 10": nanoseconds, "parse": …}` from divan's output."""
    found, parent = {}, ""
    for line in tree.splitlines():
        named = re.match(r"[│ ]*[├╰]─ (\S+)", line)
        if not named:
            continue
        name, columns = named[1], line.split("│")
        median = re.search(r"([\d.]+) (ns|µs|ms|s)\s*$", columns[-4]) if len(columns) > 4 else None
        if not median:
            parent = name  # A module, or a bench with arguments, which stand below it.
            continue
        key = f"{parent} {name}" if name.isdigit() else name
        found[key] = float(median[1]) * NANOSECONDS[median[2]]
    return found


def verdict(what, microseconds, reach):
    word = "reached" if microseconds <= reach else "MISSED"
    return f"{what:44} {microseconds:8.2f}  ≤ {reach:<5} {word}"


def main(micro, proxy):
    median = medians(open(micro, encoding="utf-8").read())
    micros = {name: nanoseconds / 1e3 for name, nanoseconds in median.items()}
    extra = micros["token_miss"] - micros["rsa_verification"]
    print("DESIGN §13                                   measured  reach")
    for line in open(proxy, encoding="utf-8"):
        if re.search(r"(≤ .*(reached|MISSED)|  no bound)$", line):
            print(line.rstrip())
    print(verdict("decision, hit, 5,000 policies, µs", micros["decision_hit 5000"], 0.3))
    print(verdict("decision, miss, 5,000 policies, µs", micros["decision_miss 5000"], 20))
    print(verdict("admission, three limits, µs", micros["admission"], 0.4))
    print(verdict("new token, beyond the RSA verification, µs", extra, 3))


if __name__ == "__main__":
    main(*sys.argv[1:])
