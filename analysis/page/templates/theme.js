"use strict";
// Light, dark or what the system says; the choice is kept where the browser allows it.
const theme = (() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const order = ["auto", "light", "dark"];
  const listeners = [];
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("report-theme") || "auto";
  } catch { /* a page from a file may have no storage */ }

  const dark = () => (chosen === "auto" ? system.matches : chosen === "dark");
  function apply() {
    if (chosen === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", chosen);
    button.textContent = `Theme: ${chosen}`;
    for (const listener of listeners) listener();
  }
  button.addEventListener("click", () => {
    chosen = order[(order.indexOf(chosen) + 1) % order.length];
    try { localStorage.setItem("report-theme", chosen); } catch { /* as above */ }
    apply();
  });
  system.addEventListener("change", apply);
  if (!order.includes(chosen)) chosen = "auto";
  apply();
  return { dark, changed: (listener) => listeners.push(listener) };
})();

document.getElementById("print").addEventListener("click", () => window.print());
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre").textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
      button.textContent = "Selected";
    }
  });
}

// A box that holds more than it shows says so.
function edges(box) {
  box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
}
const watched = new ResizeObserver((entries) => entries.forEach(({ target }) => edges(target)));
function watch(box) {
  box.addEventListener("scroll", () => edges(box), { passive: true });
  watched.observe(box);
}
document.querySelectorAll(".scroll").forEach(watch);
