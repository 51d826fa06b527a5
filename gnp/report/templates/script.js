"use strict";
// Sorts tables by a click on a column's name, and filters them. Without it everything is there, in its order.
const collator = new Intl.Collator("en", { numeric: true });

// A cell by its first number, or its text; "—" and "" come last.
function key(row, index) {
  const text = row.cells[index].textContent.trim();
  const number = parseFloat(text.replace(/^[<>≥]/, ""));
  return { text, number: /^[<>≥]?[-+]?\d+(\.\d+)?(?![\d-])/.test(text) ? number : NaN, empty: text === "" || text === "—" };
}

function compare(a, b) {
  if (!Number.isNaN(a.number) && !Number.isNaN(b.number)) return a.number - b.number;
  return collator.compare(a.text, b.text);
}

function sort(table, heading, index) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [key(row, index), row]);
  rows.sort(([a], [b]) => a.empty - b.empty || (descending ? compare(b, a) : compare(a, b)));
  for (const [, row] of rows) row.className = "";
  body.append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  table.tHead.rows[table.tHead.rows.length - 1].querySelectorAll("th").forEach((heading, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading, index));
    heading.append(button);
  });
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  const label = document.createElement("label"), input = document.createElement("input");
  const shown = document.createElement("output"), bar = document.createElement("div");
  label.textContent = "Rows with";
  input.type = "search";
  input.placeholder = "words, all of them";
  input.id = shown.htmlFor = table.caption.id + "-filter";
  label.htmlFor = input.id;
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length}`;
  };
  input.addEventListener("input", filter);
  filter();
  bar.className = "filter";
  bar.append(label, input, shown);
  table.parentElement.before(bar);
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length > 5) makeSortable(table);
  if (table.classList.contains("filtered") && table.tBodies[0].rows.length > 1) makeFilterable(table);
}
