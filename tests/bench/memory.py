"""A process's memory, from /proc."""

import contextlib
import pathlib
import re
import threading


def kilobytes(pid, file, name):
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1))


def resident_kilobytes(pid):
    return kilobytes(pid, "status", "VmRSS")


class Peak:
    """`with Peak(pid) as peak:` samples the process every 10 ms; for runs whose processor time is not used."""

    SAMPLED = {"RssAnon": "status", "Pss": "smaps_rollup"}

    def __init__(self, pid):
        self.pid = pid
        self.peaks = dict.fromkeys(self.SAMPLED, 0)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def sample(self):
        while not self.done.wait(0.01):
            for name, file in self.SAMPLED.items():
                # Pss is not shown to everybody.
                with contextlib.suppress(OSError):
                    self.peaks[name] = max(self.peaks[name], kilobytes(self.pid, file, name))

    def __str__(self):
        sampled = ", ".join(f"{name} {peak / 1e3:.1f} MB" for name, peak in self.peaks.items())
        return f"VmHWM {self.high_water(self.pid):.1f} MB, sampled {sampled}"

    @staticmethod
    def high_water(pid):
        """The most that was ever resident, in MB; the kernel keeps it."""
        return kilobytes(pid, "status", "VmHWM") * 1024 / 1e6
