// The table of all trials: sorted, filtered, a page of rows at a time.
for (const box of document.querySelectorAll(".trials")) {
  const { columns, rows } = JSON.parse(box.nextElementSibling.textContent);
  const PAGE = 25;
  const order = Array.from({ length: rows }, (_, row) => row);
  let shown = order;
  let page = 0;
  let sorting = null; // { column, sign }
  const make = (tag, parent, text, properties = {}) => {
    const element = Object.assign(document.createElement(tag), properties);
    if (text !== undefined) element.textContent = text;
    parent?.appendChild(element);
    return element;
  };
  const value = (column, row) =>
    column.kind === "text" ? column.levels[column.codes[row]] : column.values[row];
  function written(column, row) {
    const found = value(column, row);
    if (found === null || found === "") return "—";
    if (column.kind === "percent") return (100 * found).toFixed(2);
    if (column.kind === "text" || Number.isInteger(found)) return String(found);
    return Math.abs(found) < 1e-4 ? found.toExponential(2) : String(Number(found.toPrecision(3)));
  }
  const role = columns.find((column) => column.label === "role");

  if (rows === 0) {
    make("p", box, "The store holds no trial of this study yet.", { className: "absent" });
    continue;
  }
  const filters = make("div", box, undefined, { className: "filters" });
  const search = make("input", make("label", filters, "Text in any column"), undefined,
    { type: "search", placeholder: "e.g. 0.05, pruned" });
  const selects = columns.filter((column) => column.filter && column.levels.length > 1)
    .map((column) => {
      const select = make("select", make("label", filters, column.label[0].toUpperCase() + column.label.slice(1)));
      make("option", select, "all", { value: "" });
      column.levels.forEach((level, code) => {
        if (level) make("option", select, level, { value: String(code) });
      });
      return { column, select };
    });
  const frame = make("div", box, undefined, { className: "scroll", tabIndex: 0 });
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "All trials");
  const table = make("table", frame);
  const head = make("tr", make("thead", table));
  const body = make("tbody", table);
  const headers = columns.map((column) => {
    const cell = make("th", head, undefined, { scope: "col" });
    if (column.kind !== "text") cell.className = "number";
    cell.setAttribute("aria-sort", "none");
    make("button", cell, column.label, { type: "button" }).addEventListener("click", () => {
      const same = sorting?.column === column;
      // numbers start with the largest: the best accuracy is what one looks for
      sorting = { column, sign: same ? -sorting.sign : column.kind === "text" ? 1 : -1 };
      headers.forEach((other, index) => other.setAttribute("aria-sort",
        columns[index] !== column ? "none" : sorting.sign > 0 ? "ascending" : "descending"));
      update();
    });
    return cell;
  });
  const pages = make("div", box, undefined, { className: "pages" });
  const previous = make("button", pages, "Previous", { type: "button" });
  const next = make("button", pages, "Next", { type: "button" });
  const where = make("span", pages);
  where.setAttribute("role", "status");
  previous.addEventListener("click", () => { page -= 1; render(); });
  next.addEventListener("click", () => { page += 1; render(); });

  function compare(one, other) {
    const a = value(sorting.column, one);
    const b = value(sorting.column, other);
    const none = (a === null || a === "") - (b === null || b === ""); // those without stay last
    if (none) return none;
    const difference = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return sorting.sign * difference || one - other;
  }
  function update() {
    const text = search.value.trim().toLowerCase();
    const wanted = selects.filter(({ select }) => select.value !== "");
    shown = order.filter((row) =>
      wanted.every(({ column, select }) => column.codes[row] === Number(select.value)) &&
      (!text || columns.some((column) => written(column, row).toLowerCase().includes(text))));
    if (sorting) shown.sort(compare);
    page = 0;
    render();
  }
  function render() {
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const visible = shown.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(...visible.map((row) => {
      const line = make("tr");
      if (role && value(role, row) === "chosen") line.className = "chosen";
      for (const column of columns) {
        make("td", line, written(column, row), { className: column.kind === "text" ? "" : "number" });
      }
      return line;
    }));
    previous.disabled = page === 0;
    next.disabled = page === last;
    const first = shown.length ? page * PAGE + 1 : 0;
    const all = shown.length === rows ? "" : ` (of ${rows})`;
    where.textContent = `Rows ${first} to ${page * PAGE + visible.length} of ${shown.length}${all}`;
  }
  watch(frame);
  search.addEventListener("input", update);
  for (const { select } of selects) select.addEventListener("change", update);
  update();
}
