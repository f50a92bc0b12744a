/* Fingerpost: remembers the click that led here, fills forms with it, and sends a view. */
(function (w, d, n) {
  var s = d.currentScript, base = s ? new URL(s.src).origin : "", name = (s && s.dataset.parameter) || "fpc";
  if (n.globalPrivacyControl) return;
  var token = new URLSearchParams(w.location.search).get(name);
  try {
    if (token) w.localStorage.setItem("fpc", JSON.stringify([token, Date.now()]));
    else {
      var kept = JSON.parse(w.localStorage.getItem("fpc") || "[]"), days = +((s && s.dataset.days) || 90);
      if (kept[1] > Date.now() - days * 864e5) token = kept[0];
    }
  } catch (e) {}
  function send(kind, more) {
    if (!token) return false;
    return n.sendBeacon(base + "/e", JSON.stringify(Object.assign({ kind: kind, token: token }, more)));
  }
  function fill() {
    if (token) d.querySelectorAll('input[name="' + name + '"]').forEach(function (field) { field.value = token; });
  }
  if (d.readyState === "loading") d.addEventListener("DOMContentLoaded", fill); else fill();
  w.fingerpost = { token: token, send: send, fill: fill };
  send("view");
})(window, document, navigator);
