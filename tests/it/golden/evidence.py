"""The e-values of some buckets, by their definitions and not as the router computes them.

Reads {"places": K, "buckets": [...]} on stdin; a bucket is {"pooled": COUNTS, "strata": [COUNTS],
"proof": [calls, faults]}; COUNTS has one [stable calls, stable events, candidate calls, candidate
events] for each kind of event: errors, faults, slower than the median, slower than the ninth
decile, refusals. Prints, after each bucket, the value of each test and of the others beside them.

Sums over times of change are taken as they are defined, with powers instead of logarithms, so that
a mistake in the recursion or the logarithms shows.
"""

import json
import math
import sys

RATIOS = (1.5, 2, 4, 8, 16, 64)
BAD_RATES = (0.08, 0.15, 0.3, 0.6, 0.95)
GOOD_RATES = (0.001, 0.005, 0.01, 0.02, 0.03)
ALLOWED = 0.05


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def relative(count, ratio):
    stable_calls, stable_events, calls, events = count
    if stable_calls + calls == 0:
        return 1.0
    share = calls / (stable_calls + calls)
    return ratio**events / (1 - share + share * ratio) ** (stable_events + events)


def absolute(calls, faults, rate):
    return (rate / ALLOWED) ** faults * ((1 - rate) / (1 - ALLOWED)) ** (calls - faults)


def started_in(bucket):
    if bucket == 0:
        return 0.5
    return 0.5 * 0.4739 / ((bucket + 1) * math.log(bucket + 1) ** 2)


def mixture(factors):
    """The value after the last factor, for a change at an unknown time before."""
    return math.fsum(
        started_in(begin) * math.prod(factors[begin:]) for begin in range(len(factors))
    )


def row(history):
    """The value of each test, and of the stable arm's faults, for the counts of each bucket."""

    def compared(kind):
        return mean(mixture([relative(counts[kind], r) for counts in history]) for r in RATIOS)

    def rated(calls, faults):
        return mean(
            mixture([absolute(counts[1][calls], counts[1][faults], p) for counts in history])
            for p in BAD_RATES
        )

    return [compared(0), rated(2, 3), mean([compared(2), compared(3)]), rated(0, 1)]


def main():
    given = json.load(sys.stdin)
    buckets, places = given["buckets"], given["places"]
    told = []
    for end in range(1, len(buckets) + 1):
        seen = buckets[:end]
        pooled = [bucket["pooled"] for bucket in seen]
        # A stratum takes a place in the bucket of its first call, as long as there are any.
        strata = []
        for index in range(len(seen[-1]["strata"])):
            silent = [[0, 0, 0, 0]] * 5
            own = [
                bucket["strata"][index] if index < len(bucket["strata"]) else silent
                for bucket in seen
            ]
            first = next((at for at, counts in enumerate(own) if counts != silent), None)
            if first is not None:
                strata.append((first, index, own))
        placed = [own for _, _, own in sorted(strata)[:places]]
        rows = [row(own) for own in placed]
        rows += [row([[[0, 0, 0, 0]] * 5] * end)] * (places - len(rows))
        together = row(pooled)
        values = [mean([together[at], mean(each[at] for each in rows)]) for at in range(4)]
        denied = mean(mixture([relative(counts[4], r) for counts in pooled]) for r in RATIOS)
        promotion = mean(
            math.prod(absolute(*bucket["proof"], rate) for bucket in seen) for rate in GOOD_RATES
        )
        told.append(values + [denied, promotion])
    json.dump(told, sys.stdout)


main()
