#!/usr/bin/env python3
"""A stock Thunderbird learns from the welcome mail how to write to the list.

`welcome.py LABDIR`, where LABDIR/lab.json describes a running lab that was brought up with --mail.

Thunderbird trusts the root, has members[0]'s key, and knows nothing of the list. It is shown the welcome mail that
members[0] got; then it encrypts and posts a mail to the list, and openssl opens the copy.
"""

import json
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True  # The source tree stays as it is.
from marionette import Marionette  # noqa: E402
from thunderbird import HERE, P12_PASSWORD, Failed, Mail, check, compose, make_p12, opened, pem_bodies, wait_copies  # noqa: E402


def welcome_of(lab):
    """The first mail that members[0] got."""
    return sorted((pathlib.Path(lab["sink_dir"]) / lab["members"][0]["address"]).glob("*.eml"))[0].read_bytes()


def knows_the_list(thunderbird, lab):
    return thunderbird.call("canEncryptTo", lab["list"])


def import_key(thunderbird, lab, root):
    """The root, and the member's own key with its certificate; nothing of the list's."""
    files = [make_p12(lab["members"][0], root / "0.p12")]
    if thunderbird.call("importKeys", pem_bodies(lab["ca"])[0], [], files, P12_PASSWORD) != [0]:
        raise Failed("the key is not imported")


def show(thunderbird, mail):
    read = thunderbird.call("openMessage", mail.decode("ascii"))
    if read["signature"] != 0 or "You are a member of the list" not in read["text"]:
        raise Failed(f"signature status {read['signature']}, signer {read.get('signer')}")


def run(lab, root):
    lab["members"] = lab["members"][:1]
    thunderbird = check("Thunderbird starts", Marionette, root, (HERE / "thunderbird.js").read_text())
    try:
        check("Thunderbird imports the root and the member's key", import_key, thunderbird, lab, root)
        if check("Thunderbird looks for the list's certificate", knows_the_list, thunderbird, lab):
            raise Failed("it has one before the welcome: the test shows nothing")
        check("Thunderbird shows the welcome mail and finds its signature good", show, thunderbird, welcome_of(lab))
        learnt = check("Thunderbird looks again", knows_the_list, thunderbird, lab)
        if not learnt:
            raise Failed("it has learnt no certificate")
        port = int(lab["smtp"].rsplit(":", 1)[1])
        check("Thunderbird makes an account", thunderbird.call, "makeAccount", lab["members"][0]["address"], port)
        mail = Mail("Thunderbird")
        check("Thunderbird composes, encrypts and posts", compose, thunderbird, lab, mail)
        copy = check("the member gets a copy", wait_copies, lab, mail)[0]
        check("openssl opens it", opened, lab["members"][0], copy, mail)
    finally:
        thunderbird.stop()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: welcome.py LABDIR")
    try:
        lab = json.loads((pathlib.Path(sys.argv[1]) / "lab.json").read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"welcome.py: no lab here: {error}")
    with tempfile.TemporaryDirectory(prefix="twinseal-thunderbird-", ignore_cleanup_errors=True) as root:
        try:
            run(lab, pathlib.Path(root))
        except Failed as failed:
            print(f"FAILED  {failed}", flush=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
