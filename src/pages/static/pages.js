/* What is nicer with a script: copying, questions before what cannot be taken back, and parts that refresh themselves. Everything works without. */
(function (d, n) {
  "use strict";
  d.querySelectorAll("[data-copy]").forEach(function (button) {
    var said = button.textContent;
    if (!n.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", function () {
      var from = d.getElementById(button.dataset.copy);
      n.clipboard.writeText(from.value || from.textContent).then(function () {
        button.textContent = button.dataset.copied;
        setTimeout(function () { button.textContent = said; }, 2000);
      }, function () { if (from.select) from.select(); });
    });
  });
  d.querySelectorAll("input[readonly]").forEach(function (field) {
    field.addEventListener("focus", function () { field.select(); });
  });
  d.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) { event.preventDefault(); return; }
    /* One press is one form. */
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post") form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", function () {
    d.querySelectorAll("form[data-sent]").forEach(function (form) { delete form.dataset.sent; });
  });
  d.querySelectorAll("[data-refresh]").forEach(function (part) {
    /* Not while nobody looks, nor while somebody is in it; it ends where the part says so, or the session has ended. */
    var timer = setInterval(function () {
      if (d.hidden || part.contains(d.activeElement)) return;
      fetch(part.dataset.refresh, { credentials: "same-origin" }).then(function (answer) {
        if (!answer.ok || answer.redirected) { clearInterval(timer); return; }
        return answer.text().then(function (text) {
          if (part.contains(d.activeElement)) return;
          part.innerHTML = text;
          if (part.querySelector("[data-refreshed]")) clearInterval(timer);
        });
      }, function () {});
    }, part.dataset.every * 1000);
  });
})(document, navigator);
