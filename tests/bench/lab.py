"""A lab to measure: brought up, pinned, posted to, and read off.

Processor time is the kernel's own clock of the process (clock_getcpuclockid), in nanoseconds, with the threads that
have ended; the ticks in /proc are too coarse for runs of 50 ms.
"""

import contextlib
import ctypes
import email.utils
import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time

CORES = sorted(os.sched_getaffinity(0))
# The services and the floor have one core, everything else has another where there are two.
PRODUCT_CORE, SINK_CORE = CORES[0], CORES[-1]
SERVICES = ("exploder", "groupsrv")
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Nothing can be measured, or what was measured is wrong."""


def cpu_seconds(pid):
    clock = ctypes.c_int()
    error = LIBC.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise BenchError(f"process {pid}: {os.strerror(error)}")
    return time.clock_gettime(clock.value)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Lab:
    """`with Lab(...) as lab:` is a lab that is up; it ends with the block."""

    def __init__(self, programs, scratch, members, group, member):
        self.members = members
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lab-", dir=scratch))
        # All start on the sink's core, so the services size themselves for one core; they are moved before the first
        # message.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", f"{programs}/twinseal-lab", "up", "--dir", self.dir, "--sink-keep", "1",
             "--members", str(members), "--group-alg", group, "--member-alg", member],
            stdout=subprocess.DEVNULL)

    def __enter__(self):
        try:
            self.wait("lab.json", 600, (self.dir / "lab.json").exists)
            self.json = json.loads((self.dir / "lab.json").read_text())
            # The floor talks to the same sink as the product.
            config = (self.dir / "exploder.toml").read_text()
            self.sink_address = re.search(r'^smarthost = "(.*):(\d+)"', config, re.M).groups()
            for service in SERVICES:
                for thread in os.listdir(f"/proc/{self.pid(service)}/task"):
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(int(thread), {PRODUCT_CORE})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait(self, what, seconds, done):
        until = time.monotonic() + seconds
        while not done():
            if self.process.poll() is not None:
                raise BenchError("the lab ended by itself; what it said is above")
            if time.monotonic() > until:
                raise BenchError(f"waited {seconds} s in vain for {what}")
            time.sleep(0.01)

    def pid(self, service):
        return self.json["pids"][service]

    def tool(self, name, *arguments):
        return json.loads(run(f"{self.json['bin']}/{name}", *arguments))

    def cpu(self):
        return {service: cpu_seconds(self.pid(service)) for service in SERVICES}

    def encrypt(self, body):
        """One whole message to the list, with a content-encryption key of its own."""
        now = email.utils.formatdate()
        unique = email.utils.make_msgid(domain="members.test")
        sealed = run("openssl", "cms", "-encrypt", "-binary", "-aes256", "-from", "m1@members.test",
                     "-to", self.json["list"], "-subject", "bench", self.json["group_cert"], input=body)
        return f"Date: {now}\r\nMessage-ID: {unique}\r\n".encode() + sealed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def explode(self, body):
        """Posts one message and waits until every member has a copy: processor time of each service, wall time, and the
        octets of a copy and of the message."""
        message = self.encrypt(body)
        sink = self.tool("sink")
        wanted = sink["delivered"] + self.members
        host, port = self.json["smtp"].split(":")
        cpu, wall = self.cpu(), time.monotonic()
        with smtplib.SMTP(host, int(port), timeout=120) as smtp:
            smtp.sendmail("m1@members.test", [self.json["list"]], message)
        self.wait(f"{self.members} copies", 300, lambda: self.tool("sink")["delivered"] >= wanted)
        wall = time.monotonic() - wall
        self.wait("an empty queue", 60, lambda: self.tool("exploder", "--json", "queue", "list") == [])
        cpu = {service: after - cpu[service] for service, after in self.cpu().items()}
        after = self.tool("sink")
        if after["delivered"] != wanted:
            raise BenchError(f"{after['delivered'] - sink['delivered']} copies for {self.members} members")
        return {"cpu": cpu, "wall": wall, "copy": (after["octets"] - sink["octets"]) / self.members, "message": len(message)}

    def check_copy(self, body):
        """Opens the first copy of the last member as any mail program would."""
        member = self.json["members"][-1]
        copy = pathlib.Path(self.json["sink_dir"]) / member["address"] / "1.eml"
        opened = run("openssl", "cms", "-decrypt", "-binary", "-in", copy, "-recip", member["cert"], "-inkey", member["key"])
        if opened != body:
            raise BenchError(f"{copy} does not hold what was sent")

    def floor(self, floor, mode, copies, size):
        """The floor against this lab's sink."""
        arguments = [floor, mode, str(copies), str(int(size)), *self.sink_address]
        if mode != "send":
            arguments.append(self.json["members"][0]["cert"])
        before = self.tool("sink")
        pin = lambda: os.sched_setaffinity(0, {PRODUCT_CORE})
        done = subprocess.run(arguments, stdout=subprocess.PIPE, preexec_fn=pin)
        after = self.tool("sink")
        if done.returncode or after["delivered"] - before["delivered"] != copies:
            raise BenchError(f"{' '.join(map(str, arguments))}: the sink has not all copies")
        return json.loads(done.stdout)
