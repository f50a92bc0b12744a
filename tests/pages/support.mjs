// What the page tests share: a server with a folder of its own, a browser, a mailbox, and what must hold of every page.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import assert from "node:assert/strict";

const require = createRequire(path.join(process.env.PAGES_MODULES, "support.cjs"));
const { chromium } = require("playwright-core");
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Longest wait for anything that happens by itself. */
export const PATIENCE_MS = 30_000;
/** Bytes of one page as they travel: itself and everything that it loads. */
const BUDGET_BYTES = 60 * 1024;
export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/** Asks again until something is there. */
export async function eventually(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setImmediate(() => setTimeout(resolve, 50)));
  }
}

/** A running server on free ports. */
export class Server {
  static async start(settings = {}, { demo = true, data } = {}) {
    const server = new Server();
    server.data = data ?? fs.mkdtempSync(path.join(os.tmpdir(), "fingerpost-pages-"));
    const environment = { ...process.env };
    for (const name of Object.keys(environment)) if (name.startsWith("FINGERPOST__")) delete environment[name];
    delete environment.FINGERPOST_CONFIG;
    const all = {
      EDGE__LISTEN: "127.0.0.1:0", CONTROL__LISTEN: "127.0.0.1:0", OPS__LISTEN: "127.0.0.1:0", EDGE__WORKERS: "1",
      SINK__LINGER: "20ms", LOG__FORMAT: "json", ...settings,
    };
    for (const [name, value] of Object.entries(all)) environment[`FINGERPOST__${name}`] = value;
    fs.rmSync(path.join(server.data, "addresses.json"), { force: true });
    const words = ["serve", "--data", server.data, ...(demo ? ["--demo"] : [])];
    server.child = spawn(process.env.FINGERPOST_BIN, words, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    server.child.stderr.on("data", (text) => { log += text; });
    server.log = () => log;
    await eventually("a ready server", () => {
      if (server.child.exitCode !== null) throw new Error(`the server ended:\n${log}`);
      return log.includes('"ready"');
    });
    const addresses = JSON.parse(fs.readFileSync(path.join(server.data, "addresses.json"), "utf8"));
    // `localhost` is what browsers take for safe without https.
    const of = (address) => `http://localhost:${address.split(":").pop()}`;
    server.edge = of(addresses.edge[0]);
    server.control = of(addresses.control);
    server.token = fs.readFileSync(path.join(server.data, "admin-token"), "utf8").trim();
    return server;
  }

  /** The API; an answer that is no success is an error. */
  async api(method, where, body, headers = {}) {
    const kind = body === undefined || body instanceof Uint8Array ? {} : { "Content-Type": "application/json" };
    const answer = await fetch(this.control + where, {
      method, headers: { Authorization: `Bearer ${this.token}`, ...kind, ...headers },
      body: body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${where}: ${answer.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Text of the newest mail to an address that `after` does not count yet. */
  async mail(to, after = 0) {
    return eventually(`mail ${after + 1} to ${to}`, () => this.mails(to)[after]);
  }

  /** Mails to an address, the oldest first, decoded. */
  mails(to) {
    const folder = path.join(this.data, "mails");
    if (!fs.existsSync(folder)) return [];
    const files = fs.readdirSync(folder).filter((name) => name.endsWith(".eml")).sort();
    const mails = files.map((name) => decode(fs.readFileSync(path.join(folder, name), "utf8")));
    return mails.filter((mail) => mail.toLowerCase().includes(`to: ${to.toLowerCase()}`) || mail.toLowerCase().includes(`to: <${to.toLowerCase()}>`));
  }

  /** The code of the newest mail. */
  async code(to, after = 0) {
    return /\b(\d{6})\b/.exec((await this.mail(to, after)).split(/\r?\n\r?\n/).slice(1).join("\n"))[1];
  }

  async stop() {
    if (this.child.exitCode === null) {
      this.child.kill("SIGTERM");
      await once(this.child, "exit");
    }
    fs.rmSync(this.data, { recursive: true, force: true });
  }
}

/** A shop: its page takes the click token up with our script, and its form tells us a lead. */
export class Shop {
  static async start(server, program) {
    const shop = new Shop();
    const page = () => `<!doctype html><html lang="en"><title>Shop</title><script src="${server.edge}/fp.js" defer></script>
      <h1>Shop</h1><form data-fingerpost-lead="${program}" action="/thanks"><label>E-mail <input name="email" type="email"></label><button>Sign up</button></form>`;
    shop.http = http.createServer((request, response) => {
      response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
      response.end(request.url.startsWith("/thanks") ? "<!doctype html><title>Thanks</title><h1>Thanks</h1>" : page());
    });
    await new Promise((resolve) => shop.http.listen(0, "127.0.0.1", resolve));
    shop.origin = `http://localhost:${shop.http.address().port}`;
    return shop;
  }

  stop() {
    this.http.closeAllConnections();
    this.http.close();
  }
}

/** A mail without its transfer encodings: quoted-printable and base64 as lettre writes them. */
function decode(mail) {
  const [head, ...rest] = mail.split("\r\n\r\n");
  let body = rest.join("\r\n\r\n");
  const plain = head.replace(/\r\n[ \t]+/g, " ").replace(/=\?utf-8\?b\?([^?]*)\?=/gi, (_, text) => Buffer.from(text, "base64").toString());
  if (/content-transfer-encoding: base64/i.test(head)) body = Buffer.from(body, "base64").toString();
  if (/content-transfer-encoding: quoted-printable/i.test(head)) {
    body = body.replace(/=\r\n/g, "");
    body = Buffer.from(body.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), "latin1").toString("utf8");
  }
  return `${plain}\n\n${body}`;
}

/** One browser for a test file. */
export async function launch() {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "fingerpost-browser-"));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
    env: { ...process.env, HOME: profile },
  });
  browser.on("disconnected", () => fs.rmSync(profile, { recursive: true, force: true }));
  return browser;
}

/** A person's own browser: cookies and all. Requests to anybody but `allowed` origins are kept from leaving and remembered. */
export async function person(browser, server, { allowed = [], ...options } = {}) {
  // A headless browser says so, and is taken for the robot that it is.
  const userAgent = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version()} Safari/537.36`;
  const context = await browser.newContext({ viewport: DESKTOP, locale: "en-GB", userAgent, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  context.strangers = [];
  const ours = [server.edge, server.control, ...allowed];
  await context.route((url) => !ours.includes(url.origin) && url.protocol.startsWith("http"), (route) => {
    context.strangers.push(route.request().url());
    return route.fulfill({ status: 200, contentType: "text/html", body: "<title>elsewhere</title>elsewhere" });
  });
  return context;
}

/** Opens an address and counts what travels for it. */
export async function open(page, address) {
  const sizes = [];
  const count = async (response) => {
    const body = await response.body().catch(() => Buffer.alloc(0));
    sizes.push(body.length);
  };
  const pending = [];
  const listen = (response) => pending.push(count(response));
  page.on("response", listen);
  const response = await page.goto(address, { waitUntil: "networkidle" });
  await Promise.all(pending);
  page.off("response", listen);
  page.weight = sizes.reduce((sum, size) => sum + size, 0);
  return response;
}

/** What must hold of every page: no violation that axe finds, light enough, nothing of anybody else's, no error in the console. */
export async function check(page, name) {
  const errors = page.errors ?? [];
  assert.deepEqual(errors, [], `${name}: errors in the console`);
  assert.deepEqual(page.context().strangers, [], `${name}: requests to others`);
  if (page.weight !== undefined) assert.ok(page.weight <= BUDGET_BYTES, `${name}: ${page.weight} bytes`);
  // The policy lets no script of others in, axe neither: it comes in by the debugger's door.
  const session = await page.context().newCDPSession(page);
  await session.send("Page.setBypassCSP", { enabled: true });
  await session.send("Runtime.evaluate", { expression: AXE });
  const run = "axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(found.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html + ' ' + n.failureSummary)])))";
  const { result } = await session.send("Runtime.evaluate", { expression: run, awaitPromise: true });
  await session.detach();
  assert.deepEqual(JSON.parse(result.value), [], `${name}: axe-core finds`);
}

/** A page of this browser that remembers errors. */
export async function tab(context) {
  const page = await context.newPage();
  page.errors = [];
  page.on("console", (message) => { if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) page.errors.push(message.text()); });
  page.on("pageerror", (error) => page.errors.push(String(error)));
  return page;
}

/** Everything that can be pressed or filled is reached by the Tab key alone, in the order in which it stands. */
export async function checkKeyboard(page, name) {
  const wanted = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, video[controls]")];
    const seen = all.filter((e) => e.type !== "hidden" && !e.disabled && e.checkVisibility({ visibilityProperty: true }) && e.tabIndex >= 0);
    seen.forEach((e, at) => { e.dataset.keyboard = at; });
    document.activeElement?.blur();
    window.scrollTo(0, 0);
    return seen.length;
  });
  await page.evaluate(() => { const s = document.createElement("span"); s.tabIndex = -1; document.body.prepend(s); s.focus(); });
  const reached = new Set();
  for (let presses = 0; presses < wanted + 30 && reached.size < wanted; presses += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => document.activeElement?.dataset?.keyboard);
    if (at !== undefined) reached.add(Number(at));
  }
  const missing = await page.evaluate((reached) => [...document.querySelectorAll("[data-keyboard]")]
    .filter((e) => !reached.includes(Number(e.dataset.keyboard))).map((e) => e.outerHTML.slice(0, 120)), [...reached]);
  assert.deepEqual(missing, [], `${name}: the keyboard does not reach`);
}

/** The pictures of docs/pages: light and dark, on a desktop and on a phone. Made where UPDATE_PICTURES is set. */
export async function picture(page, name) {
  if (!process.env.UPDATE_PICTURES) return;
  const folder = path.join("docs", "pages");
  fs.mkdirSync(folder, { recursive: true });
  const before = page.viewportSize();
  await page.evaluate(() => { document.activeElement?.blur(); document.querySelectorAll("input[readonly]").forEach((e) => e.setSelectionRange(0, 0)); });
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.screenshot({ path: path.join(folder, `${name}-${scheme}.png`), fullPage: true });
  }
  await page.setViewportSize(PHONE);
  await page.emulateMedia({ colorScheme: "light" });
  await page.screenshot({ path: path.join(folder, `${name}-phone.png`), fullPage: true });
  await page.setViewportSize(before);
}

/** Nothing sticks out to the side: a phone does not scroll sideways. */
export async function checkWidth(page, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${name}: ${wide} px too wide`);
}

export function gzipped(bytes) {
  return gzipSync(bytes, { level: 9 }).length;
}
