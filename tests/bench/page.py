"""docs/bench/latest.md: the rows, the rounds behind them, and the machine."""

import datetime
import os
import pathlib
import re
import subprocess
from typing import NamedTuple

from lab import PRODUCT_CORE, SINK_CORE


class Row(NamedTuple):
    name: str
    what: str
    product: str
    against: str
    ratio: float
    gate: float | None
    passed: bool

    def cells(self):
        gate = "-" if self.gate is None else f"<= {self.gate:.2f}"
        verdict = "shown" if self.gate is None else "pass" if self.passed else "FAIL"
        return [self.name, self.what, self.product, self.against, f"{self.ratio:.2f}", gate, verdict]


def table(rows):
    lines = [["row", "measured", "product", "against", "ratio", "gate", "verdict"]] + [row.cells() for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |\n" for line in lines)


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()
    today = datetime.datetime.now(datetime.timezone.utc).date()
    cores = f"{os.cpu_count()} cores: services and floor on {PRODUCT_CORE}, sink and all else on {SINK_CORE}"
    return [str(today), cpu.group(1) if cpu else os.uname().machine, cores, f"Linux {os.uname().release}", openssl]


def write(path, text, log):
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = "".join(f"- {fact}\n" for fact in machine())
    rounds = "\n".join(log)
    path.write_text(f"""# Benchmark

Written by `tests/bench/run.sh`. All on loopback, the lab's sink as smarthost, no TLS to it and no DKIM. Ratios are medians
of five rounds in which product and floor take turns. The floor (`tests/bench/floor.c`) does each copy's public-key operation
and sends it, and nothing else. Both talk to the same sink, over as many kept connections; its processor time is counted on
neither side.

{facts}
{text}
## Rounds

```text
{rounds}
```
""")
