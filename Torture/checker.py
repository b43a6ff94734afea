"""Judges a history, whatever library made it. What the letters mean is said in docs/torture-results.md.

    python3 checker.py HISTORY…       prints the counts as JSON
"""

import json
import sys
from collections import defaultdict

LATE_NANOSECONDS = 8_000_000_000
COUNTS = ("faults", "grants", "M", "R", "refused", "RF", "F", "L", "O")


class Grant:
    def __init__(self, event, began):
        self.number, self.worker, self.lock, self.token = (event[key] for key in ("g", "w", "l", "token"))
        self.began, self.held = began, event["t"]
        self.opened = event["t"]
        self.stopped = None
        self.is_believed = False


class Checker:
    def __init__(self):
        self.counts = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self.findings = []
        self.longest = defaultdict(int)
        self.workers = {}
        self.began = {}
        self.grants = {}
        self.believed = defaultdict(set)
        self.tokens = defaultdict(list)
        self.healed = None
        self.served = set()

    def library(self, event):
        return self.workers[event["w"]]["library"]

    def find(self, rule, event, **details):
        self.counts[self.library(event)][rule] += 1
        self.findings.append({"rule": rule, "library": self.library(event), **event, **details})

    # MARK: Beliefs

    def believe(self, grant, event):
        others = self.believed[grant.lock]
        for other in others:
            self.find("M", event, grant=grant.number, other=other.number)
        grant.opened, grant.is_believed = event["t"], True
        others.add(grant)

    def doubt(self, grant, at):
        if not grant.is_believed:
            return
        grant.is_believed = False
        others = self.believed[grant.lock]
        others.discard(grant)
        library = self.workers[grant.worker]["library"]
        for other in others:
            overlap = at - max(grant.opened, other.opened)
            self.longest[library] = max(self.longest[library], overlap)

    def expire(self, lock, at):
        """Ends the beliefs of those whose library states a lease and does not renew it."""
        for grant in list(self.believed[lock]):
            worker = self.workers[grant.worker]
            if not worker["renews"] and at - grant.held > worker["lease"] * 1e9:
                self.doubt(grant, int(grant.held + worker["lease"] * 1e9))

    # MARK: Events

    def on_worker(self, event):
        self.workers[event["w"]] = event
        self.counts[event["library"]]

    def on_fault(self, event):
        for library in [event["library"]] if event.get("library") else list(self.counts):
            self.counts[library]["faults"] += event.get("count", 1)

    def on_began(self, event):
        self.began[event["w"]] = event["t"]

    def on_held(self, event):
        grant = Grant(event, self.began.get(event["w"], event["t"]))
        self.grants[grant.number] = grant
        self.counts[self.library(event)]["grants"] += 1
        self.served.add(grant.worker)
        self.expire(grant.lock, event["t"])
        self.check_token(grant, event)
        self.believe(grant, event)

    def check_token(self, grant, event):
        if grant.token is None:
            return
        earlier = self.tokens[grant.lock]
        # Those that were held before this one was asked for are before it for certain. Their highest is kept with each.
        low, high = 0, len(earlier)
        while low < high:
            middle = (low + high) // 2
            if earlier[middle][0] <= grant.began:
                low = middle + 1
            else:
                high = middle
        if low and earlier[low - 1][1] >= grant.token:
            self.find("F", event, above=earlier[low - 1][1])
        elif any(token == grant.token for _, _, token in earlier[-64:]):
            self.find("F", event, twice=grant.token)
        highest = max(grant.token, earlier[-1][1] if earlier else 0)
        earlier.append((grant.held, highest, grant.token))

    def on_end(self, event):
        grant = self.grants[event["g"]]
        self.expire(grant.lock, event["t"])
        self.doubt(grant, event["t"])

    on_told = on_releasing = on_gone = lambda self, event: self.on_end(event) if "g" in event else None

    def on_stopped(self, event):
        grant = self.grants.get(event["g"])
        if grant and event["whole"] and grant.is_believed:
            self.doubt(grant, event["t"])
            grant.stopped = event["t"]

    def on_continued(self, event):
        grant = self.grants.get(event["g"])
        if not grant or grant.stopped is None:
            return
        worker, stopped, grant.stopped = self.workers[grant.worker], grant.stopped, None
        since = stopped if worker["renews"] else grant.held
        # Past its lease it is not said to hold any more: what it writes then is counted as stale.
        if event["t"] - since < worker["lease"] * 1e9:
            self.believe(grant, event)

    def on_write(self, event):
        if event["read"] != event["was"]:
            self.find("R", event)
        if event["fenced"] == "refused":
            self.counts[self.library(event)]["refused"] += 1
        elif event["fenced"] == "accepted":
            if event["fenced_read"] != event["fenced_was"] or event["token"] < event["fence"]:
                self.find("RF", event)

    def on_healed(self, event):
        self.healed, self.served = event["t"], set()
        self.alive = set(event["workers"])

    def on_settled(self, event):
        """So long after the healing everybody has to have been served."""
        for worker in sorted(self.alive - self.served):
            self.find("L", {**event, "w": worker})

    def on_leftover(self, event):
        self.counts[event["library"]]["O"] += 1
        self.findings.append({"rule": "O", **event})

    def feed(self, event):
        handler = getattr(self, "on_" + event["e"], None)
        if handler:
            handler(event)

    def result(self):
        for library, overlap in self.longest.items():
            self.counts[library]["longest_ms"] = round(overlap / 1e6)
        return dict(self.counts)


def check(events):
    checker = Checker()
    for event in events:
        checker.feed(event)
    return checker


def read(path):
    with open(path) as file:
        for line in file:
            yield json.loads(line)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        checked = check(read(name))
        print(json.dumps({"history": name, "counts": checked.result()}))
        for finding in checked.findings:
            print("  " + json.dumps(finding), file=sys.stderr)
