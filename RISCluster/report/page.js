"use strict";
// Everything can be read without this: it sorts, filters, enlarges, and changes the theme.
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  root.classList.add("js");

  function button(text, work) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", work);
    return made;
  }

  // ---- theme ----

  function remembered(theme) {
    try { // a page from disk may have no storage
      if (theme) localStorage.setItem("riscluster-theme", theme);
      return localStorage.getItem("riscluster-theme");
    } catch (error) {
      return null;
    }
  }
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
  function show_theme() {
    byId("theme").textContent = isDark() ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
  }
  const kept = remembered();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    show_theme();
  });
  prefersDark.addEventListener("change", show_theme);
  show_theme();

  // ---- tables: which rows show, and in which order ----

  const MANY = 200, FIRST = 50;
  const chosen = new Set(); // clusters; none chosen shows all
  const hides = (element) => chosen.size > 0 && !chosen.has(element.dataset.c);
  const mark = (element, off) => element.toggleAttribute("data-off", off);
  const refreshers = [];

  function value(row, column) {
    const cell = row.cells[column];
    const given = cell.dataset.v;
    if (given === undefined) return cell.textContent;
    return given === "" ? null : given === "inf" ? Infinity : given === "-inf" ? -Infinity : Number(given);
  }
  function order(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  function set_up(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    let whole = body.rows.length <= MANY;
    let more = null;
    function refresh() {
      let shown = 0, matching = 0;
      for (const row of body.rows) {
        const off = row.dataset.c !== undefined && hides(row);
        matching += !off;
        const cut = !whole && shown >= FIRST;
        shown += !off && !cut;
        mark(row, off || cut);
      }
      if (more) {
        more.hidden = whole || matching <= FIRST;
        more.textContent = `Show all ${matching.toLocaleString("en")} rows (${shown} are shown)`;
      }
    }
    function sort(column) {
      const up = heads[column].getAttribute("aria-sort") !== "ascending";
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort((a, b) => order(a[0], b[0], up ? 1 : -1));
      body.append(...rows.map((pair) => pair[1]));
      refresh();
    }
    if (body.rows.length > 1 && !table.classList.contains("pairs")) {
      heads.forEach((head, column) => {
        if (!head.textContent) return;
        const made = button(head.textContent, () => sort(column));
        made.title = "Sort";
        head.replaceChildren(made);
      });
    }
    if (!whole) {
      more = button("", () => { whole = true; refresh(); });
      more.className = "more";
      table.closest(".block").append(more);
    }
    refreshers.push(refresh);
    refresh();
  }
  all("table.data").forEach(set_up);

  // ---- filter by cluster ----

  const marked = all("main [data-c]").filter((element) => element.tagName !== "TR");
  const chips = all(".chip[data-c]");
  function filter() {
    chips.forEach((chip) => chip.setAttribute("aria-pressed", chosen.has(chip.dataset.c)));
    marked.forEach((element) => mark(element, hides(element)));
    refreshers.forEach((refresh) => refresh());
    if (!byId("every")) return;
    byId("every").disabled = chosen.size === 0;
    const named = chips.filter((chip) => chosen.has(chip.dataset.c)).map((chip) => chip.textContent);
    byId("filter-state").textContent = named.length ? `Only ${named.join(", ")}; what is of all clusters stays` : "";
  }
  chips.forEach((chip) => chip.addEventListener("click", () => {
    const cluster = chip.dataset.c;
    if (!chosen.delete(cluster)) chosen.add(cluster);
    filter();
  }));
  if (byId("every")) {
    byId("every").addEventListener("click", () => { chosen.clear(); filter(); });
    if (matchMedia("(max-width: 60rem)").matches) byId("every").closest("details").open = false;
  }

  // ---- enlarged pictures ----

  const viewer = byId("viewer"), stand = byId("stand");
  let at = 0, images = [];
  function look(to) {
    at = (to + images.length) % images.length;
    const picture = images[at], large = new Image();
    large.src = picture.src;
    large.alt = picture.alt;
    stand.replaceChildren(large);
    byId("what").textContent = picture.alt;
    byId("place").textContent = `${at + 1} of ${images.length}`;
  }
  function full(on) {
    stand.classList.toggle("full", on);
    byId("larger").textContent = on ? "Fit" : "Full size";
  }
  all(".picture img").forEach((picture) => {
    const opener = button("", () => {
      images = all(".picture img").filter((image) => !image.closest("[data-off], details:not([open])"));
      full(false);
      look(images.indexOf(picture));
      viewer.showModal();
      byId("close").focus();
    });
    opener.setAttribute("aria-label", `Enlarge: ${picture.alt}`);
    picture.replaceWith(opener);
    opener.append(picture);
  });
  byId("close").addEventListener("click", () => viewer.close());
  byId("before").addEventListener("click", () => look(at - 1));
  byId("after").addEventListener("click", () => look(at + 1));
  byId("larger").addEventListener("click", () => full(!stand.classList.contains("full")));
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") look(at - 1);
    else if (event.key === "ArrowRight") look(at + 1);
    else return;
    event.preventDefault();
  });
  viewer.addEventListener("close", () => stand.replaceChildren());

  // ---- which section is read ----

  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const sections = all("main > section");
  let waiting = false;
  function current() {
    waiting = false;
    const line = innerHeight / 3;
    const above = sections.filter((section) => section.getBoundingClientRect().top < line);
    const end = innerHeight + scrollY >= document.body.scrollHeight - 4;
    const now = end ? sections.at(-1) : above.at(-1) || sections[0];
    links.forEach((link, id) => {
      const here = now && id === now.id;
      if (here === link.hasAttribute("aria-current")) return;
      if (!here) return link.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      const list = link.closest("ul"); // scrolls sideways where the page is narrow
      list.scrollLeft = link.offsetLeft - list.offsetLeft - 16;
    });
  }
  addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(current);
    waiting = true;
  }, { passive: true });
  current();
})();
