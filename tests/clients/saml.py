"""Logs in at certsrv through a SAML identity provider as a browser and a client would, and enrols with what comes of it.

usage: saml.py LAB-DIR. The identity provider is the one of saml-idp.sh; alice@example.test has an account, bob has none.
"""
import base64, hashlib, html, http.client, http.cookiejar, json, re, secrets, ssl, subprocess, sys, tempfile
import urllib.error, urllib.parse, urllib.request
from pathlib import Path

lab_dir = Path(sys.argv[1])
lab = json.loads((lab_dir / "lab.json").read_text())
certsrv, tls = lab["certsrv"], ssl.create_default_context(cafile=lab["ca"])


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows redirections to the identity provider, not the one to the client's listener."""

    def redirect_request(self, request, fp, code, message, headers, url):
        if "/?code=" in url:
            return None
        return super().redirect_request(request, fp, code, message, headers, url)


class Browser:
    """A browser with its cookies: what a member's program opens."""

    def __init__(self):
        self.jar = http.cookiejar.CookieJar()
        handlers = [urllib.request.HTTPCookieProcessor(self.jar), urllib.request.HTTPSHandler(context=tls), Stay()]
        self.opener = urllib.request.build_opener(*handlers)

    def go(self, url, form=None):
        """Status, address, header, body."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            answer = self.opener.open(url, data, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.geturl(), answer.headers, answer.read().decode()


def field(page, name):
    found = re.search(rf'name="{name}"\s+value="([^"]*)"', page)
    return found and html.unescape(found.group(1))


def challenge(verifier):
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def at_the_idp(user, password, verifier):
    """From the client's link to the page that would carry the response back: browser, form for certsrv (or None)."""
    browser = Browser()
    query = urllib.parse.urlencode({"port": 4711, "challenge": challenge(verifier)})
    status, url, _, page = browser.go(f"{certsrv}/saml/login?{query}")
    assert status == 200 and field(page, "AuthState"), (status, url, page[:500])
    login = {"username": user, "password": password, "AuthState": field(page, "AuthState")}
    _, _, _, page = browser.go(url.split("?")[0], login)
    response = field(page, "SAMLResponse")
    return browser, response and {"SAMLResponse": response, "RelayState": field(page, "RelayState")}


def code_of(answer):
    status, _, headers, page = answer
    assert status == 303, (status, page)
    target = urllib.parse.urlsplit(headers["Location"])
    assert (target.scheme, target.netloc, target.path) == ("http", "127.0.0.1:4711", "/"), headers["Location"]
    return urllib.parse.parse_qs(target.query)["code"][0]


def refused(answer):
    status, _, headers, page = answer
    assert status == 403 and "The log-in failed" in page, (status, page)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'") and headers["Cache-Control"] == "no-store"
    return page


def call(path, body, fields):
    """A plain HTTPS call: status, body."""
    connection = http.client.HTTPSConnection(urllib.parse.urlsplit(certsrv).netloc, context=tls, timeout=30)
    connection.request("POST", path, body, fields)
    answer = connection.getresponse()
    return answer.status, answer.read()


def redeem(code, verifier):
    request = json.dumps({"code": code, "verifier": verifier})
    status, body = call("/v1/login/code", request, {"Content-Type": "application/json"})
    return status, json.loads(body)


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout.decode()


def enrol(token, address, where):
    """simpleenroll (RFC 7030 section 4.2.1) with a new key: status, answer."""
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", where / "key.pem", "-out", where / "csr.der",
            "-outform", "DER", "-subj", "/CN=x", "-addext", f"subjectAltName=email:{address}")
    fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/pkcs10"}
    body = base64.b64encode((where / "csr.der").read_bytes())
    return call("/.well-known/est/smime/simpleenroll", body, fields)


def main():
    where = Path(tempfile.mkdtemp(dir=lab_dir))
    verifier = secrets.token_urlsafe(48)
    acs = f"{certsrv}/saml/acs"

    _, form = at_the_idp("alice", "wrong", verifier)
    assert form is None, "a wrong password gives nothing"

    browser, form = at_the_idp("alice", "alicepw", verifier)
    tampered = base64.b64decode(form["SAMLResponse"]).replace(b"alice@example.test", b"owner@example.test")
    refused(browser.go(acs, {**form, "SAMLResponse": base64.b64encode(tampered).decode()}))
    refused(browser.go(acs, form))  # used up by the first response

    browser, form = at_the_idp("alice", "alicepw", verifier)
    refused(Browser().go(acs, form))  # another browser, without the cookie

    browser, form = at_the_idp("alice", "alicepw", verifier)
    code = code_of(browser.go(acs, form))
    replayed = refused(browser.go(acs, form))
    assert "alice" not in replayed and form["RelayState"] not in replayed, replayed
    # The same response as if it answered another log-in.
    other, fresh = at_the_idp("alice", "alicepw", verifier)
    refused(other.go(acs, {**fresh, "SAMLResponse": form["SAMLResponse"]}))

    status, session = redeem(code, verifier)
    assert status == 200 and session["address"] == "alice@example.test", session
    assert redeem(code, verifier)[0] == 401, "a code works once"
    assert enrol(secrets.token_urlsafe(32), "alice@example.test", where)[0] == 401
    assert enrol(session["token"], "bob@example.test", where)[0] == 403
    status, answer = enrol(session["token"], "alice@example.test", where)
    assert status == 200, answer
    (where / "answer.p7").write_bytes(base64.b64decode(answer))
    certificate = where / "cert.pem"
    certificate.write_text(openssl("pkcs7", "-inform", "DER", "-in", where / "answer.p7", "-print_certs"))
    issuers = Path(lab["state"]["certsrv"]) / "ca/members.pem"
    verified = openssl("verify", "-purpose", "smimesign", "-CAfile", lab["ca"], "-untrusted", issuers, certificate)
    assert "OK" in verified, verified
    assert openssl("x509", "-in", certificate, "-noout", "-email").split() == ["alice@example.test"]
    own = openssl("pkey", "-in", where / "key.pem", "-pubout")
    assert own == openssl("x509", "-in", certificate, "-noout", "-pubkey")

    browser, form = at_the_idp("alice", "alicepw", verifier)
    code = code_of(browser.go(acs, form))
    assert redeem(code, secrets.token_urlsafe(48))[0] == 401, "a code is worth nothing without its verifier"
    for user in ("bob", "mallory"):  # no account; an address of a domain that the provider may not speak for
        browser, form = at_the_idp(user, f"{user}pw", verifier)
        refused(browser.go(acs, form))

    metrics = Browser().go(f"{certsrv}/metrics")[3]
    reasons = {"signature": 1, "no-pending-request": 2, "other-browser": 1, "in-response-to": 1, "no-account": 1, "mail-domain": 1}
    for reason, count in reasons.items():
        line = f'certsrv_saml_logins_refused_total{{reason="{reason}"}} {count}\n'
        assert line in metrics, f"{line}{metrics}"
    assert "certsrv_saml_logins_total 2\n" in metrics, metrics
    print("SAML: logged in, enrolled, and refused what had to be refused")


main()
