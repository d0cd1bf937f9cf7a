"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const characters = Array.from(DATA.text);
const element = (id) => document.getElementById(id);
const codePoint = (character) => "U+" + character.codePointAt(0).toString(16).toUpperCase();

/** From light to dark and back, whichever the system prefers. */
function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}
element("theme").addEventListener("click", theme);

/** Let keys act, by their names, and D change the theme; not where the browser is left to itself. */
function onKeys(actions, isBrowsers = () => false) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isBrowsers(event)) return;
    const action = { d: theme, ...actions }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) { event.preventDefault(); action(); }
  });
}
