// The page's plots: panels of lines, dots and bars, as SVG as wide as there is room. Colours are
// those of paper; the style sheet turns a whole drawing over for a dark page.
const plots = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const PAPER = 690; // pixels across a printed page
  const WIDEST = 760; // pixels of a panel: wider ones flatten what they show
  const INK = "#1b1f24", MUTED = "#5a6370", GRID = "#dfe2e6";
  const LETTER = 6.8; // pixels of a character in a label
  let printing = false;

  const make = (tag, parent, attributes = {}, text) => {
    const element = parent.appendChild(document.createElementNS(NS, tag));
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const tip = document.body.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.hidden = true;

  // --- marks
  function lineOf(mark, X, Y) {
    let path = "";
    let before = null;
    mark.x.forEach((value, index) => {
      if (value === null || mark.y[index] === null) { before = null; return; }
      const [x, y] = [X(value).toFixed(1), Y(mark.y[index]).toFixed(1)];
      path += before === null ? `M${x} ${y}` : mark.step ? `H${x}V${y}` : `L${x} ${y}`;
      before = y;
    });
    return path;
  }
  const SHAPES = {
    dot: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
    cross: (x, y, r) => `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
    tick: (x, y, r) => `M${x} ${y - 2 * r}V${y + 2 * r}`,
    square: (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    diamond: (x, y, r) => `M${x - 1.3 * r} ${y}l${1.3 * r} ${-1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}z`,
    star: (x, y, r) => `M${x} ${y - 2 * r}L${x + r} ${y + 1.5 * r}L${x - 1.8 * r} ${y - 0.6 * r}H${x + 1.8 * r}L${x - r} ${y + 1.5 * r}z`,
  };
  function shape(parent, kind, x, y, size, colour, opacity) {
    const open = kind === "cross" || kind === "tick";
    make("path", parent, {
      d: SHAPES[kind](x, y, size), fill: open ? "none" : colour, opacity,
      stroke: open ? colour : "none", "stroke-width": kind === "tick" ? 3 : 1.4,
    });
  }
  function drawMark(group, mark, name, X, Y, points) {
    const colour = mark.colour || name.colour;
    const opacity = mark.opacity ?? 1;
    if (mark.kind === "band") {
      const up = mark.x.map((v, i) => `${X(v).toFixed(1)} ${Y(mark.high[i]).toFixed(1)}`);
      const down = mark.x.map((v, i) => `${X(v).toFixed(1)} ${Y(mark.low[i]).toFixed(1)}`);
      make("path", group, { d: `M${up.join("L")}L${down.reverse().join("L")}Z`, fill: colour, opacity: 0.18 });
      return;
    }
    if (mark.kind === "line") {
      make("path", group, {
        d: lineOf(mark, X, Y), fill: "none", stroke: colour, opacity,
        "stroke-width": mark.width ?? 2, "stroke-dasharray": mark.width < 1.5 ? "" : name.dash || "",
        "stroke-linejoin": "round",
      });
    }
    mark.x.forEach((value, index) => {
      if (value === null || mark.y[index] === null) return;
      const [x, y] = [X(value), Y(mark.y[index])];
      if (mark.kind === "bar") {
        make("rect", group, { x: X(0), y: y - 8, width: Math.max(0, x - X(0)), height: 16, fill: colour });
      } else if (mark.kind === "dot") {
        const ex = mark.ex?.[index], ey = mark.ey?.[index];
        if (ex) make("path", group, { d: `M${X(value - ex)} ${y}H${X(value + ex)}`, stroke: colour, "stroke-width": 1.4 });
        if (ey) make("path", group, { d: `M${x} ${Y(mark.y[index] - ey)}V${Y(mark.y[index] + ey)}`, stroke: colour, "stroke-width": 1.4 });
        shape(group, mark.shape || "dot", x, y, mark.size ?? 3, colour, opacity);
      }
      const text = mark.text?.[index];
      if (text) points.push({ x, y, text });
    });
  }

  // --- one panel
  function drawPanel(plot, panel, width, height, shared) {
    const { spec } = plot;
    const [xAxis, yAxis] = [panel.x || spec.x, panel.y || spec.y];
    const mine = panel.marks;
    const values = (axis, own, way) => (own ? mine : shared).flatMap((mark) => axes.ends(mark, way));
    const y = axes.scale(yAxis, values(yAxis, panel.y, "y"), height / (yAxis.levels ? 16 : 45));
    const longest = Math.max(0, ...y.ticks.map(({ text }) => text.length));
    const left = spec.bare ? panel.left || 8 : Math.min(16 + LETTER * longest, 0.45 * width) + (yAxis.label ? 16 : 0);
    const [right, top, bottom] = spec.bare ? [45, panel.top || 10, 10] : [14, panel.title ? 24 : 10, xAxis.label ? 44 : 26];
    const [across, down] = [width - left - right, height - top - bottom];
    const x = axes.scale(xAxis, values(xAxis, panel.x, "x"), Math.max(2, across / 70));
    const X = (value) => left + across * x.at(value);
    const Y = (value) => (yAxis.levels ? top + down * y.at(value) : top + down * (1 - y.at(value)));
    const svg = make("svg", plot.div, {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": panel.title ? `${plot.title}: ${panel.title}` : plot.title,
      "font-size": 12, fill: INK, class: "drawn",
    });
    if (!spec.bare) frame(svg, { panel, xAxis, yAxis, x, y, X, Y, left, right, top, bottom, width, height, down });
    const clip = `clip-${plot.id}-${plot.div.children.length}`;
    make("rect", make("clipPath", svg, { id: clip }), { x: left - 6, y: top - 6, width: across + 12, height: down + 12 });
    for (const at of panel.rules || []) {
      make("path", svg, { d: `M${X(at)} ${top}V${top + down}`, stroke: MUTED, "stroke-width": 0.7 });
    }
    const group = make("g", svg, { "clip-path": `url(#${clip})` });
    const points = [];
    for (const mark of mine) {
      if (!plot.hidden.has(mark.name)) drawMark(group, mark, spec.names[mark.name] || {}, X, Y, points);
    }
    for (const note of panel.notes || []) {
      make("text", svg, {
        x: X(note.x) + (note.end ? -4 : 0), y: Y(note.y) + 4, "text-anchor": note.end ? "end" : "middle",
        "font-size": note.end ? 10 : 12, "font-weight": note.end ? 400 : 600, fill: note.end ? MUTED : INK,
        stroke: "#fff", "stroke-width": 3, "paint-order": "stroke",
      }, note.text);
    }
    hover(svg, points);
  }
  function frame(svg, p) {
    for (const { value, text } of p.y.ticks) {
      const at = p.Y(value);
      make("path", svg, { d: `M${p.left} ${at}H${p.width - p.right}`, stroke: GRID });
      const most = Math.floor((p.left - 20) / LETTER);
      const shown = text.length > most + 1 ? `${text.slice(0, most)}…` : text;
      make("text", svg, { x: p.left - 6, y: at + 4, "text-anchor": "end", fill: MUTED }, shown);
    }
    let free = -Infinity; // where the next label may begin
    for (const { value, text } of p.x.ticks) {
      const at = p.X(value);
      make("path", svg, { d: `M${at} ${p.top}V${p.top + p.down}`, stroke: GRID });
      const half = (LETTER * text.length) / 2;
      if (at - half < free) continue;
      const inside = Math.min(at, p.width - half);
      make("text", svg, { x: inside, y: p.top + p.down + 16, "text-anchor": "middle", fill: MUTED }, text);
      free = at + half + 6;
    }
    make("path", svg, { d: `M${p.left} ${p.top}V${p.top + p.down}H${p.width - p.right}`, stroke: MUTED, fill: "none" });
    if (p.panel.title) make("text", svg, { x: p.left, y: 14, "font-weight": 600 }, p.panel.title);
    if (p.xAxis.label) make("text", svg, { x: (p.left + p.width - p.right) / 2, y: p.height - 6, "text-anchor": "middle" }, p.xAxis.label);
    if (p.yAxis.label) {
      const middle = p.top + p.down / 2;
      make("text", svg, { transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, p.yAxis.label);
    }
  }
  function hover(svg, points) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let best = null, distance = 30 ** 2;
      for (const point of points) {
        const here = (point.x - x) ** 2 + (point.y - y) ** 2;
        if (here < distance) { best = point; distance = here; }
      }
      tip.hidden = best === null;
      if (!best) return;
      tip.textContent = best.text;
      const left = Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 10)}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  // --- one plot
  function draw(plot, room) {
    const { spec, div } = plot;
    const count = spec.panels.length;
    const least = printing ? 200 : 250; // pixels of a panel that can be read
    const columns = Math.min(count, spec.columns || 4, Math.max(1, Math.floor(room / least)));
    const most = spec.bare ? room : WIDEST;
    const share = Math.min(most, Math.floor((room - 10 * (columns - 1)) / columns));
    const width = Math.max(share, spec.minWidth || 0);
    div.replaceChildren();
    div.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
    const shared = spec.panels.filter((panel) => !panel.x).flatMap((panel) => panel.marks);
    const all = shared.length ? shared : spec.panels.flatMap((panel) => panel.marks);
    for (const panel of spec.panels) drawPanel(plot, panel, width, spec.height, all);
    plot.room = room;
  }
  function legend(plot) {
    const place = plot.div.closest("figure").querySelector(".switches");
    const names = plot.spec.names.map((name, index) => ({ name, index })).filter(({ name }) => name.label);
    if (names.length < 2) return;
    place.replaceChildren(...names.map(({ name, index }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const svg = document.createElementNS(NS, "svg");
      for (const [key, value] of Object.entries({ width: 26, height: 10, class: "drawn" })) svg.setAttribute(key, value);
      if (name.shape) shape(svg, name.shape, 13, 5, 4, name.colour, 1);
      else make("path", svg, { d: "M1 5H25", stroke: name.colour, "stroke-width": name.width || 2, "stroke-dasharray": name.dash || "" });
      button.append(svg, name.label);
      button.addEventListener("click", () => {
        const on = plot.hidden.has(index);
        if (on) plot.hidden.delete(index); else plot.hidden.add(index);
        button.setAttribute("aria-pressed", String(on));
        draw(plot, plot.room);
      });
      return button;
    }));
    place.hidden = false;
  }

  const found = [...document.querySelectorAll("script[data-plot]")].map((script, id) => {
    const div = document.getElementById(script.dataset.plot);
    const title = div.closest("figure").querySelector("h4").textContent;
    return { id, div, title, spec: JSON.parse(script.textContent), hidden: new Set(), room: 0 };
  });
  const boxes = new Map(found.map((plot) => [plot.div.parentElement, plot]));
  // Also when a fold opens: what is folded has no width.
  const watcher = new ResizeObserver((entries) => {
    if (printing) return;
    for (const { target } of entries) {
      const plot = boxes.get(target), room = target.clientWidth - 2;
      if (room > 0 && room !== plot.room) draw(plot, room);
    }
  });
  for (const [box, plot] of boxes) {
    legend(plot);
    watcher.observe(box);
  }
  const folds = () => document.querySelectorAll("details");
  window.addEventListener("beforeprint", () => {
    printing = true;
    for (const box of folds()) {
      if (!box.open) box.dataset.closed = "";
      box.open = true;
    }
    document.documentElement.classList.add("printing");
    found.forEach((plot) => draw(plot, PAPER));
    for (const table of document.querySelectorAll(".scroll > table")) {
      table.style.zoom = Math.min(1, PAPER / table.offsetWidth);
    }
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    document.documentElement.classList.remove("printing");
    for (const table of document.querySelectorAll(".scroll > table")) table.style.zoom = "";
    found.forEach((plot) => draw(plot, plot.div.parentElement.clientWidth - 2));
    for (const box of document.querySelectorAll("details[data-closed]")) {
      box.open = false;
      delete box.dataset.closed;
    }
  });
  return { found };
})();
