// Plotly's figures: colour tokens take the theme's palette, sizes the page's or the paper's.
const plots = (() => {
  const PAPER = 690; // pixels across a printed page
  const found = [...document.querySelectorAll("script[data-plot]")].map((script) => ({
    div: document.getElementById(script.dataset.plot),
    spec: JSON.parse(script.textContent),
    drawn: false,
  }));
  let printing = false;

  function cssColour(name) {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(--${name})`;
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }
  function inks() {
    const read = (name, paper) => (printing ? paper : cssColour(name));
    return {
      ink: read("ink", "#000"), muted: read("muted", "#444"), grid: read("line", "#ddd"),
      surface: read("surface", "#fff"), grey: read("muted", "#777"),
    };
  }
  function faded(hex, opacity) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  }
  function painted(value, palette, ink) {
    if (typeof value === "string") {
      const token = /^@(\w+)(?:\/([\d.]+))?$/.exec(value);
      if (!token) return value;
      const colour = token[1] === "veil" ? ink.surface : ink[token[1]] ?? palette[Number(token[1])];
      return token[2] ? faded(colour, token[2]) : colour;
    }
    if (Array.isArray(value)) {
      return value.length && typeof value[0] === "number" ? value
        : value.map((item) => painted(item, palette, ink));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, painted(item, palette, ink)]));
    }
    return value;
  }

  function layoutOf(plot, ink) {
    const { div, spec } = plot;
    const { wide_legend: wide, ...own } = painted(spec.layout, spec.palette.light, ink);
    const room = printing ? PAPER : div.parentElement.clientWidth;
    const width = Math.max(room, printing ? 0 : spec.minWidth || 0);
    const names = spec.data.filter((trace) => trace.name && trace.showlegend !== false);
    const shown = own.showlegend ?? names.length > 1;
    const longest = Math.max(0, ...names.map((trace) => trace.name.length));
    const below = wide !== "top" && (width < 700 || longest > 34);
    const columns = Math.max(1, Math.floor((width - 60) / (60 + 6.6 * longest)));
    const rows = shown && below ? Math.ceil(names.length / columns) : 0;
    const axis = { gridcolor: ink.grid, linecolor: ink.muted, zeroline: false, tickcolor: ink.grid };
    const legend = wide === "top" ? { orientation: "h", x: 0, y: 1, yref: "container", yanchor: "top" }
      : below ? { orientation: "h", x: 0, y: -70 / own.height, yanchor: "top" }
        : { x: 1.02, y: 1 };
    return {
      hovermode: "closest", uirevision: "kept",
      ...own,
      margin: { l: 60, r: 20, t: wide === "top" ? 50 : 24, b: below ? 70 + 20 * rows : 60, ...own.margin },
      width, height: own.height + (below ? 20 * rows : 0), showlegend: shown,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink.ink },
      hoverlabel: { bgcolor: ink.surface, bordercolor: ink.muted, font: { color: ink.ink } },
      xaxis: { ...axis, ...own.xaxis }, yaxis: { ...axis, ...own.yaxis },
      legend: { tracegroupgap: 0, bgcolor: "rgba(0,0,0,0)", font: { size: 11 }, ...legend },
    };
  }

  function draw(plot) {
    const ink = inks();
    const palette = plot.spec.palette[theme.dark() && !printing ? "dark" : "light"];
    const data = painted(plot.spec.data, palette, ink);
    const layout = layoutOf(plot, ink);
    plot.div.style.minHeight = `${layout.height}px`;
    for (const [index, trace] of (plot.div.data || []).entries()) {
      if (trace.visible !== undefined) data[index].visible = trace.visible; // hidden by a reader
    }
    Plotly.react(plot.div, data, layout, {
      displaylogo: false, displayModeBar: "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { filename: plot.div.id, scale: 2 },
    });
    if (!plot.drawn) switches(plot);
    plot.drawn = true;
  }

  // A plotly legend cannot be reached by keyboard: a button for every name does the same.
  function switches(plot) {
    const names = plot.spec.data.map((trace, index) => ({ trace, index }))
      .filter(({ trace }) => trace.name && trace.showlegend !== false);
    if (names.length < 2 || plot.div.data.length === 0) return;
    const place = plot.div.closest("figure").querySelector(".switches");
    const box = document.createElement("details");
    const title = box.appendChild(document.createElement("summary"));
    title.textContent = "Show or hide";
    const row = box.appendChild(document.createElement("div"));
    row.className = "switches";
    const buttons = names.map(({ trace, index }) => {
      const button = row.appendChild(document.createElement("button"));
      button.type = "button";
      button.innerHTML = trace.name; // escaped by the report
      const mine = plot.spec.data.map((other, at) => ({ other, at }))
        .filter(({ other, at }) => at === index ||
          (trace.legendgroup && other.legendgroup === trace.legendgroup)).map(({ at }) => at);
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "true";
        Plotly.restyle(plot.div, { visible: on ? "legendonly" : true }, mine);
      });
      return { button, index };
    });
    const sync = () => {
      for (const { button, index } of buttons) {
        const visible = plot.div.data[index].visible;
        button.setAttribute("aria-pressed", String(visible === undefined || visible === true));
      }
    };
    plot.div.on("plotly_restyle", sync);
    sync();
    place.replaceChildren(box);
    place.hidden = false;
  }

  // One at a time, so that a long page answers while it draws.
  let queue = [];
  function next() {
    const plot = queue.shift();
    if (!plot) return;
    draw(plot);
    setTimeout(next, 0);
  }
  function drawAll(all = found) {
    const idle = queue.length === 0;
    queue = [...all];
    if (idle) setTimeout(next, 0);
  }

  let width = window.innerWidth;
  let timer;
  window.addEventListener("resize", () => {
    if (printing || window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(drawAll, 150);
  });
  window.addEventListener("beforeprint", () => {
    printing = true;
    queue = [];
    for (const box of document.querySelectorAll("details:not([open])")) {
      box.open = true;
      box.dataset.closed = "";
    }
    found.forEach(draw);
    document.documentElement.classList.add("printing");
    for (const table of document.querySelectorAll(".scroll > table")) {
      table.style.zoom = Math.min(1, PAPER / table.offsetWidth);
    }
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    document.documentElement.classList.remove("printing");
    for (const box of document.querySelectorAll("details[data-closed]")) {
      box.open = false;
      delete box.dataset.closed;
    }
    for (const table of document.querySelectorAll(".scroll > table")) table.style.zoom = "";
    drawAll();
  });
  theme.changed(() => drawAll());
  drawAll();
  return { found };
})();
