"""The benchmark rows: each measures the product against the floor, turn about in one run, and has a gate.

A row's ratio is the median of its rounds' ratios, so what disturbs the machine disturbs both sides. Only ratios are
gated, never times. Processor time is that of the exploder and groupsrv, over the whole of a message: intake, unwrap,
audit, wraps, sending. The sink's is counted on neither side.
"""

import argparse
import contextlib
import os
import pathlib
import smtplib
import statistics
import sys
import time

import page
from lab import SERVICES, SINK_CORE, BenchError, Lab
from memory import Peak, resident_kilobytes

# What this release must reach. None: shown, not gated.
GATES = {
    "B1": 3.0,  # times the floor `rsa`
    "B2": 1.6,  # times the floor `p256`
    "B8 memory": 1.0,  # of 3.5 messages and 16 MB
    "B8 size": None,  # times the floor `send`, per MB of a copy
    "B9": 1.1,  # times the cost of a copy among 1,000
    "B9 memory": None,  # kB for each member
}
SMALL, MEDIUM, LARGE = 10_182, 1_000_000, 5_066_715  # octets of a body


class Bench:
    def __init__(self, options):
        self.options = options
        self.rounds = 1 if options.quick else 5
        self.rows, self.log = [], []

    def lab(self, members, group, member):
        return Lab(self.options.programs, self.options.scratch, members, group, member)

    def say(self, line):
        print(line, flush=True)
        self.log.append(line)

    def row(self, name, what, product, against, ratio):
        gate = GATES[name]
        self.rows.append(page.Row(name, what, product, against, ratio, gate, gate is None or ratio <= gate))

    def product(self, label, lab, body):
        """One message through the product: microseconds of processor time for a copy, and what else was seen."""
        seen = lab.explode(body)
        apart = {service: seen["cpu"][service] / lab.members * 1e6 for service in SERVICES}
        total = sum(apart.values())
        parts = " + ".join(f"{service} {us:.1f}" for service, us in apart.items())
        self.say(f"{label}: {parts} = {total:.1f} us/copy, {pace(lab, seen)}")
        return total, seen

    def floor(self, label, lab, mode, size):
        seen = lab.floor(self.options.floor, mode, lab.members, size)
        us = seen["cpu"] / lab.members * 1e6
        self.say(f"{label}: floor {mode} {us:.1f} us/copy, {pace(lab, seen)}")
        return us

    def pairs(self, label, lab, mode, body):
        """Product and floor in turn: [(us/copy, us/copy of the floor, octets of a copy)]."""
        pairs = []
        for number in range(1, self.rounds + 1):
            us, seen = self.product(f"{label} {number}", lab, body)
            pairs.append((us, self.floor(f"{label} {number}", lab, mode, seen["copy"]), seen["copy"]))
        return pairs

    def explode(self, name, what, group, member, mode):
        with self.lab(self.options.members, group, member) as lab:
            body = make_body(SMALL)
            self.product(f"{name} warm-up", lab, body)
            lab.check_copy(body)
            pairs = self.pairs(name, lab, mode, body)
        us, floor, _ = map(statistics.median, zip(*pairs))
        self.row(name, what, f"{us:.1f} us/copy", f"floor `{mode}` {floor:.1f} us/copy", median_ratio(pairs))

    def size_slope(self):
        with self.lab(100, "rsa3072", "rsa2048") as lab:
            for label, size in (("10k", SMALL), ("1M", MEDIUM), ("5M", LARGE)):
                body = make_body(size)
                with Peak(lab.pid("exploder")) as peak:
                    _, seen = self.product(f"B8 {label} warm-up", lab, body)
                self.say(f"B8 {label}: exploder {peak}, message {seen['message'] / 1e6:.2f} MB")
                if size == SMALL:
                    lab.check_copy(body)
                pairs = self.pairs(f"B8 {label}", lab, "send", body)
                us, floor, copy = map(statistics.median, zip(*pairs))
                what = f"CPU for a MB of a copy, {label}, 100 members"
                against = f"floor `send` {floor / copy * 1e6:.0f} us/MB"
                self.row("B8 size", what, f"{us / copy * 1e6:.0f} us/MB", against, median_ratio(pairs))
            resident = Peak.high_water(lab.pid("exploder"))
        limit = (3.5 * seen["message"] + 16e6) / 1e6
        self.row("B8 memory", "exploder's peak memory (VmHWM), 5M, 100 members", f"{resident:.1f} MB",
                 f"3.5 messages + 16 MB = {limit:.1f} MB", resident / limit)

    def members_slope(self):
        few, many, body = 1_000, 10_000, make_body(SMALL)
        with contextlib.ExitStack() as stack:
            labs = [stack.enter_context(self.lab(members, "rsa3072", "rsa2048")) for members in (few, many)]
            for lab in labs:
                self.product(f"B9 {lab.members} warm-up", lab, body)
                lab.check_copy(body)
            pairs = []
            for number in range(1, self.rounds + 1):
                small, large = (self.product(f"B9 {lab.members} {number}", lab, body)[0] for lab in labs)
                pairs.append((large, small))
            resident = [{service: resident_kilobytes(lab.pid(service)) for service in SERVICES} for lab in labs]
        large, small = map(statistics.median, zip(*pairs))
        against = f"among 1,000: {small:.1f} us/copy"
        self.row("B9", "CPU for a copy among 10,000", f"{large:.1f} us/copy", against, median_ratio(pairs))
        apart = {service: (resident[1][service] - resident[0][service]) / (many - few) for service in SERVICES}
        parts = " + ".join(f"{service} {kilobytes:.2f}" for service, kilobytes in apart.items())
        self.row("B9 memory", "memory for each further member, kB", parts, "-", sum(apart.values()))


def median_ratio(pairs):
    return statistics.median(pair[0] / pair[1] for pair in pairs)


def pace(lab, seen):
    return f"wall {seen['wall']:.2f} s, {lab.members / seen['wall']:.0f} copies/s"


def make_body(size):
    """A text entity of so many octets, with CRLF."""
    line = b"The quick brown fox jumps over the lazy dog, and the whole list reads it.\r\n"
    text = b"Content-Type: text/plain\r\n\r\n" + line * (size // len(line) + 1)
    return text[:size - 2] + b"\r\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", required=True, type=pathlib.Path)
    parser.add_argument("--floor", required=True, type=pathlib.Path)
    parser.add_argument("--scratch", required=True, type=pathlib.Path)
    parser.add_argument("--page", required=True, type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="one round of B1 and B2; gates are shown and do not count")
    parser.add_argument("--members", type=int, default=1_000, help="of B1 and B2; fewer than 1000 only to try the script")
    options = parser.parse_args()
    os.sched_setaffinity(0, {SINK_CORE})
    bench, start = Bench(options), time.monotonic()
    try:
        bench.explode("B1", f"RSA-2048, 10k, {options.members} members", "rsa3072", "rsa2048", "rsa")
        bench.explode("B2", f"P-256, 10k, {options.members} members", "p256", "p256", "p256")
        if not options.quick:
            bench.size_slope()
            bench.members_slope()
    except (BenchError, OSError, smtplib.SMTPException) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    text = page.table(bench.rows)
    print(f"\n{text}\n{time.monotonic() - start:.0f} s")
    if options.quick:
        return 0
    page.write(options.page, text, bench.log)
    return 0 if all(row.passed for row in bench.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
