// What the test asks of Thunderbird, run with its chrome privileges. Everything goes through the parts that a user's
// clicks go through: certificate store, local folders and their MIME conversion, compose window, outgoing server.

/* global Cc, Ci, ChromeUtils, Services */
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Waits until `condition()` holds, at most `ms`; whether it did. */
async function until(ms, condition) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    if (condition()) {
      return true;
    }
  }
  return false;
}

/** Trusts `root` for e-mail, knows `others` (all base64 of DER), imports the PKCS#12 files; their results, 0 is good. */
async function importKeys(root, others, files, password) {
  const token = Cc["@mozilla.org/security/internalkeytoken;1"].createInstance(Ci.nsIPKCS11Token);
  if (token.needsUserInit) {
    token.initPassword("");
  }
  certificates.addCertFromBase64(root, ",C,");
  for (const other of others) {
    certificates.addCertFromBase64(other, ",,");
  }
  return files.map(path => {
    const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
    file.initWithPath(path);
    return certificates.importPKCS12File(file, password);
  });
}

/** Whether there is a certificate for `address` that the compose window would encrypt to. */
async function canEncryptTo(address) {
  const compose = Cc["@mozilla.org/messengercompose/composesecure;1"].createInstance(Ci.nsIMsgComposeSecure);
  return new Promise(resolve =>
    compose.asyncFindCertByEmailAddr(address, {
      QueryInterface: ChromeUtils.generateQI(["nsIDoneFindCertForEmailCallback"]),
      findCertDone: (_address, certificate) => resolve(!!certificate),
    })
  );
}

/** Puts a raw message into a local folder; its header. */
function keep(raw) {
  try {
    void MailServices.accounts.localFoldersServer;
  } catch {
    MailServices.accounts.createLocalMailAccount();
  }
  const root = MailServices.accounts.localFoldersServer.rootFolder;
  if (!root.containsChildNamed("Copies")) {
    root.createSubfolder("Copies", null);
  }
  const folder = root.getChildNamed("Copies").QueryInterface(Ci.nsIMsgLocalMailFolder);
  return folder.addMessage(raw);
}

/** Opens a raw message in a window of its own: its text, the status of its signature (0 is good), the signer. */
async function openMessage(raw) {
  const { MailUtils } = ChromeUtils.importESModule("resource:///modules/MailUtils.sys.mjs");
  MailUtils.openMessageInNewWindow(keep(raw));
  const about = () => Services.wm.getMostRecentWindow("mail:messageWindow")?.messageBrowser?.contentWindow;
  const text = () => about()?.getMessagePaneBrowser?.()?.contentDocument?.body?.textContent;
  // The signature is checked behind the display; -1 says that it was not yet.
  await until(15000, () => text() && (about().gSignatureStatus ?? -1) !== -1);
  const shown = { text: text(), signature: about().gSignatureStatus, signer: about().gSignerCert?.emailAddress };
  Services.wm.getMostRecentWindow("mail:messageWindow").close();
  return shown;
}

/** Converts a raw message for display: the text shown, the S/MIME events. Multiparts that are signed it leaves out. */
async function readMessage(raw) {
  const header = keep(raw);
  const uri = header.folder.getUriForMsg(header);
  const channel = Services.io.newChannelFromURI(
    MailServices.messageServiceFromURI(uri).getUrlForUri(uri),
    null,
    Services.scriptSecurityManager.getSystemPrincipal(),
    null,
    Ci.nsILoadInfo.SEC_ALLOW_CROSS_ORIGIN_SEC_CONTEXT_IS_NULL,
    Ci.nsIContentPolicy.TYPE_OTHER
  );
  const shown = { text: "", encryption: null };
  channel.QueryInterface(Ci.nsIMailChannel).smimeSink = {
    QueryInterface: ChromeUtils.generateQI(["nsIMsgSMIMESink"]),
    ignoreStatusFrom() {},
    resetSignedStatus() {},
    signatureProcessingStarted() {},
    signedStatus() {},
    encryptionStatus: (_level, status) => (shown.encryption = status),
  };
  let ended = false;
  const listener = {
    onStartRequest() {},
    onStopRequest: () => (ended = true),
    onDataAvailable(_request, stream, _offset, count) {
      const input = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
      input.setInputStream(stream);
      shown.text += input.readBytes(count);
    },
  };
  const converters = Cc["@mozilla.org/streamConverters;1"].getService(Ci.nsIStreamConverterService);
  channel.asyncOpen(converters.asyncConvertData("message/rfc822", "*/*", listener, channel));
  // The sink hears of the status a turn of the event loop after the stream has ended.
  await until(10000, () => ended && shown.encryption !== null);
  return shown;
}

/** An account that sends as `address` through 127.0.0.1:port and encrypts everything with S/MIME. */
async function makeAccount(address, port) {
  const outgoing = MailServices.outgoingServer.createServer("smtp");
  const smtp = outgoing.QueryInterface(Ci.nsISmtpServer);
  smtp.hostname = "127.0.0.1";
  smtp.port = port;
  outgoing.authMethod = Ci.nsMsgAuthMethod.none;
  outgoing.socketType = Ci.nsMsgSocketType.plain;
  const identity = MailServices.accounts.createIdentity();
  identity.email = address;
  identity.composeHtml = false;
  identity.doFcc = false;
  identity.smtpServerKey = outgoing.key;
  const own = certificates.getCerts().find(c => c.emailAddress === address);
  for (const use of ["encryption", "signing"]) {
    identity.setUnicharAttribute(`${use}_cert_name`, own.displayName);
    identity.setCharAttribute(`${use}_cert_dbkey`, own.dbKey);
  }
  identity.encryptionPolicy = 2;
  const incoming = MailServices.accounts.createIncomingServer("nobody", "127.0.0.1", "pop3");
  incoming.loginAtStartUp = false;
  incoming.doBiff = false;
  const account = MailServices.accounts.createAccount();
  account.addIdentity(identity);
  account.incomingServer = incoming;
  MailServices.accounts.defaultAccount = account;
  MailServices.outgoingServer.defaultServer = outgoing;
}

/** Writes a mail in a compose window and presses Send; null, or what Thunderbird said instead of sending. */
async function compose(to, subject, body) {
  const identity = MailServices.accounts.defaultAccount.defaultIdentity;
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { from: identity.email, to, subject, body });
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.type = Ci.nsIMsgCompType.New;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  params.identity = identity;
  params.composeFields = fields;
  MailServices.compose.OpenComposeWindowWithParams(null, params);
  const open = () => Services.wm.getMostRecentWindow("msgcompose");
  if (!(await until(10000, () => open()?.composeEditorReady))) {
    return "no compose window";
  }
  const win = open();
  if (!win.gSendEncrypted || win.gSelectedTechnologyIsPGP) {
    return "the compose window does not encrypt with S/MIME";
  }
  if (!(await until(5000, () => win.gSMFields?.haveValidCertForEmail(to)))) {
    return "the compose window has no certificate for the list";
  }
  win.goDoCommand("cmd_sendNow");
  // A refusal is a dialog; its text comes a moment after its window.
  const said = () =>
    Array.from(Services.wm.getEnumerator(null))
      .filter(w => w.location.href.includes("commonDialog"))
      .map(w => w.document.getElementById("infoBody")?.textContent)
      .join(" ");
  await until(15000, () => win.closed || said());
  return win.closed ? null : `not sent: ${said() || "the compose window stays open"}`;
}
