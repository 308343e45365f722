// Draws the charts in the colors of the page, redraws them when the colors change, and shows the card next to a dot.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const card = document.getElementById("card");
  const PRINTED_WIDTH = 660; // fits A4 and Letter between their margins

  const root = () => getComputedStyle(document.documentElement);

  // A color is written as "@role" under a key that ends in "color"; texts are under other keys.
  function resolveColors(value, style, key = "") {
    if (Array.isArray(value)) return value.map((item) => (item && typeof item === "object" ? resolveColors(item, style) : item));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, resolveColors(item, style, name)]));
    }
    const role = typeof value === "string" && /color$/.test(key) && value.startsWith("@");
    return role ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
  }

  function layout(figure, style, width) {
    const own = resolveColors(figure.layout, style);
    const get = (name) => style.getPropertyValue("--" + name).trim();
    const font = { family: get("sans"), size: 12.5, color: get("muted") };
    const axis = { automargin: true, gridcolor: get("line"), zeroline: false, tickcolor: "rgba(0,0,0,0)", fixedrange: true };
    return {
      font,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 6, r: 10, t: 10, b: 8 },
      hoverlabel: { bgcolor: get("surface"), bordercolor: get("line"), font: { ...font, color: get("ink") }, align: "left" },
      showlegend: false, // the page draws its own legend
      modebar: { bgcolor: "rgba(0,0,0,0)", color: get("rest"), activecolor: get("ink") },
      uirevision: "kept",
      ...own,
      xaxis: { ...axis, ...own.xaxis },
      yaxis: { ...axis, ...own.yaxis },
      ...(width ? { width, autosize: false } : { autosize: true }),
    };
  }

  const GLYPHS = { circle: "●", diamond: "◆", square: "■", "triangle-up": "▲", cross: "✚", star: "★", x: "✖", "line-ns": "┃" };

  function drawLegend(container, traces) {
    const items = traces.map((trace) => {
      const item = element("li", "", trace.name);
      const glyph = element("span", "glyph", trace.type === "bar" ? "■" : GLYPHS[trace.marker?.symbol] || "━");
      glyph.style.color = "var(--" + (trace.marker || trace.line).color.slice(1) + ")";
      glyph.setAttribute("aria-hidden", "true");
      item.prepend(glyph);
      return item;
    });
    container.previousElementSibling.replaceChildren(...items);
  }

  function draw(figure, width = 0) {
    const style = root();
    const container = document.getElementById("figure-" + figure.key);
    const shown = figure.views.length ? figure.views[figure.view || 0].shown : [];
    drawLegend(container, figure.data.filter((trace, i) => trace.showlegend !== false && (!shown.length || shown[i])));
    const data = resolveColors(figure.data, style).map((trace, i) => ({ ...trace, visible: shown.length ? shown[i] : true }));
    return Plotly.react(container, data, layout(figure, style, width), {
      responsive: true,
      displaylogo: false,
      displayModeBar: figure.key === "map" ? "hover" : false,
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
    });
  }

  function element(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    node.textContent = text;
    return node;
  }

  // Returns the image of a row, which is a square tile of the atlas.
  function tile(rows, row) {
    const node = element("div", "thumbnail", "");
    const size = 96;
    node.style.backgroundImage = `url(${rows.atlas})`;
    node.style.backgroundSize = `${rows.columns * size}px auto`;
    node.style.backgroundPosition = `-${(row % rows.columns) * size}px -${Math.floor(row / rows.columns) * size}px`;
    return node;
  }

  function show(rows, row, x, y) {
    const text = element("p", "text", rows.text[row]);
    text.dir = "auto";
    const facts = document.createElement("dl");
    const baseline = rows.uniform[row] ? "kept" : "dropped";
    const entries = { reason: rows.reason[row], id: rows.id[row], cluster: rows.cluster[row], source: rows.source[row], "random baseline": baseline };
    for (const [name, value] of Object.entries(entries)) {
      if (!value) continue;
      const line = document.createElement("div");
      line.append(element("dt", "", name), element("dd", "", value));
      facts.append(line);
    }
    const outcome = element("p", rows.kept[row] ? "outcome kept" : "outcome", rows.outcome[row]);
    card.replaceChildren(outcome, ...(rows.atlas ? [tile(rows, row)] : []), text, facts);
    card.hidden = false;
    const gap = 16;
    const left = x + gap + card.offsetWidth > innerWidth ? x - gap - card.offsetWidth : x + gap;
    const top = Math.min(y + gap, innerHeight - card.offsetHeight - 8);
    card.style.left = Math.max(8, left) + "px";
    card.style.top = Math.max(8, top) + "px";
  }

  function hide() {
    card.hidden = true;
  }

  for (const figure of figures) {
    const container = document.getElementById("figure-" + figure.key);
    draw(figure).then(() => {
      if (!figure.rows.text) return;
      container.on("plotly_hover", ({ points, event }) => show(figure.rows, points[0].customdata, event.clientX, event.clientY));
      container.on("plotly_unhover", hide);
    });
    const buttons = container.parentElement.querySelectorAll("[data-view]");
    for (const button of buttons) {
      button.addEventListener("click", () => {
        figure.view = Number(button.dataset.view);
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        draw(figure);
      });
    }
  }
  // Scrolling moves the dot away from the pointer: end the hover, so that pointing at the dot shows the card again.
  const endHover = () => card.hidden || Plotly.Fx.unhover("figure-map");
  // A chart that is drawn inside a closed <details> has no width, so draw it again when that opens.
  for (const fold of document.querySelectorAll("details")) {
    const inside = figures.filter((figure) => fold.querySelector("#figure-" + figure.key));
    if (inside.length) fold.addEventListener("toggle", () => fold.open && inside.forEach((figure) => draw(figure)));
  }

  addEventListener("scroll", endHover, { passive: true });

  const redraw = (width) => figures.forEach((figure) => draw(figure, width));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    redraw(PRINTED_WIDTH);
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    redraw();
  });
})();
