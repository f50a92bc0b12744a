// A page that is just large enough for fp.js: runs it and asserts what it has done.
"use strict";
const assert = require("assert");
const SCRIPT = __SCRIPT__;

function page({ search = "", kept = null, gpc = false, dataset = {} }) {
  const store = new Map(kept ? [["fpc", JSON.stringify(kept)]] : []);
  const seen = { beacons: [], fetched: [], listeners: {}, fields: [{ value: "" }, { value: "" }] };
  const window = {
    location: { search },
    localStorage: { getItem: (k) => (store.has(k) ? store.get(k) : null), setItem: (k, v) => store.set(k, v) },
    fetch: (url, options) => { seen.fetched.push([url, options]); return Promise.resolve({ status: 202 }); },
  };
  const document = {
    currentScript: { src: "https://go.example/fp.js", dataset },
    readyState: "complete",
    addEventListener: (name, f) => { seen.listeners[name] = f; },
    querySelectorAll: (selector) => { seen.selector = selector; return seen.fields; },
  };
  const navigator = { globalPrivacyControl: gpc, sendBeacon: (url, body) => { seen.beacons.push([url, JSON.parse(body)]); return true; } };
  new Function("window", "document", "navigator", "URL", "URLSearchParams", SCRIPT)(window, document, navigator, URL, URLSearchParams);
  return { window, seen, store };
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

let cases = 0;
function test(run) { run(); cases += 1; }

test(() => { // A click led here: the token is kept, filled in, and a view is sent.
  const { window, seen, store } = page({ search: "?x=1&fpc=TOKEN" });
  assert.strictEqual(window.fingerpost.token, "TOKEN");
  assert.strictEqual(JSON.parse(store.get("fpc"))[0], "TOKEN");
  assert.deepStrictEqual(seen.fields.map((field) => field.value), ["TOKEN", "TOKEN"]);
  assert.strictEqual(seen.selector, 'input[name="fpc"]');
  assert.deepStrictEqual(seen.beacons, [["https://go.example/e", { kind: "view", token: "TOKEN" }]]);
});
test(() => { // The next page: the token is remembered, until it is too old.
  assert.strictEqual(page({ kept: ["OLD", Date.now() - 10 * 864e5] }).window.fingerpost.token, "OLD");
  const old = page({ kept: ["OLD", Date.now() - 91 * 864e5] });
  assert.strictEqual(old.window.fingerpost.token, null);
  assert.deepStrictEqual(old.seen.beacons, []);
});
test(() => { // Other names, another memory.
  const { window, seen } = page({ search: "?cid=T", dataset: { parameter: "cid" } });
  assert.deepStrictEqual([window.fingerpost.token, seen.selector], ["T", 'input[name="cid"]']);
  assert.strictEqual(page({ kept: ["OLD", Date.now() - 10 * 864e5], dataset: { days: "5" } }).window.fingerpost.token, null);
});
test(() => { // A marked form's lead leaves when it is submitted.
  const { seen } = page({ search: "?fpc=TOKEN" });
  seen.listeners.submit({ target: form({ email: "ann@home.example", first_name: "Ann", partner: "", password: "no" }) });
  const [url, options] = seen.fetched[0];
  assert.deepStrictEqual([url, options.method, options.credentials, options.keepalive], ["https://go.example/e", "POST", "include", true]);
  assert.deepStrictEqual(JSON.parse(options.body), { kind: "lead", program: "spring", token: "TOKEN", email: "ann@home.example", first_name: "Ann" });
});
test(() => { // Other forms are left alone.
  const { seen } = page({ search: "?fpc=TOKEN" });
  seen.listeners.submit({ target: { dataset: {} } });
  assert.deepStrictEqual(seen.fetched, []);
});
test(() => { // What a robot fills goes along.
  const { window, seen } = page({});
  window.fingerpost.lead(form({ email: "a@home.example" }, "http://spam.example"));
  window.fingerpost.lead(form({ email: "a@home.example" }, ""));
  const told = seen.fetched.map((call) => JSON.parse(call[1].body).trap);
  assert.deepStrictEqual(told, ["http://spam.example", undefined]);
});
test(() => { // Global Privacy Control: nothing is kept or sent by itself; a form that somebody sends is, without a token.
  const { window, seen, store } = page({ search: "?fpc=TOKEN", gpc: true });
  assert.deepStrictEqual([window.fingerpost.token, store.size, seen.beacons.length], [null, 0, 0]);
  window.fingerpost.lead(form({ email: "a@home.example" }));
  assert.strictEqual(seen.fetched[0][1].credentials, "omit");
  assert.strictEqual("token" in JSON.parse(seen.fetched[0][1].body), false);
});
test(() => { // More events by hand.
  const { window, seen } = page({ search: "?fpc=T" });
  window.fingerpost.send("share", { channel: "email" });
  assert.deepStrictEqual(seen.beacons[1][1], { kind: "share", token: "T", channel: "email" });
});
console.log(cases + " cases");
