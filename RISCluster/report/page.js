"use strict";
// Everything can be read without this: it sorts, filters, enlarges, and changes the theme.
const root = document.documentElement, byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const MANY = 200, FIRST = 50; // rows of a table that is cut, and that show of it
const chosen = new Set(); // clusters; none chosen shows all
root.classList.add("js");

function button(content, work) {
  const made = Object.assign(document.createElement("button"), { type: "button", onclick: work });
  made.append(content);
  return made;
}

// Theme, remembered where the browser allows it
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const nameTheme = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
try { if (localStorage.theme) root.dataset.theme = localStorage.theme; } catch { /* no storage */ }
byId("theme").onclick = () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.theme = root.dataset.theme; } catch { /* no storage */ }
  nameTheme();
};
dark.onchange = nameTheme;
nameTheme();

// Tables: rows of the chosen clusters, of long tables the first ones
const hides = (element) => chosen.size > 0 && element.dataset.c !== undefined && !chosen.has(element.dataset.c);
const tables = all("table.data").map((table) => {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  let whole = body.rows.length <= MANY;
  const more = button("", () => { whole = true; refresh(); });
  more.className = "more";
  if (!whole) table.closest(".block").append(more);
  function refresh() {
    const matching = [...body.rows].filter((row) => !row.toggleAttribute("data-off", hides(row)));
    more.hidden = whole || matching.length <= FIRST;
    if (more.hidden) return;
    matching.slice(FIRST).forEach((row) => row.toggleAttribute("data-off", true));
    more.textContent = `Show all ${matching.length.toLocaleString("en")} rows (${FIRST} are shown)`;
  }
  function compare(a, b, sign) { // what is missing comes last
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  }
  function sort(head, column) {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    heads.forEach((other) => { other.ariaSort = other !== head ? null : sign > 0 ? "ascending" : "descending"; });
    const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b), sign)));
    refresh();
  }
  if (body.rows.length > 1 && !table.matches(".pairs"))
    heads.forEach((head, column) => head.replaceChildren(button(head.textContent, () => sort(head, column))));
  return refresh;
});

// Filter by cluster
const chips = all(".chip[data-c]");
function filter() {
  chips.forEach((chip) => { chip.ariaPressed = chosen.has(chip.dataset.c); });
  all("main :not(tr)[data-c]").forEach((element) => element.toggleAttribute("data-off", hides(element)));
  tables.forEach((refresh) => refresh());
  if (!byId("every")) return;
  byId("every").disabled = chosen.size === 0;
  const named = chips.filter((chip) => chosen.has(chip.dataset.c)).map((chip) => chip.textContent);
  byId("filter-state").textContent = named.length ? `Only ${named.join(", ")}; what is of all clusters stays` : "";
}
chips.forEach((chip) => { chip.onclick = () => { if (!chosen.delete(chip.dataset.c)) chosen.add(chip.dataset.c); filter(); }; });
if (byId("every")) byId("every").onclick = () => { chosen.clear(); filter(); };
if (byId("every") && matchMedia("(max-width: 60rem)").matches) all(".filter")[0].open = false;
filter();

// Enlarged figures
const viewer = byId("viewer"), stand = byId("stand");
let at = 0, images = [];
function look(to) {
  at = (to + images.length) % images.length;
  stand.replaceChildren(Object.assign(new Image(), { src: images[at].src, alt: images[at].alt }));
  byId("what").textContent = images[at].alt;
  byId("place").textContent = `${at + 1} of ${images.length}`;
}
function full(on) {
  byId("larger").textContent = stand.classList.toggle("full", on) ? "Fit" : "Full size";
}
all(".picture img").forEach((picture) => {
  const opener = button("", () => {
    images = all(".picture img").filter((image) => !image.closest("[data-off], details:not([open])"));
    full(false);
    look(images.indexOf(picture));
    viewer.showModal();
  });
  opener.ariaLabel = `Enlarge: ${picture.alt}`;
  picture.replaceWith(opener);
  opener.append(picture);
});
byId("close").onclick = () => viewer.close();
byId("before").onclick = () => look(at - 1);
byId("after").onclick = () => look(at + 1);
byId("larger").onclick = () => full(!stand.classList.contains("full"));
viewer.onkeydown = (event) => look(at + ((event.key === "ArrowRight") - (event.key === "ArrowLeft")));

// Section that is read
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
function current() {
  const above = all("main > section").filter((section) => section.getBoundingClientRect().top < innerHeight / 3);
  const end = innerHeight + scrollY >= document.body.scrollHeight - 4;
  const now = end ? all("main > section").at(-1) : above.at(-1) || all("main > section")[0];
  links.forEach((link, id) => { link.ariaCurrent = now && id === now.id ? "true" : null; });
}
addEventListener("scroll", () => requestAnimationFrame(current), { passive: true });
current();
