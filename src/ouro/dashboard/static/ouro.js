// The few things that only the browser knows: its zone, its scheme, whether it is connected.
(() => {
  const root = document.documentElement;
  const cookie = (name) => document.cookie.split("; ").find((c) => c.startsWith(name + "="))?.split("=")[1];
  const keep = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; SameSite=Strict`; };
  const preferred = matchMedia("(prefers-color-scheme: light)");
  const resolved = () => cookie("ouro_choice") || (preferred.matches ? "light" : "dark");

  // Charts are painted in the scheme's colours by the server, so it must know; one reload when it guessed wrong.
  function settle() {
    const scheme = resolved();
    if (cookie("ouro_scheme") !== scheme) keep("ouro_scheme", scheme);
    if (root.dataset.scheme !== scheme && cookie("ouro_scheme") === scheme) location.reload();
  }
  settle();
  preferred.addEventListener("change", settle);

  // Without WebSocket the client would first wait for one in vain.
  if (!("WebSocket" in window)) {
    let connect;
    Object.defineProperty(window, "io", {
      get: () => connect,
      set: (io) => { connect = (url, options) => io(url, { ...options, transports: ["polling"] }); },
    });
  }

  const two = (n) => String(n).padStart(2, "0");
  const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  const local = (d, full) => {
    const today = new Date();
    const same = d.toDateString() === today.toDateString();
    const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
    return full ? `${day} ${clock(d)}` : same ? clock(d) : `${day.slice(5)} ${clock(d)}`;
  };
  window.ouroTime = (ms) => local(new Date(ms), false);
  window.ouroUtc = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC";
  function write(element) {
    const at = new Date(element.getAttribute("datetime"));
    const text = local(at, element.dataset.style === "full");
    if (element.textContent !== text) element.textContent = text;
  }
  const all = (node) => { if (node.querySelectorAll) { if (node.matches?.("time[datetime]")) write(node); node.querySelectorAll("time[datetime]").forEach(write); } };

  document.addEventListener("DOMContentLoaded", () => {
    all(document);
    new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(all)))
      .observe(document.body, { childList: true, subtree: true });
    if (!("WebSocket" in window)) {
      const note = document.createElement("div");
      note.className = "o-banner o-note"; note.setAttribute("role", "status");
      note.innerHTML = "<b>This browser has no WebSocket.</b><p>The page asks for news by polling instead, so it may be late by seconds. Trading is not affected; a current Chromium, Firefox or Safari shows it live.</p>";
      const place = () => { const main = document.querySelector(".o-main"); if (main) main.prepend(note); else setTimeout(place, 100); };
      place();
    }
  });

  document.addEventListener("click", (event) => {
    const scheme = event.target.closest("[data-scheme-toggle]");
    if (scheme) {
      keep("ouro_choice", root.dataset.scheme === "dark" ? "light" : "dark");
      settle();
    }
    const png = event.target.closest("[data-png]");
    if (png) {
      const chart = document.querySelector(`[data-chart="${png.dataset.png}"]`);
      const element = chart && window.getElement ? getElement(Number(chart.id.slice(1))) : null;
      if (!element?.chart) return;
      const link = document.createElement("a");
      link.download = `ouro-${png.dataset.png}.png`;
      link.href = element.chart.getDataURL({ pixelRatio: 2, backgroundColor: getComputedStyle(document.body).getPropertyValue("--surface").trim() });
      link.click();
    }
  });
})();
