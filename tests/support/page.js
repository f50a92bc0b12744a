// A page that is just large enough for fp.js: runs it and asserts what it has done. What it must never touch throws.
"use strict";
const assert = require("assert");
const SCRIPT = __SCRIPT__;

function page({ search = "", kept = null, gpc = false, dataset = {}, said, loading = false, storage = true, full = false }) {
  const store = new Map(kept ? [["fpc", JSON.stringify(kept)]] : []);
  const seen = { beacons: [], fetched: [], listeners: {}, fields: [{ value: "" }, { value: "" }], stored: [] };
  const touched = (what) => { throw new Error(what + " is not ours"); };
  const window = {
    location: { search, set href(value) { touched("location"); } },
    get history() { return touched("history"); },
    get localStorage() {
      if (!storage) throw new Error("SecurityError");
      const note = (name, run) => (...values) => { seen.stored.push(name); return run(...values); };
      return {
        getItem: note("get", (k) => (store.has(k) ? store.get(k) : null)),
        setItem: note("set", (k, v) => store.set(k, v)),
        removeItem: note("remove", (k) => store.delete(k)),
      };
    },
    get sessionStorage() { return touched("sessionStorage"); },
    fetch: (url, options) => { seen.fetched.push([url, options]); return Promise.resolve({ status: 202 }); },
  };
  if (said !== undefined) window.fingerpostConsent = said;
  const document = {
    currentScript: { src: "https://go.example/fp.js?v=1", dataset },
    readyState: loading ? "loading" : "complete",
    addEventListener: (name, f) => { assert(!seen.listeners[name], name); seen.listeners[name] = f; },
    querySelectorAll: (selector) => { seen.selector = selector; return seen.fields; },
    get cookie() { return touched("document.cookie"); },
    set cookie(value) { touched("document.cookie"); },
  };
  const navigator = {
    globalPrivacyControl: gpc,
    sendBeacon: (url, body) => { if (!full) seen.beacons.push([url, JSON.parse(body)]); return !full; },
  };
  const run = () => new Function("window", "document", "navigator", "URL", "URLSearchParams", SCRIPT)(window, document, navigator, URL, URLSearchParams);
  run();
  const values = () => seen.fields.map((field) => field.value);
  return { window, seen, store, run, values };
}

function form(values, trap) {
  return {
    dataset: { fingerpostLead: "spring" },
    querySelector: (selector) => {
      if (selector === "[data-fingerpost-trap]") return trap === undefined ? null : { value: trap };
      const name = /^\[name="(.*)"\]$/.exec(selector)[1];
      return name in values ? { value: values[name] } : null;
    },
  };
}

const VIEW = ["https://go.example/e", { kind: "view", token: "TOKEN" }];
const DAY = 864e5;
let cases = 0;
function test(run) { run(); cases += 1; }

test(() => { // A click led here: the token is kept, filled in, and a view is sent.
  const { window, seen, store, values } = page({ search: "?x=1&fpc=TOKEN" });
  assert.strictEqual(window.fingerpost.token, "TOKEN");
  assert.strictEqual(JSON.parse(store.get("fpc"))[0], "TOKEN");
  assert.deepStrictEqual(values(), ["TOKEN", "TOKEN"]);
  assert.strictEqual(seen.selector, 'input[name="fpc"]');
  assert.deepStrictEqual(seen.beacons, [VIEW]);
});
test(() => { // Nobody was sent here: nothing is kept, filled or sent.
  const { window, seen, store, values } = page({ search: "?x=1" });
  assert.deepStrictEqual([window.fingerpost.token, store.size, seen.beacons, values()], [null, 0, [], ["", ""]]);
  assert.strictEqual(window.fingerpost.send("share"), false);
});
test(() => { // The next page: the token is remembered, until it is too old.
  assert.strictEqual(page({ kept: ["OLD", Date.now() - 10 * DAY] }).window.fingerpost.token, "OLD");
  assert.strictEqual(page({ kept: ["OLD", Date.now() - 89 * DAY] }).window.fingerpost.token, "OLD");
  const old = page({ kept: ["OLD", Date.now() - 91 * DAY] });
  assert.strictEqual(old.window.fingerpost.token, null);
  assert.deepStrictEqual(old.seen.beacons, []);
});
test(() => { // A new click takes the place of an old one, and looking at further pages does not make the memory longer.
  const { store } = page({ search: "?fpc=NEW", kept: ["OLD", Date.now() - DAY] });
  assert.strictEqual(JSON.parse(store.get("fpc"))[0], "NEW");
  const later = page({ kept: ["OLD", 7 + Date.now() - DAY] });
  assert.deepStrictEqual(later.seen.stored, ["get"]);
});
test(() => { // Other names, another memory.
  const { window, seen } = page({ search: "?cid=T", dataset: { parameter: "cid" } });
  assert.deepStrictEqual([window.fingerpost.token, seen.selector], ["T", 'input[name="cid"]']);
  assert.strictEqual(page({ kept: ["OLD", Date.now() - 10 * DAY], dataset: { days: "5" } }).window.fingerpost.token, null);
});
test(() => { // Fields that come later: with the rest of the page by themselves, after that by hand.
  const { window, seen, values } = page({ search: "?fpc=TOKEN", loading: true });
  seen.fields.push({ value: "" });
  seen.listeners.DOMContentLoaded();
  assert.deepStrictEqual(values(), ["TOKEN", "TOKEN", "TOKEN"]);
  seen.fields.push({ value: "" });
  window.fingerpost.fill();
  assert.strictEqual(seen.fields[3].value, "TOKEN");
});
test(() => { // Where the browser lets nothing be stored the token is good for this page.
  const { window, seen, values } = page({ search: "?fpc=TOKEN", storage: false });
  assert.deepStrictEqual([window.fingerpost.token, values(), seen.beacons], ["TOKEN", ["TOKEN", "TOKEN"], [VIEW]]);
  assert.strictEqual(page({ storage: false }).window.fingerpost.token, null);
});
test(() => { // What is stored under our name and is not ours does no harm.
  for (const kept of [7, "x", null, {}, ["T", "soon"], []]) assert.strictEqual(page({ kept }).window.fingerpost.token, null);
});
test(() => { // The line stands on the page twice: one view, one lead.
  const { seen, run } = page({ search: "?fpc=TOKEN" });
  run();
  assert.deepStrictEqual(seen.beacons, [VIEW]);
});
test(() => { // A marked form's lead leaves when it is submitted, in a way that outlives the page.
  const { seen } = page({ search: "?fpc=TOKEN" });
  seen.listeners.submit({ target: form({ email: "ann@home.example", first_name: "Ann", partner: "", password: "no" }) });
  assert.deepStrictEqual(seen.beacons[1], ["https://go.example/e", { kind: "lead", program: "spring", token: "TOKEN", email: "ann@home.example", first_name: "Ann" }]);
  assert.deepStrictEqual(seen.fetched, []);
});
test(() => { // A beacon that the browser does not take goes the other way, once.
  const { seen } = page({ search: "?fpc=TOKEN", full: true });
  seen.listeners.submit({ target: form({ email: "ann@home.example" }) });
  assert.strictEqual(seen.fetched.length, 1);
});
test(() => { // By hand there is an answer.
  const { window, seen } = page({ search: "?fpc=TOKEN" });
  assert(window.fingerpost.lead(form({ email: "ann@home.example" })) instanceof Promise);
  const [url, options] = seen.fetched[0];
  assert.deepStrictEqual([url, options.method, options.credentials, options.keepalive], ["https://go.example/e", "POST", "include", true]);
  assert.deepStrictEqual(JSON.parse(options.body), { kind: "lead", program: "spring", token: "TOKEN", email: "ann@home.example" });
});
test(() => { // Other forms are left alone.
  const { seen } = page({ search: "?fpc=TOKEN" });
  seen.listeners.submit({ target: { dataset: {} } });
  assert.deepStrictEqual([seen.fetched, seen.beacons], [[], [VIEW]]);
});
test(() => { // What a robot fills goes along.
  const { window, seen } = page({});
  window.fingerpost.lead(form({ email: "a@home.example" }, "http://spam.example"));
  window.fingerpost.lead(form({ email: "a@home.example" }, ""));
  const told = seen.fetched.map((call) => JSON.parse(call[1].body).trap);
  assert.deepStrictEqual(told, ["http://spam.example", undefined]);
});
test(() => { // Global Privacy Control: nothing is kept, read or sent by itself; a form that somebody sends is, without token and cookie.
  const { window, seen, store, values } = page({ search: "?fpc=TOKEN", gpc: true });
  assert.deepStrictEqual([window.fingerpost.token, store.size, seen.stored, seen.beacons.length, values()], [null, 0, [], 0, ["", ""]]);
  seen.listeners.submit({ target: form({ email: "a@home.example" }) });
  assert.deepStrictEqual([seen.beacons.length, seen.fetched[0][1].credentials], [0, "omit"]);
  assert.strictEqual("token" in JSON.parse(seen.fetched[0][1].body), false);
});
test(() => { // More events by hand.
  const { window, seen } = page({ search: "?fpc=T" });
  assert.strictEqual(window.fingerpost.send("share", { channel: "email" }), true);
  assert.deepStrictEqual(seen.beacons[1][1], { kind: "share", token: "T", channel: "email" });
});

// === Consent ===

function isSilent({ window, seen, values }) {
  assert.deepStrictEqual([window.fingerpost.token, seen.beacons, seen.fetched, values()], [null, [], [], ["", ""]]);
}

test(() => { // Not yet: nothing is stored, read, filled or sent, whatever happens on the page.
  for (const asked of [{ dataset: { consent: "wait" } }, { said: "wait" }, { said: undefined, dataset: { consent: "ask" } }, { said: null }, { said: 1 }]) {
    const waiting = page({ search: "?fpc=TOKEN", kept: ["OLD", Date.now()], ...asked });
    waiting.window.fingerpost.fill();
    assert.strictEqual(waiting.window.fingerpost.send("share"), false);
    waiting.window.fingerpost.lead(form({ email: "a@home.example" }));
    waiting.seen.listeners.submit({ target: form({ email: "a@home.example" }) });
    isSilent(waiting);
    assert.deepStrictEqual(waiting.seen.stored, [], JSON.stringify(asked));
  }
});
test(() => { // Yes: everything happens then, and the view is sent once.
  for (const yes of ["yes", true]) {
    const { window, seen, store, values } = page({ search: "?fpc=TOKEN", dataset: { consent: "wait" } });
    window.fingerpost.consent(yes);
    window.fingerpost.consent(yes);
    assert.deepStrictEqual([window.fingerpost.token, JSON.parse(store.get("fpc"))[0], values(), seen.beacons], ["TOKEN", "TOKEN", ["TOKEN", "TOKEN"], [VIEW]]);
    window.fingerpost.lead(form({ email: "a@home.example" }));
    assert.strictEqual(seen.fetched.length, 1);
  }
});
test(() => { // Said before the script was there.
  assert.strictEqual(page({ search: "?fpc=TOKEN", dataset: { consent: "wait" }, said: "yes" }).store.size, 1);
  isSilent(page({ search: "?fpc=TOKEN", said: "no" }));
});
test(() => { // No, also after a yes: what was stored is forgotten, fields that we filled are empty, nothing is sent any more.
  for (const no of ["no", false]) {
    const refused = page({ search: "?fpc=TOKEN" });
    refused.seen.fields[1].value = "typed";
    refused.window.fingerpost.consent(no);
    assert.deepStrictEqual([refused.store.size, refused.values()], [0, ["", "typed"]]);
    refused.window.fingerpost.send("share");
    refused.window.fingerpost.lead(form({ email: "a@home.example" }));
    assert.deepStrictEqual([refused.window.fingerpost.token, refused.seen.beacons, refused.seen.fetched], [null, [VIEW], []]);
    const before = page({ kept: ["OLD", Date.now()], said: no });
    assert.strictEqual(before.store.size, 0, "what an earlier page stored");
    isSilent(before);
  }
});
test(() => { // On the next page the tool says yes again: the token is remembered.
  const { window } = page({ kept: ["OLD", Date.now()], dataset: { consent: "wait" } });
  window.fingerpost.consent("yes");
  assert.strictEqual(window.fingerpost.token, "OLD");
});
test(() => { // A yes does not outweigh Global Privacy Control.
  const shy = page({ search: "?fpc=TOKEN", gpc: true, dataset: { consent: "wait" } });
  shy.window.fingerpost.consent("yes");
  isSilent(shy);
  assert.deepStrictEqual(shy.seen.stored, []);
});
console.log(cases + " cases");
