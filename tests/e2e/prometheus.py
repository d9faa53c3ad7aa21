"""A strict reader of Prometheus' text format 0.0.4, and what the format asks of what is read.

Stricter than the servers: they forgive much that other collectors do not. Standard library only.
"""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
HELP = re.compile(rf"# HELP ({NAME}) (.+)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)")
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
ENDINGS = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def read_labels(text):
    """(name, value) pairs of what stands between the braces; nothing may be left over."""
    pairs, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"not a label: {text[at:]!r}"
        value = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), match[2])
        pairs.append((match[1], value))
        at = match.end()
        assert at == len(text) or text[at] == ",", text
        at += at < len(text)
        assert not text or not text.endswith(","), text
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"a label twice: {text}"
    return tuple(pairs)


class Metrics:
    """One scrape. families: {name: (type, help)}; samples: {(name, ((label, value), …)): number}."""

    def __init__(self, text):
        self.families, self.samples = {}, {}
        assert text.endswith("\n") and "\r" not in text
        lines, family = text.split("\n")[:-1], None
        for number, line in enumerate(lines):
            if line.startswith("# HELP "):
                match = HELP.fullmatch(line)
                assert match, line
                kind = TYPE.fullmatch(lines[number + 1])
                assert kind and kind[1] == match[1], f"no TYPE behind {line}"
                assert match[1] not in self.families, f"{match[1]} twice"
                family = match[1]
                self.families[family] = (kind[2], match[2])
            elif line.startswith("#"):
                assert TYPE.fullmatch(line) and lines[number - 1].startswith("# HELP "), line
            else:
                self._read_sample(line, family)
        for name, (kind, _) in self.families.items():
            assert (kind == "counter") <= name.endswith("_total"), name
            if kind == "histogram":
                self._check_histogram(name)

    def _read_sample(self, line, family):
        match = SAMPLE.fullmatch(line)
        assert match, f"not a sample: {line!r}"
        assert family and match[1] in [family + end for end in ENDINGS[self.families[family][0]]], \
            f"{line} stands below {family}"
        key = (match[1], read_labels(match[2] or ""))
        same = (match[1], tuple(sorted(key[1])))
        assert same not in {(name, tuple(sorted(labels))) for name, labels in self.samples}, f"twice: {line}"
        assert float(match[3]) >= 0, line
        self.samples[key] = float(match[3])

    def _check_histogram(self, name):
        groups = {}
        for (sample, labels), value in self.samples.items():
            if sample == name + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                groups.setdefault(rest, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        for rest, buckets in groups.items():
            assert buckets == sorted(buckets), name   # by bound, and the counts grow with it
            assert [count for _, count in buckets] == sorted(count for _, count in buckets), name
            assert buckets[-1][0] == math.inf
            assert buckets[-1][1] == self.samples[name + "_count", rest], name
            assert (name + "_sum", rest) in self.samples

    def get(self, name, **labels):
        """One sample's number; with exactly these labels."""
        found = [value for (sample, pairs), value in self.samples.items() if sample == name and dict(pairs) == labels]
        assert len(found) == 1, f"{len(found)} samples {name} {labels}"
        return found[0]

    def sum(self, name, **labels):
        """Of all samples with at least these labels."""
        return sum(value for (sample, pairs), value in self.samples.items()
                   if sample == name and labels.items() <= dict(pairs).items())

    def check_growth(self, before):
        """No counter of an earlier scrape is smaller now, or missing."""
        for (name, labels), value in before.samples.items():
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            kind = (self.families.get(name) or self.families[family])[0]
            if kind != "gauge":
                assert self.samples[name, labels] >= value, (name, labels)
