/* Fingerpost: remembers the click that led here, fills forms with it, sends a view, and leads of marked forms. */
(function (w, d, n) {
  if (w.fingerpost && w.fingerpost.send) return;
  var s = d.currentScript, set = (s && s.dataset) || {}, base = s ? new URL(s.src).origin : "", name = set.parameter || "fpc";
  var shy = n.globalPrivacyControl, here = new URLSearchParams(w.location.search).get(name), may, viewed;
  var fp = w.fingerpost = { token: null, send: send, fill: fill, lead: lead, consent: consent };
  function post(told, leaving) {
    var body = JSON.stringify(told);
    return leaving && !shy && n.sendBeacon(base + "/e", body) || w.fetch(base + "/e", {
      method: "POST", body: body, credentials: shy ? "omit" : "include", keepalive: true
    });
  }
  function send(kind, more) {
    return !!fp.token && n.sendBeacon(base + "/e", JSON.stringify(Object.assign({ kind: kind, token: fp.token }, more)));
  }
  function each(run) { d.querySelectorAll('input[name="' + name + '"]').forEach(run); }
  function fill() {
    if (fp.token) each(function (field) { field.value = fp.token; });
  }
  function lead(form, leaving) {
    if (!may) return Promise.resolve();
    var told = { kind: "lead", program: form.dataset.fingerpostLead };
    if (fp.token) told.token = fp.token;
    ["email", "first_name", "last_name", "partner"].forEach(function (name) {
      var field = form.querySelector('[name="' + name + '"]');
      if (field && field.value) told[name] = field.value;
    });
    var trap = form.querySelector("[data-fingerpost-trap]");
    if (trap && trap.value) told.trap = trap.value;
    return post(told, leaving === 1);
  }
  function consent(word) {
    var was = fp.token, no = word === "no" || word === false;
    may = word === "yes" || word === true;
    fp.token = null;
    if (may && !shy) fp.token = here;
    try {
      var kept = w.localStorage;
      if (no) kept.removeItem("fpc");
      else if (fp.token) kept.setItem("fpc", JSON.stringify([here, Date.now()]));
      else if (may && !shy) {
        kept = JSON.parse(kept.getItem("fpc") || "[]");
        if (kept[1] > Date.now() - (set.days || 90) * 864e5) fp.token = kept[0];
      }
    } catch (e) {}
    if (was && !fp.token) each(function (field) { if (field.value === was) field.value = ""; });
    fill();
    if (!viewed) viewed = send("view");
  }
  d.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset && form.dataset.fingerpostLead) Promise.resolve(lead(form, 1)).catch(function () {});
  });
  if (d.readyState === "loading") d.addEventListener("DOMContentLoaded", fill);
  consent("fingerpostConsent" in w ? w.fingerpostConsent : set.consent || "yes");
})(window, document, navigator);
