#!/usr/bin/python3
"""conf/difyring.schema.json against the parser: 10 000 configurations, most of them wrong.

    tests/schema/test_schema.py CONF_PROBE DIFYRING [SEED [COUNT]]

What the schema refuses the parser refuses, and what the parser refuses the schema refuses, unless
every problem is one that no schema can express (BEYOND). Prints TAP."""
import collections
import json
import os
import re
import subprocess
import sys

import jsonschema

import documents

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))

# What a schema cannot say, and the problems that come of it.
BEYOND = {
    "two values must differ": r"duplicate instance name|this quota counts the same|is listened on already|is used already by|takes over",
    "two values must fit each other": r"a peer is of the family|the ring would have|"
                                      r"or a range such as 200-399$",  # 300-200
    "what an address or a host's name is": r"expected (an IPv4|HOST:PORT|\[?ADDRESS|an address or a block|"
                                          r"an address or a host name alone)|port must be a number|"
                                          r"the port is missing|"
                                          r"numeric address, not a name|cannot be reached by others|"
                                          r"cannot be a virtual IP|is no instance's|expected an origin|"
                                          r"port 0 cannot",
    "a file": r"key file",
    "the folder of the configuration": r"keepalived.conf cannot hold this path",
    "a word that is nearly another": r"did you mean `(stdout|stderr|off)`",
    "the environment": r"environment variable",
}
# The same, of a value that is a string in JSON.
BEYOND_IN_TEXT = {
    "a range of what has a unit (25h, 2GiB)": r"must be from \S+ to \d+(ms|s|m|h| bytes)$|expected a size: bytes",
    "quotes, which make text of a boolean (YAML 1.1 has more words for one than JSON)":
        r"expected true or false|expected false, or a mapping",
}
# The same, of a number.
BEYOND_IN_NUMBERS = {
    "a fraction of a millisecond, and another way to write a whole number (5.0, 1e3)":
        r"expected a duration: seconds|expected a whole number",
    "letters of a number that is taken as text": r"a name has 1 to 64|network interface has 1 to 15",
}


def is_beyond(problem, text):
    """`text`: the document, of one line."""
    column = int(problem.split(":")[1])
    first = text[column - 1:column]
    more = BEYOND_IN_TEXT if first == '"' else BEYOND_IN_NUMBERS if first in "-0123456789" else {}
    return any(re.search(pattern, problem) for pattern in [*BEYOND.values(), *more.values()])


def find_breaches(answers, validator):
    """Texts of what is wrong between schema and parser, and how often each side said what."""
    counts, breaches = collections.Counter(), []
    for document, (good, text) in answers:
        valid = validator.is_valid(document)
        counts[("good" if good else "bad", "valid" if valid else "invalid")] += 1
        problems = [] if good else text.splitlines()
        missed = [problem for problem in problems if not is_beyond(problem, json.dumps(document))]
        if good and not valid:
            breaches.append(f"only the schema refuses {json.dumps(document)}")
        elif valid and missed:
            breaches.append(f"only the parser refuses, {missed[0]}: {json.dumps(document)}")
    return breaches, counts


def main():
    probe, program = sys.argv[1:3]
    seed, count = (int(word) for word in (sys.argv[3:5] + ["1", "10000"][len(sys.argv) - 3:]))
    printed = subprocess.run([program, "check", "--schema"], stdout=subprocess.PIPE, check=True).stdout
    with open(os.path.join(ROOT, "conf", "difyring.schema.json"), "rb") as file:
        is_same = file.read() == printed
    schema = json.loads(printed)
    jsonschema.Draft202012Validator.check_schema(schema)
    r = documents.Random(seed)
    right = [documents.newest(r) for _ in range(count // 10)]
    asked = right + [documents.mutate(r, r.of(right)) for _ in range(count)]
    breaches, counts = find_breaches(zip(asked, documents.judge(probe, asked)),
                                     jsonschema.Draft202012Validator(schema))
    refused = counts["bad", "invalid"]
    results = [
        ("the committed schema is what `difyring check --schema` prints", is_same),
        ("schema and parser refuse the same", not breaches),
        ("most of what was made wrong is refused by both", refused > count // 2),
    ]
    print(f"1..{len(results)}\n# {dict(counts)}")
    for breach in breaches[:10]:
        print(f"# {breach}")
    for number, (name, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {name}")
    return 0 if all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main())
