/* Fingerpost: remembers the click that led here, fills forms with it, sends a view, and leads of marked forms. */
(function (w, d, n) {
  var s = d.currentScript, set = (s && s.dataset) || {}, base = s ? new URL(s.src).origin : "", name = set.parameter || "fpc";
  var shy = n.globalPrivacyControl, token = null;
  if (!shy) {
    token = new URLSearchParams(w.location.search).get(name);
    try {
      if (token) w.localStorage.setItem("fpc", JSON.stringify([token, Date.now()]));
      else {
        var kept = JSON.parse(w.localStorage.getItem("fpc") || "[]"), days = +(set.days || 90);
        if (kept[1] > Date.now() - days * 864e5) token = kept[0];
      }
    } catch (e) {}
  }
  function send(kind, more) {
    if (!token) return false;
    return n.sendBeacon(base + "/e", JSON.stringify(Object.assign({ kind: kind, token: token }, more)));
  }
  function fill() {
    if (token) d.querySelectorAll('input[name="' + name + '"]').forEach(function (field) { field.value = token; });
  }
  function lead(form) {
    var told = { kind: "lead", program: form.dataset.fingerpostLead };
    if (token) told.token = token;
    ["email", "first_name", "last_name", "partner"].forEach(function (name) {
      var field = form.querySelector('[name="' + name + '"]');
      if (field && field.value) told[name] = field.value;
    });
    var trap = form.querySelector("[data-fingerpost-trap]");
    if (trap && trap.value) told.trap = trap.value;
    return w.fetch(base + "/e", {
      method: "POST", body: JSON.stringify(told), credentials: shy ? "omit" : "include", keepalive: true
    });
  }
  d.addEventListener("submit", function (event) {
    if (event.target.dataset && event.target.dataset.fingerpostLead) lead(event.target).catch(function () {});
  });
  if (d.readyState === "loading") d.addEventListener("DOMContentLoaded", fill); else fill();
  w.fingerpost = { token: token, send: send, fill: fill, lead: lead };
  send("view");
})(window, document, navigator);
