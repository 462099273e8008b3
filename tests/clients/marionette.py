"""A headless Thunderbird of its own profile, driven over its Marionette port: length-prefixed JSON on loopback."""

import json
import os
import socket
import subprocess
import time

# Nothing but loopback is ever asked for. MOZ_DISABLE_NONLOCAL_CONNECTIONS below makes Thunderbird crash where a
# preference is forgotten, and a crash fails the test.
PREFERENCES = {
    "app.donation.eoy.version.viewed": 999,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "intl.locale.requested": "en-US",
    "mail.chat.enabled": False,
    "mail.inappnotifications.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mail.SpellCheckBeforeSend": False,
    "mail.winsearch.firstRunDone": True,
    "mailnews.auto_config.fetchFromISP.enabled": False,
    "mailnews.sendInBackground": False,
    "mailnews.start_page.enabled": False,
    "marionette.port": 0,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disabled": True,
    "network.proxy.type": 0,
    "security.OCSP.enabled": 0,
    "security.remote_settings.crlite_filters.enabled": False,
    "security.remote_settings.intermediates.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "http://127.0.0.1:9/",
}


class Marionette:
    """One Thunderbird process. Everything that it writes is under `root`."""

    def __init__(self, root, script, seconds=40):
        """Starts it. `script` is the text of the JavaScript functions that `call` can name."""
        self.script, self.log, self.buffer, self.id, self.socket = script, root / "thunderbird.log", b"", 0, None
        profile = root / "profile"
        profile.mkdir()
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        (profile / "user.js").write_text("".join(lines))
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(root),
            "TMPDIR": str(root),
            "XDG_RUNTIME_DIR": str(root),
            "MOZ_HEADLESS": "1",
            "MOZ_CRASHREPORTER_DISABLE": "1",
            "MOZ_DISABLE_NONLOCAL_CONNECTIONS": "1",
        }
        arguments = ["thunderbird", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(profile)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                arguments, env=environment, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._connect(profile / "MarionetteActivePort", time.monotonic() + seconds)
        except BaseException:
            self.stop()
            raise

    def _connect(self, port_file, until):
        while self.socket is None:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Thunderbird does not start: {self.log.read_text(errors='replace')[-800:]}")
            try:
                self.socket = socket.create_connection(("127.0.0.1", int(port_file.read_text())), 5)
            except (OSError, ValueError):
                time.sleep(0.1)
        self.socket.settimeout(60)
        self._receive()  # The greeting.
        self._command("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})
        self._command("Marionette:SetContext", {"value": "chrome"})

    def call(self, function, *arguments):
        """What the named function of the script resolves to; its exceptions become a RuntimeError."""
        body = (
            f"{self.script}\nconst done = arguments[arguments.length - 1];"
            f"{function}(...Array.from(arguments).slice(0, -1)).then(ok => done({{ok}}), e => done({{error: e + '\\n' + e.stack}}));"
        )
        parameters = {"script": body, "args": arguments, "newSandbox": True, "sandbox": "system", "timeout": 30000}
        value = self._command("WebDriver:ExecuteAsyncScript", parameters)["value"]
        if "error" in value:
            raise RuntimeError(f"{function}: {value['error']}")
        return value.get("ok")

    def _command(self, name, parameters):
        self.id += 1
        message = json.dumps([0, self.id, name, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        while True:
            kind, number, error, result = self._receive()
            if kind == 1 and number == self.id:
                break
        if error:
            raise RuntimeError(f"{name}: {error.get('message')}")
        return result

    def _receive(self):
        while b":" not in self.buffer:
            self._read()
        length, _, self.buffer = self.buffer.partition(b":")
        while len(self.buffer) < int(length):
            self._read()
        message, self.buffer = self.buffer[: int(length)], self.buffer[int(length) :]
        return json.loads(message)

    def _read(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise RuntimeError(f"Thunderbird ended: {self.log.read_text(errors='replace')[-800:]}")
        self.buffer += octets

    def stop(self):
        """Asks it to quit, and ends it by its process id when it does not."""
        if self.socket and self.process.poll() is None:
            try:
                self.socket.settimeout(5)
                self._command("Marionette:Quit", {"flags": ["eForceQuit"]})
                self.process.wait(5)
            except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired):
                pass
        for end in (self.process.terminate, self.process.kill):
            if self.process.poll() is None:
                end()
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    pass
        if self.socket:
            self.socket.close()
