#!/usr/bin/python3
"""The canonical text of a configuration, byte by byte as nodes of every version write it.

    tests/schema/test_canonical.py CONF_PROBE [--write]

Nodes compare digests of it. canonical.sha256 has the digests of what conf/examples and 64 times 32
configurations at random give; they come from the version before the text was made from the rows. A
change of them parts a cluster of two versions: --write only with a new key in the shared part.
Prints TAP."""
import glob
import hashlib
import os
import sys

import documents

HERE = os.path.dirname(os.path.realpath(__file__))
DIGESTS = os.path.join(HERE, "canonical.sha256")
EXAMPLES = os.path.join(HERE, "..", "..", "conf", "examples", "*.yaml")


def cases():
    for path in sorted(glob.glob(EXAMPLES)):
        with open(path, "rb") as file:
            yield os.path.basename(path), [file.read()]
    for seed in range(64):
        r = documents.Random(seed)
        yield f"random-{seed}", [documents.document(r) for _ in range(32)]


def digest_of(probe, texts):
    verdicts = documents.judge(probe, texts)
    assert all(good for good, _ in verdicts), [text for good, text in verdicts if not good]
    return hashlib.sha256("".join(text for _, text in verdicts).encode()).hexdigest()


def main():
    os.environ["DIFYRING_KEY"] = documents.KEYS[0]  # of the examples
    found = {name: digest_of(sys.argv[1], texts) for name, texts in cases()}
    if "--write" in sys.argv:
        with open(DIGESTS, "w", encoding="ascii") as file:
            file.writelines(f"{digest}  {name}\n" for name, digest in found.items())
    with open(DIGESTS, encoding="ascii") as file:
        known = {name: digest for digest, name in map(str.split, file)}
    print(f"1..{len(known)}")
    for number, (name, digest) in enumerate(known.items(), 1):
        print(f"{'ok' if found.get(name) == digest else 'not ok'} {number} - {name}")
    return 0 if known == found else 1


if __name__ == "__main__":
    sys.exit(main())
