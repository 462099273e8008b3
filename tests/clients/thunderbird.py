#!/usr/bin/env python3
"""A stock Thunderbird reads the list's copies and posts to the list.

`thunderbird.py LABDIR`, where LABDIR/lab.json describes a running lab: members[0] has an RSA key, members[1] one on P-256.

1. openssl posts a mail to the list; Thunderbird, with both members' keys, shows both copies.
2. Thunderbird writes a mail in its compose window, encrypts it to the list's certificate and posts it; openssl opens
   both copies.

Every copy has exactly one RecipientInfo. One line a check, with its seconds; exit 0 only when all hold.
"""

import json
import pathlib
import re
import secrets
import signal
import smtplib
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # The source tree stays as it is.
from marionette import Marionette  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
P12_PASSWORD = "import"


class Failed(Exception):
    """A check that does not hold."""


def check(name, step, *arguments):
    """Runs one step, says how long it took, and gives its result."""
    start = time.monotonic()
    try:
        result = step(*arguments)
    except (Failed, OSError, RuntimeError, smtplib.SMTPException, subprocess.TimeoutExpired) as error:
        raise Failed(f"{name}: {error}") from error
    print(f"ok    {time.monotonic() - start:5.1f} s  {name}", flush=True)
    return result


def openssl(*arguments, stdin=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, timeout=20, check=False)
    if done.returncode != 0:
        raise Failed(f"openssl {arguments[0]} {arguments[1]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def pem_bodies(path):
    """The certificates of a PEM file, each as base64 of its DER."""
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END", pathlib.Path(path).read_text(), re.S)
    return ["".join(block.split()) for block in blocks]


class Mail:
    """What identifies one mail: a subject that finds its copies, and a text that only its readers can know."""

    def __init__(self, client):
        self.subject, self.text = f"{client} {secrets.token_hex(8)}", f"text {secrets.token_hex(16)}"


def wait_copies(lab, mail, seconds=20):
    """Waits until the sink has a copy for each member; those copies, in the members' order."""
    directories = [pathlib.Path(lab["sink_dir"]) / member["address"] for member in lab["members"][:2]]
    until = time.monotonic() + seconds
    while True:
        found = [[copy for copy in d.glob("*.eml") if mail.subject.encode() in copy.read_bytes()] for d in directories]
        if all(found):
            return [copies[0] for copies in found]
        if time.monotonic() > until:
            missing = " and ".join(d.name for d, copies in zip(directories, found) if not copies)
            raise Failed(f"no copy for {missing} within {seconds} s")
        time.sleep(0.05)


def post(lab, mail):
    """Encrypts a text to the list with openssl and posts it as members[0]."""
    sender = lab["members"][0]["address"]
    entity = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{mail.text}\r\n".encode()
    headers = ["-from", sender, "-to", lab["list"], "-subject", mail.subject]
    raw = openssl("cms", "-encrypt", "-aes256", "-binary", *headers, lab["group_cert"], stdin=entity)
    host, port = lab["smtp"].rsplit(":", 1)
    with smtplib.SMTP(host, int(port), "client.test", timeout=20) as smtp:
        # smtplib gives text, unlike bytes, the line ends of SMTP.
        smtp.sendmail(sender, [lab["list"]], raw.decode("ascii"))


def make_p12(member, path):
    """A PKCS#12 file in the form that every NSS reads; the password is only the format's demand."""
    ciphers = ["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256"]
    identity = ["-in", member["cert"], "-inkey", member["key"], "-name", member["address"]]
    openssl("pkcs12", "-export", *ciphers, *identity, "-out", path, "-passout", f"pass:{P12_PASSWORD}")
    return str(path)


def import_keys(thunderbird, lab, root):
    members = lab["members"][:2]
    trusted = pem_bodies(lab["ca"])[0]
    known = [body for path in [lab["ca"], lab["group_cert"], *(m["cert"] for m in members)] for body in pem_bodies(path)]
    others = [body for body in dict.fromkeys(known) if body != trusted]
    files = [make_p12(member, root / f"{number}.p12") for number, member in enumerate(members)]
    results = thunderbird.call("importKeys", trusted, others, files, P12_PASSWORD)
    if results != [0, 0]:
        raise Failed(f"importPKCS12File answers {results}")


def opened(member, copy, mail):
    """The copy has one RecipientInfo; openssl opens it with the member's key and finds the text."""
    printed = openssl("cms", "-cmsout", "-print", "-noout", "-in", copy).decode(errors="replace")
    found = re.findall(r"^\s+d\.(ktri|kari|kekri|pwri|ori):", printed, re.M)
    if len(found) != 1:
        raise Failed(f"{len(found)} RecipientInfos in {copy}")
    plain = openssl("cms", "-decrypt", "-in", copy, "-recip", member["cert"], "-inkey", member["key"])
    if mail.text.encode() not in plain:
        raise Failed("the text is missing")


def shown(thunderbird, copy, mail):
    """Thunderbird opens the copy (encryption status 0) and shows its text."""
    read = thunderbird.call("readMessage", copy.read_bytes().decode("ascii"))
    if read["encryption"] != 0 or mail.text not in read["text"]:
        raise Failed(f"encryption status {read['encryption']}, text {'there' if mail.text in read['text'] else 'missing'}")


def compose(thunderbird, lab, mail):
    said = thunderbird.call("compose", lab["list"], mail.subject, f"{mail.text}\n")
    if said is not None:
        raise Failed(said)


def run(lab, root):
    mail = Mail("openssl")
    check("openssl posts to the list", post, lab, mail)
    copies = check("both members get a copy", wait_copies, lab, mail)
    thunderbird = check("Thunderbird starts", Marionette, root, (HERE / "thunderbird.js").read_text())
    try:
        check("Thunderbird imports the CA and both members' keys", import_keys, thunderbird, lab, root)
        for member, copy in zip(lab["members"], copies):
            # Thunderbird holds both keys, so it cannot tell whose copy this is; openssl with one key does.
            check(f"the copy of {member['address']} is that member's", opened, member, copy, mail)
            check("Thunderbird reads it", shown, thunderbird, copy, mail)
        if not check("Thunderbird looks for the list's certificate", thunderbird.call, "canEncryptTo", lab["list"]):
            raise Failed(f"Thunderbird accepts no certificate for {lab['list']}")
        port = int(lab["smtp"].rsplit(":", 1)[1])
        check("Thunderbird makes an account", thunderbird.call, "makeAccount", lab["members"][0]["address"], port)
        mail = Mail("Thunderbird")
        check("Thunderbird composes, encrypts and posts", compose, thunderbird, lab, mail)
        copies = check("both members get a copy", wait_copies, lab, mail)
        for member, copy in zip(lab["members"], copies):
            check(f"openssl opens the copy of {member['address']}", opened, member, copy, mail)
    finally:
        thunderbird.stop()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: thunderbird.py LABDIR")
    try:
        lab = json.loads((pathlib.Path(sys.argv[1]) / "lab.json").read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"thunderbird.py: no lab here: {error}")
    # A SIGTERM still ends Thunderbird and removes the files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="twinseal-thunderbird-", ignore_cleanup_errors=True) as root:
        try:
            run(lab, pathlib.Path(root))
        except Failed as failed:
            print(f"FAILED  {failed}", flush=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
