"use strict";
// Texts of models and datasets reach the page as textContent only.
const data = JSON.parse(document.getElementById("rows").textContent);
const body = document.querySelector("#table tbody");
const search = document.getElementById("search");
const group = document.getElementById("group");
const count = document.getElementById("count");
const more = document.getElementById("more");
const STEP = 50;
let shown = STEP, order = null, falling = false;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function found() {
  const words = search.value.toLowerCase().trim();
  const wanted = data.rows.filter(row =>
    (!group.value || row.group === group.value || row.tags.includes(group.value)) &&
    row.search.includes(words));
  if (order !== null) {
    const rank = row => row.cells[order][0];
    wanted.sort((a, b) => {
      const x = rank(a), y = rank(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (falling ? -1 : 1);
    });
  }
  return wanted;
}

function detail(row) {
  const cell = element("td");
  cell.colSpan = data.columns.length;
  row.notes.forEach(note => cell.append(element("p", note, "notes")));
  const texts = element("div", undefined, "texts");
  row.texts.forEach(([title, parts]) => {
    const section = element("section"), pre = element("pre");
    section.append(element("h3", title), pre);
    parts.forEach(([text, status, told]) => {
      if (!status) { pre.append(text); return; }
      const mark = element("mark", text, status);
      mark.title = told;
      pre.append(mark);
    });
    texts.append(section);
  });
  cell.append(texts);
  const line = element("tr", undefined, "detail");
  line.append(cell);
  return line;
}

function toggle(line, row) {
  const next = line.nextElementSibling;
  const open = next && next.classList.contains("detail");
  if (open) next.remove(); else line.after(detail(row));
  line.setAttribute("aria-expanded", String(!open));
}

function show() {
  const rows = found();
  body.replaceChildren(...rows.slice(0, shown).map(row => {
    const line = element("tr", undefined, "row");
    line.tabIndex = 0;
    line.setAttribute("aria-expanded", "false");
    row.cells.forEach(([, text], n) => line.append(element("td", text, data.columns[n].spare ? "spare" : "")));
    line.addEventListener("click", () => toggle(line, row));
    line.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(line, row); }
    });
    return line;
  }));
  count.textContent = `${rows.length} of ${data.rows.length} rows`;
  more.hidden = rows.length <= shown;
}

document.querySelectorAll("#table th").forEach((head, n) => head.firstChild.addEventListener("click", () => {
  falling = order === n && !falling;
  order = n;
  document.querySelectorAll("#table th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  show();
}));
search.addEventListener("input", () => { shown = STEP; show(); });
group.addEventListener("change", () => { shown = STEP; show(); });
more.addEventListener("click", () => { shown += STEP; show(); });
show();
