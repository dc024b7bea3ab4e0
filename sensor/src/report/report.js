// The report's page. Everything it shows comes out of the JSON in #data and is put on the page as text: no markup is ever
// made from it. Positions are computed from the data and the width alone, so that the page looks the same each time.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SEVERITIES = [null, "critical", "high", "medium", "low", "informational"];
  const SVG = "http://www.w3.org/2000/svg";

  // ---- Making elements --------------------------------------------------------------------------------------------

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
      else element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== undefined && child !== null && child !== false && child !== "") element.append(child);
    }
    return element;
  }
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const count = (number, one, many) => `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

  // ---- Severity: one shape each -----------------------------------------------------------------------------------

  // The outline of a severity's shape around a point.
  function shape(severity, x, y, r) {
    const at = (points) => `M${points.map(([dx, dy]) => `${(x + dx * r).toFixed(2)} ${(y + dy * r).toFixed(2)}`).join("L")}Z`;
    if (severity === 1) return at([[0, -1.15], [1.15, 0], [0, 1.15], [-1.15, 0]]);
    if (severity === 2) return at([[0, -1.05], [1.1, 0.85], [-1.1, 0.85]]);
    if (severity === 3) return at([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]]);
    return `M${x - r * 0.9} ${y}a${r * 0.9} ${r * 0.9} 0 1 0 ${r * 1.8} 0a${r * 0.9} ${r * 0.9} 0 1 0 ${-r * 1.8} 0Z`;
  }
  const glyph = (severity) =>
    s("svg", { class: `glyph s${severity}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
      s("path", { d: shape(severity, 8, 8, 6), "stroke-width": severity === 5 ? 2 : 0 }));

  // ---- Time: microseconds since 1970, told in UTC -------------------------------------------------------------------

  const SECOND = 1e6, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const iso = (us) => new Date(Math.floor(us / 1000)).toISOString();
  const moment = (us) => iso(us).slice(0, 19).replace("T", " ");
  const precise = (us) => `${moment(us)}.${String(((us % SECOND) + SECOND) % SECOND).padStart(6, "0")}`;
  function span(us) {
    if (us < 1000) return `${us} µs`;
    if (us < SECOND) return `${(us / 1000).toFixed(us < 10000 ? 1 : 0)} ms`;
    if (us < MINUTE) return `${(us / SECOND).toFixed(us < 10 * SECOND ? 2 : 0)} s`;
    if (us < HOUR) return `${Math.round(us / MINUTE)} min`;
    if (us < 2 * DAY) return `${(us / HOUR).toFixed(1)} h`;
    return `${Math.round(us / DAY)} days`;
  }
  const between = (from, to) =>
    to - from < SECOND ? moment(from) : `${moment(from)} – ${moment(from).slice(0, 10) === moment(to).slice(0, 10) ? moment(to).slice(11) : moment(to)}`;

  // ---- What the reader asked for --------------------------------------------------------------------------------------

  const state = { words: [], severities: new Set([1, 2, 3, 4, 5]), edge: null, time: null };
  const lower = data.texts.map((text) => text.toLowerCase());
  const signatures = data.signatures.map((signature) => `${signature.id} ${signature.text}`.toLowerCase());
  const ends = data.incidents.map((incident) => `${incident.source} ${incident.target} ${(incident.target_names || []).join(" ")}`.toLowerCase());
  const haystacks = new Array(data.incidents.length);

  // All that is searched of an incident; made when it is first searched.
  function haystack(index) {
    if (haystacks[index] === undefined) {
      const incident = data.incidents[index];
      const parts = [ends[index], incident.title, ...(incident.users || []), ...(incident.runs_as || []), ...(incident.classes || [])];
      for (const [id, name] of incident.techniques || []) parts.push(id, name);
      for (const [name] of incident.tools || []) parts.push(name);
      for (const [signature] of incident.signatures) parts.push(signatures[signature]);
      for (const step of incident.steps) parts.push(step.command_line || "", step.decoded_command || "", step.object_path || "", step.method || "", step.clsid || "");
      haystacks[index] = parts.join("\n").toLowerCase();
    }
    return haystacks[index];
  }
  function incidentShows(index) {
    const incident = data.incidents[index];
    if (!incident.signatures.some(([, , worst]) => state.severities.has(worst))) return false;
    if (state.edge !== null && data.graph.edge_of[index] !== state.edge) return false;
    if (state.time && (incident.to < state.time[0] || incident.from > state.time[1])) return false;
    return state.words.every((word) => haystack(index).includes(word));
  }
  function rowShows(row) {
    const [at, severity, signature, klass, what, , , incident] = row;
    if (!state.severities.has(severity)) return false;
    if (state.edge !== null && data.graph.edge_of[incident] !== state.edge) return false;
    if (state.time && (at < state.time[0] || at > state.time[1])) return false;
    return state.words.every((word) =>
      lower[what].includes(word) || lower[klass].includes(word) || ends[incident].includes(word) || signatures[signature].includes(word) || haystack(incident).includes(word));
  }

  // ---- Head -------------------------------------------------------------------------------------------------------

  data.counts.forEach((number, index) => {
    if (number) $("counts").append(h("li", { class: `s${index + 1}` }, glyph(index + 1), h("span", {}, h("b", {}, number.toLocaleString("en-GB")), ` ${SEVERITIES[index + 1]}`)));
  });
  const themes = ["auto", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % 3];
    document.documentElement.dataset.theme = next;
    $("theme").textContent = `Theme: ${next}`;
  });
  $("print").addEventListener("click", () => window.print());
  for (const id of ["theme", "print", "main"]) $(id).hidden = false;
  $("without-script").hidden = true;

  const announce = (text) => { $("announce").textContent = text; };

  function copyButton(text, what) {
    return h("button", { type: "button", "aria-label": `Copy ${what}`, on: { click: async (event) => {
      const button = event.currentTarget;
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        // Where the browser keeps the clipboard from pages: select it, and use the old way.
        const field = h("textarea", { readonly: true });
        field.value = text;
        document.body.append(field);
        field.select();
        document.execCommand("copy");
        field.remove();
      }
      button.textContent = "Copied";
      announce(`${what} copied`);
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } } }, "Copy");
  }
  const code = (text, caption, what) =>
    h("figure", { class: "code" }, caption && h("figcaption", {}, caption), h("pre", { class: "mono" }, text), copyButton(text, what));

  // ---- Tips: beside the thing that is pointed at or focused ----------------------------------------------------------

  function tipFor(tip, element, lines) {
    const show = (event) => {
      tip.replaceChildren(...lines());
      tip.hidden = false;
      const room = tip.parentElement.getBoundingClientRect();
      const box = element.getBoundingClientRect();
      const x = event.clientX || box.left + box.width / 2, y = event.clientY || box.top + box.height / 2;
      tip.style.left = `${Math.max(4, Math.min(x - room.left + 12, room.width - tip.offsetWidth - 8))}px`;
      tip.style.top = `${y - room.top + 16}px`;
    };
    const hide = () => { tip.hidden = true; };
    for (const event of ["pointerenter", "pointermove", "focus"]) element.addEventListener(event, show);
    for (const event of ["pointerleave", "blur"]) element.addEventListener(event, hide);
    element.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  }

  // ---- The graph --------------------------------------------------------------------------------------------------

  const REACH = {
    executed: ["had a command run", "", "logged a command that points to DCOM"], told: ["sent a command, no answer seen", "16 3"], called: ["called an object", "11 3"], activated: ["activated an object", "7 4", "logged an activation"],
    tried: ["tried", "2 4", "logged an attempt"], asked: ["probed", "1 6"], noted: ["logged what points to DCOM", "1 9"],
  };
  const VERDICTS = {
    confirmed: "confirmed by the host", contradicted: "contradicted by the host", not_seen: "not in the host's logs", logged: "logged by the host",
  };
  const nodeName = (node) => (node.name ? `${node.name} (${node.label})` : node.label);

  // At whose bidding it was, a host's own log may not say.
  const ofNobody = (edge) => data.graph.nodes[edge.from].label === "unknown";
  const reachWords = (edge) => (ofNobody(edge) && REACH[edge.reach][2]) || REACH[edge.reach][0];

  function edgeLines(edge) {
    const { nodes } = data.graph;
    const lines = [
      h("p", {}, h("b", {}, `${nodeName(nodes[edge.from])} → ${nodeName(nodes[edge.to])}`)),
      h("p", {}, `${edge.concluded ? "probably " : ""}${reachWords(edge)}${ofNobody(edge) ? ", at whose bidding is not known" : ""}; ${count(edge.alerts, "alert", "alerts")}, worst ${SEVERITIES[edge.severity]}`),
    ];
    if (edge.classes.length) lines.push(h("p", {}, edge.classes.slice(0, 4).join(", ") + (edge.classes.length > 4 ? " …" : "")));
    for (const command of edge.commands.slice(0, 3)) lines.push(h("code", {}, cut(command, 140)));
    if (edge.commands.length > 3) lines.push(h("p", {}, `and ${edge.commands.length - 3} more`));
    lines.push(h("p", {}, edge.verdicts.length ? edge.verdicts.map((verdict) => VERDICTS[verdict] || verdict).join(", ") : "not confirmed by a host's log"));
    lines.push(h("p", {}, `${between(edge.first, edge.last)} UTC`));
    return lines;
  }

  // Columns from left to right; within one, by where the arrows come from.
  function layout(graph, width) {
    const narrow = width < 560;
    const box = { width: narrow ? 122 : 176, height: 44, gap: narrow ? 16 : 20 };
    const columns = [];
    graph.nodes.forEach((node, index) => { (columns[node.column] = columns[node.column] || []).push(index); });
    const used = columns.filter(Boolean);
    const place = graph.nodes.map(() => ({ x: 0, y: 0 }));
    const tallest = Math.max(...used.map((column) => column.length));
    const height = tallest * (box.height + box.gap) - box.gap + 48;
    const least = used.length * box.width + (used.length - 1) * (narrow ? 72 : 170) + 24;
    const total = Math.max(width, least);
    const step = used.length > 1 ? Math.min((total - 24 - box.width) / (used.length - 1), box.width + 420) : 0;
    const begin = (total - step * (used.length - 1) - box.width) / 2;
    used.forEach((column, number) => {
      const weight = (index) => {
        const from = graph.edges.filter((edge) => edge.to === index && graph.nodes[edge.from].column < graph.nodes[index].column);
        return from.length ? from.reduce((sum, edge) => sum + place[edge.from].y, 0) / from.length : 0;
      };
      const weights = new Map(column.map((index) => [index, weight(index)]));
      column.sort((a, b) => weights.get(a) - weights.get(b) || a - b);
      const top = (height - (column.length * (box.height + box.gap) - box.gap)) / 2;
      column.forEach((index, row) => { place[index] = { x: begin + number * step, y: top + row * (box.height + box.gap) }; });
    });
    return { box, place, width: total, height, narrow };
  }

  // A curve, the place of its mark, and the arrow's head.
  function curve(edge, plan, twin, t) {
    const { box, place } = plan;
    const from = place[edge.from], to = place[edge.to];
    const shift = twin ? (edge.from < edge.to ? -8 : 8) : 0;
    const y1 = from.y + box.height / 2 + shift, y2 = to.y + box.height / 2 + shift;
    let x1 = from.x + box.width, x2 = to.x, c1, c2, left = false;
    if (edge.from === edge.to) {
      x2 = x1;
      c1 = [x1 + 60, y1 - 34]; c2 = [x1 + 60, y1 + 34]; left = true;
    } else if (to.x > from.x) {
      const half = (x2 - x1) / 2;
      c1 = [x1 + half, y1]; c2 = [x2 - half, y2];
    } else if (to.x === from.x) {
      x2 = to.x + box.width;
      c1 = [x1 + 56, y1]; c2 = [x2 + 56, y2]; left = true;
    } else {
      x1 = from.x; x2 = to.x + box.width; left = true;
      const half = (x1 - x2) / 2;
      c1 = [x1 - half, y1]; c2 = [x2 + half, y2];
    }
    const end = x2 + (left ? 9 : -9), way = left ? 1 : -1;
    const at = (a, b, c, d) => (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t ** 2 * c + t ** 3 * d;
    const middle = [at(x1, c1[0], c2[0], end), at(y1, c1[1], c2[1], y2)];
    return {
      line: `M${x1} ${y1}C${c1[0]} ${c1[1]} ${c2[0]} ${c2[1]} ${end} ${y2}`,
      head: `M${x2} ${y2}l${way * 10} -5l0 10Z`,
      middle, room: Math.abs(x2 - x1),
    };
  }

  function drawGraph() {
    const { graph } = data;
    const holder = $("graph-box");
    if (!graph.nodes.length) { $("graph").hidden = true; return; }
    const plan = layout(graph, holder.clientWidth);
    const svg = s("svg", { class: "chart", width: plan.width, height: plan.height, viewBox: `0 0 ${plan.width} ${plan.height}`, role: "group", "aria-label": `${count(graph.nodes.length, "node", "nodes")}, ${count(graph.edges.length, "edge", "edges")}` });
    const twins = new Set(graph.edges.map((edge) => `${edge.from} ${edge.to}`));
    // Grave ones last, so that they lie on top.
    const order = graph.edges.map((edge, index) => index).sort((a, b) => graph.edges[b].severity - graph.edges[a].severity || a - b);
    for (const index of order) {
      const edge = graph.edges[index];
      // The mark stands where the arrows are furthest apart: away from the end that many share.
      const shared = (end) => graph.edges.filter((other) => other[end] === edge[end]).length;
      const spread = shared("from") - shared("to");
      const place = edge.from === edge.to || spread === 0 ? 0.5 : spread > 0 ? 0.7 : 0.3;
      const path = curve(edge, plan, edge.from !== edge.to && twins.has(`${edge.to} ${edge.from}`), place);
      const group = s("g", {
        class: `edge s${edge.severity}`, tabindex: 0, role: "button", "data-edge": index, "aria-pressed": state.edge === index ? "true" : "false",
        "aria-label": edgeLines(edge).map((line) => line.textContent).join(". "),
      },
        s("path", { class: "hit", d: path.line }),
        s("path", { class: "line", d: path.line, "stroke-width": [0, 2.6, 2.2, 1.9, 1.6, 1.4][edge.severity], "stroke-dasharray": REACH[edge.reach][1] || null }),
        s("path", { class: "head", d: path.head }));
      if (!plan.narrow && path.room > 150 && graph.edges.length <= 14 && edge.classes.length) {
        const more = edge.classes.length > 1 ? ` +${edge.classes.length - 1}` : "";
        group.append(s("text", { class: "label", x: path.middle[0], y: path.middle[1] - 12 }, cut(edge.classes[0], 26) + more));
      }
      group.append(s("path", { class: "mark", d: shape(edge.severity, path.middle[0], path.middle[1], 6.5) }));
      if (state.edge !== null) group.classList.add(state.edge === index ? "chosen" : "dimmed");
      const choose = () => {
        state.edge = state.edge === index ? null : index;
        update();
        drawGraph();
        holder.querySelector(`[data-edge="${index}"]`).focus({ preventScroll: true });
      };
      group.addEventListener("click", choose);
      group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
      tipFor($("graph-tip"), group, () => [...edgeLines(edge), h("p", {}, state.edge === index ? "Press to show all again." : "Press to show only these.")]);
      svg.append(group);
    }
    graph.nodes.forEach((node, index) => {
      const { x, y } = plan.place[index], { width, height } = plan.box;
      const room = plan.narrow ? 15 : 20;
      const middle = x + width / 2;
      const group = s("g", { class: "node", "data-node": index });
      const all = node.hosts > 1 ? node.members.join(", ") + (node.hosts > node.members.length ? ", …" : "") : nodeName(node);
      group.append(s("title", {}, all));
      if (node.hosts > 1) {
        group.append(s("rect", { class: "under", x: x + 5, y: y + 5, width, height, rx: 8 }));
      }
      group.append(s("rect", { x, y, width, height, rx: 8 }));
      const second = node.hosts > 1 ? node.members.slice(0, 2).join(", ") + (node.hosts > 2 ? " …" : "") : node.name;
      group.append(s("text", { class: "address", x: middle, y: y + (second ? 19 : 27), "text-anchor": "middle" }, cut(node.label, room)));
      if (second) group.append(s("text", { class: "name", x: middle, y: y + 34, "text-anchor": "middle" }, cut(second, room + 4)));
      svg.append(group);
    });
    holder.replaceChildren(svg);
  }

  function graphText() {
    const { graph } = data;
    const together = graph.nodes.length < graph.hosts ? " Hosts that are alike are drawn as one." : "";
    $("graph-lead").textContent = `${count(graph.hosts, "host", "hosts")}, ${count(graph.pairs, "pair", "pairs")} of source and target.${together} Point at an arrow to see what was done; press it to see only that.`;
    const used = new Set(graph.edges.map((edge) => edge.severity));
    for (const severity of [1, 2, 3, 4, 5]) if (used.has(severity)) $("graph-legend").append(h("li", { class: `s${severity}` }, glyph(severity), SEVERITIES[severity]));
    for (const [reach, [, dash]] of Object.entries(REACH)) {
      const edges = graph.edges.filter((edge) => edge.reach === reach);
      const words = [...new Set(edges.map(reachWords))].join(" / ");
      if (words) $("graph-legend").append(h("li", {}, s("svg", { width: 34, height: 8, "aria-hidden": "true" }, s("line", { x1: 0, y1: 4, x2: 34, y2: 4, "stroke-dasharray": dash || null })), words));
    }
  }

  // ---- The timeline -------------------------------------------------------------------------------------------------

  const lanes = [1, 2, 3, 4, 5].filter((severity) => data.rows.some((row) => row[1] === severity));
  const whole = (() => {
    if (!data.rows.length) return null;
    const first = data.rows[0][0], last = data.rows[data.rows.length - 1][0];
    const edge = Math.max(SECOND / 2, (last - first) * 0.04);
    return [first - edge, last + edge];
  })();
  let view = whole && [...whole];
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500].map((ms) => ms * 1000).concat(
    [1, 2, 5, 10, 15, 30].map((n) => n * SECOND), [1, 2, 5, 10, 15, 30].map((n) => n * MINUTE), [1, 2, 3, 6, 12].map((n) => n * HOUR),
    [1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY));

  function tick(us, step) {
    if (step >= DAY) return moment(us).slice(0, 10);
    const time = step >= MINUTE ? moment(us).slice(11, 16) : step >= SECOND ? moment(us).slice(11) : precise(us).slice(11, 23);
    return us % DAY === 0 ? moment(us).slice(5, 10) : time;
  }

  function drawTimeline() {
    const holder = $("timeline-box");
    if (!view) { $("timeline").hidden = true; return; }
    const width = Math.max(280, holder.clientWidth), narrow = width < 560;
    const left = narrow ? 26 : 112, right = 14, laneHeight = 34, top = 8;
    const height = top + lanes.length * laneHeight + 26;
    const inner = width - left - right;
    const x = (us) => left + ((us - view[0]) / (view[1] - view[0])) * inner;
    const svg = s("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "group", "data-from": Math.round(view[0]), "data-to": Math.round(view[1]),
      "aria-label": `Alerts over time, ${between(view[0], view[1])} UTC. Plus and minus zoom, arrows move, zero shows all.` });
    // Ticks as far apart as their labels are wide.
    const step = STEPS.find((candidate) => (candidate / (view[1] - view[0])) * inner > (narrow ? 84 : 100)) || STEPS[STEPS.length - 1];
    const axis = s("g", { class: "axis" });
    for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) {
      axis.append(s("line", { x1: x(at), x2: x(at), y1: top, y2: top + lanes.length * laneHeight }));
      axis.append(s("text", { x: Math.min(Math.max(x(at), left + 26), width - 38), y: height - 8, "text-anchor": "middle" }, tick(at, step)));
    }
    svg.append(axis);
    lanes.forEach((severity, lane) => {
      const y = top + lane * laneHeight + laneHeight / 2;
      svg.append(s("line", { class: "lane", x1: left, x2: width - right, y1: y, y2: y }));
      svg.append(s("path", { class: `point s${severity}`, d: shape(severity, 12, y, 5), "aria-hidden": "true" }));
      if (!narrow) svg.append(s("text", { class: "lane-name", x: 26, y: y + 4 }, SEVERITIES[severity]));
    });
    // Alerts of one lane that would lie on each other are one mark.
    const BIN = 17;
    const bins = new Map();
    for (const row of data.rows) {
      if (row[0] < view[0] || row[0] > view[1] || !rowShows(row)) continue;
      const key = `${row[1]} ${Math.floor((x(row[0]) - left) / BIN)}`;
      const bin = bins.get(key);
      if (!bin) bins.set(key, { severity: row[1], from: row[0], to: row[0], number: 1, row });
      else { bin.to = row[0]; bin.number += 1; }
    }
    for (const bin of bins.values()) {
      const y = top + lanes.indexOf(bin.severity) * laneHeight + laneHeight / 2;
      const size = 4.5 + Math.min(3.5, Math.log2(bin.number) * 0.5);
      const what = data.texts[bin.row[4]] || data.signatures[bin.row[2]].text;
      const words = bin.number === 1 ? `${SEVERITIES[bin.severity]}, ${precise(bin.from)} UTC` : `${count(bin.number, "alert", "alerts")}, ${SEVERITIES[bin.severity]}, ${between(bin.from, bin.to)} UTC`;
      const mark = s("path", { class: `point s${bin.severity}`, d: shape(bin.severity, x((bin.from + bin.to) / 2), y, size), tabindex: bins.size <= 60 ? 0 : -1, role: "button", "aria-label": words, "data-number": bin.number });
      tipFor($("timeline-tip"), mark, () => [h("p", {}, h("b", {}, words)), h("p", {}, data.incidents[bin.row[7]].title), h("code", {}, cut(what, 140))]);
      const act = () => {
        if (bin.number === 1 || bin.to - bin.from < 1000) reveal(bin.row[7]);
        else zoomTo(bin.from - (bin.to - bin.from) * 0.1, bin.to + (bin.to - bin.from) * 0.1);
      };
      mark.addEventListener("pointerdown", (event) => event.stopPropagation());
      mark.addEventListener("click", act);
      mark.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } });
      svg.append(mark);
    }
    // Drag to zoom.
    const brush = s("rect", { class: "brush", y: top, height: lanes.length * laneHeight, width: 0 });
    svg.append(brush);
    const inside = (event) => Math.max(left, Math.min(width - right, event.clientX - svg.getBoundingClientRect().left));
    let start = null;
    svg.addEventListener("pointerdown", (event) => { if (event.button === 0) { start = inside(event); svg.setPointerCapture(event.pointerId); } });
    svg.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const now = inside(event);
      brush.setAttribute("x", Math.min(start, now));
      brush.setAttribute("width", Math.abs(now - start));
    });
    const end = (event) => {
      if (start === null) return;
      const [a, b] = [start, inside(event)].sort((one, other) => one - other);
      start = null;
      brush.setAttribute("width", 0);
      const time = (at) => view[0] + ((at - left) / inner) * (view[1] - view[0]);
      if (b - a > 6) zoomTo(time(a), time(b));
    };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", () => { start = null; brush.setAttribute("width", 0); });
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(event.deltaY < 0 ? 0.7 : 1 / 0.7, (inside(event) - left) / inner);
    }, { passive: false });
    svg.addEventListener("keydown", (event) => {
      const act = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => zoomTo(...whole), ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25) }[event.key];
      if (!act || event.target !== svg) return;
      event.preventDefault();
      act();
      holder.querySelector("svg").focus();
    });
    holder.replaceChildren(svg);
  }

  function zoomTo(from, to) {
    const least = 2000;
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    view = [Math.max(whole[0], from), Math.min(whole[1], to)];
    state.time = view[0] <= whole[0] && view[1] >= whole[1] ? null : view;
    update();
  }
  function zoom(factor, around = 0.5) {
    const middle = view[0] + (view[1] - view[0]) * around, length = (view[1] - view[0]) * factor;
    zoomTo(middle - length * around, middle + length * (1 - around));
  }
  function move(part) {
    const length = view[1] - view[0];
    const from = Math.max(whole[0], Math.min(whole[1] - length, view[0] + length * part));
    zoomTo(from, from + length);
  }
  const zooms = { "zoom-in": () => zoom(0.5), "zoom-out": () => zoom(2), "zoom-all": () => zoomTo(...whole), earlier: () => move(-0.25), later: () => move(0.25) };
  for (const [id, act] of Object.entries(zooms)) $(id).addEventListener("click", act);

  // ---- Incidents ----------------------------------------------------------------------------------------------------

  const PAGE = 20, MOST_STEPS = 10, MOST_FILES = 2;
  let shownIncidents = [], page = PAGE;
  const meaning = Object.fromEntries(data.evidence);
  const list = (items) => h("ul", { class: "reasons" }, items.map((item) => h("li", {}, item)));
  const more = (words, content) => h("details", {}, h("summary", {}, words), content);

  function stepName(step) {
    if (step.kind === "activation") return step.class || step.clsid ? `Activation of ${step.class || step.clsid}` : "Activation, class not read";
    if (step.kind === "call" && (step.object_path || step.method)) return [step.object_path, step.method].filter(Boolean).join(".");
    if (step.kind === "host_event") return `On the host: ${step.operation || step.class || "process"}`;
    if (step.kind === "call") return [step.interface, step.operation].filter(Boolean).join(".") || "Call";
    if (step.kind === "alert") return "Connection";
    return { oxid_resolution: "OXID resolution", endpoint_mapping: "Endpoint mapping", host_confirmation: "Host confirmation" }[step.kind] || step.kind;
  }
  const since = (step, begin) => (step.at > begin ? `+${span(step.at - begin)}` : moment(step.at).slice(11));
  const frames = (step) => step.frame !== undefined && `frame ${step.frame}${step.reply_frame !== undefined ? ` → ${step.reply_frame}` : ""}`;
  function outcome(step) {
    if (!step.outcome) return null;
    const words = step.outcome === "succeeded" ? "succeeded" : step.outcome;
    return h("span", { class: step.outcome === "failed" ? "failed" : null }, step.code && step.outcome !== "unanswered" ? `${words} (${step.code})` : words);
  }
  const minor = (step) => !step.alerts && !step.command_line && !step.host && step.kind !== "activation";

  function processList(host) {
    const part = (head, pairs) => (pairs.length ? [h("dd", { class: "head" }, head), pairs.map(([key, value]) => [h("dt", {}, key), h("dd", { class: "mono" }, value)])] : []);
    return h("dl", { class: "process" }, part("Process", host.process), part("Started by", host.parent),
      host.matched_on.length ? [h("dt", {}, "Matched on"), h("dd", {}, host.matched_on.join(", "))] : [],
      host.source ? [h("dt", {}, "Source"), h("dd", {}, host.source)] : []);
  }

  function hostItem(step) {
    const { host } = step;
    // What ran may be older than the call; of a call, the other distance is that from its activation.
    const [ms, what] = host.call_delta_ms !== undefined ? [host.call_delta_ms, "call"]
      : step.kind === "call" ? [] : [host.time_delta_ms, ["failed", "unanswered"].includes(step.outcome) ? "attempt" : "activation"];
    const delta = ms === undefined ? "" : `, ${host.source ? `${host.source} ` : ""}${Math.abs(ms)} ms ${ms < 0 ? "before" : "after"} the ${what}`;
    return h("li", {}, h("span", { class: "dot" }), h("p", { class: "step-title" }, h("span", { class: `flag ${host.verdict}` }, { confirmed: "✓ ", contradicted: "✕ ", not_seen: "! " }[host.verdict] || "", `Host: ${VERDICTS[host.verdict] || host.verdict}`), delta), processList(host));
  }

  function stepItem(step, begin, incident) {
    const worst = step.alerts ? Math.min(...step.alerts.map((alert) => alert.severity)) : 0;
    const name = stepName(step);
    const plain = step.kind !== "call" || !(step.object_path || step.method);
    const item = h("li", { class: worst ? `s${worst}` : null, "data-kind": step.kind },
      h("span", { class: `dot${worst ? " has-glyph" : ""}` }, worst ? glyph(worst) : ""),
      h("p", { class: `step-title${plain ? "" : " mono"}` }, name),
      h("p", { class: "step-meta" },
        h("span", { title: `${precise(step.at)} UTC` }, since(step, begin)), outcome(step), frames(step) && h("span", {}, frames(step)),
        step.ports && h("span", {}, `port ${step.ports}`), step.kind === "activation" && step.operation && h("span", {}, step.operation), step.auth && h("span", {}, step.auth),
        step.evidence && h("span", { title: meaning[step.evidence] || null }, `read: ${step.evidence}`), step.file && h("span", {}, step.file)),
      step.alerts && h("ul", { class: "step-alerts" }, step.alerts.map((alert) => {
        const signature = data.signatures[alert.signature];
        return h("li", { class: `s${alert.severity}` }, glyph(alert.severity), h("span", {}, `${signature.text} (${signature.id}, ${SEVERITIES[alert.severity]}${alert.confidence ? `, confidence ${alert.confidence}` : ""})`,
          alert.of_several ? `: ${alert.of_several.join(", ")}` : ""));
      })));
    if (step.command_line) item.append(code(step.command_line, "Command line", "the command line"));
    if (step.decoded_command) item.append(code(step.decoded_command, "PowerShell, decoded", "the script"));
    if (!step.command_line && step.arguments && step.alerts) item.append(code(step.arguments.join("\n"), "Arguments", "the arguments"));
    if (step.result && step.alerts) item.append(h("p", { class: "step-meta" }, `result: ${step.result}`));
    return step.host && incident ? [item, hostItem(step)] : [item];
  }

  const minorLine = (step, begin) => h("li", { class: "step-meta", "data-kind": step.kind }, h("span", {}, since(step, begin)), h("span", { class: "mono" },
    step.operation === "GetIDsOfNames" && step.arguments ? `${stepName(step)}: GetIDsOfNames(${step.arguments.join(", ")})` : stepName(step) + (step.kind === "call" && step.arguments ? `(${step.arguments.join(", ")})` : "")),
    outcome(step), frames(step) && h("span", {}, frames(step)), step.sealed_bytes !== undefined && h("span", {}, "sealed"));

  function chain(incident) {
    const begin = incident.steps.length ? incident.steps[0].at : incident.from;
    const all = h("ol", { class: "chain" });
    let items = all, run = [], told = 0;
    const flush = () => {
      if (run.length) items.append(h("li", { class: "minor" }, h("span", { class: "dot" }), h("details", {}, h("summary", {}, count(run.length, "further exchange", "further exchanges")), h("ol", {}, run.map((step) => minorLine(step, begin))))));
      run = [];
    };
    for (const step of incident.steps) {
      if (minor(step)) { run.push(step); continue; }
      flush();
      // A long chain is folded after its beginning.
      told += 1;
      if (told === MOST_STEPS + 1) {
        const rest = h("ol", { class: "chain" });
        const left = incident.steps.filter((other) => !minor(other)).length - MOST_STEPS;
        all.append(h("li", {}, h("span", { class: "dot" }), h("details", { class: "rest" }, h("summary", {}, count(left, "more step", "more steps")), rest)));
        items = rest;
      }
      items.append(...stepItem(step, begin, incident));
    }
    flush();
    items = all;
    if (incident.steps_left_out) items.append(h("li", { class: "step-meta" }, h("span", { class: "dot" }), `${count(incident.steps_left_out, "more exchange is", "more exchanges are")} in the log and not here.`));
    if (!incident.verdicts) items.append(h("li", { "data-kind": "host" }, h("span", { class: "dot" }), h("p", { class: "step-title" }, "Host: not asked"), h("p", { class: "step-meta" }, "No logs of the host were joined, so whether this had an effect on the host is not known here.")));
    return all;
  }

  // A link to ATT&CK, only for what has the form of its numbers.
  function technique([id, name]) {
    const words = name ? `${id} ${name}` : id;
    const form = /^T(\d{4})(?:\.(\d{3}))?$/.exec(id);
    if (!form) return h("li", {}, words);
    return h("li", {}, h("a", { href: `https://attack.mitre.org/techniques/T${form[1]}/${form[2] ? `${form[2]}/` : ""}`, rel: "noreferrer noopener", target: "_blank" }, words));
  }

  function cardBody(incident) {
    const because = [...new Set(incident.steps.filter((step) => step.alerts).flatMap((step) => step.because || []))];
    const part = (title, ...content) => h("div", {}, h("h3", {}, title), content);
    const details = h("div", { class: "details" },
      part("Evidence",
        h("p", { "data-evidence": incident.evidence }, incident.evidence ? [h("b", {}, incident.evidence), ` – ${meaning[incident.evidence] || ""}`] : "An alert without a DCOM exchange of its own."),
        because.length > 0 && list(because)),
      part("ATT&CK", h("ul", {}, (incident.techniques || []).map(technique)), incident.tactics && h("p", { class: "step-meta" }, incident.tactics.map(([id, name]) => `${id} ${name}`).join(", "))));
    if (incident.users || incident.runs_as) details.append(part("Accounts", incident.users && h("p", {}, incident.users.join(", ")), incident.runs_as && h("p", {}, `Runs there as ${incident.runs_as.join(", ")}`)));
    for (const [name, confidence, reasons] of incident.tools || []) {
      details.append(part("Tool, by how it writes", h("p", {}, h("b", {}, name), confidence && `, confidence ${confidence}`), reasons.length > 0 && more(count(reasons.length, "reason", "reasons"), list(reasons))));
    }
    details.append(part("Not visible", incident.unseen ? list(incident.unseen) : h("p", {}, "Nothing is known to be missing.")));
    if (incident.filters) {
      const filters = incident.filters.map((filter) => [
        filter.frames && code(filter.frames, `The frames that decide${filter.file ? `, in ${filter.file}` : ""}`, "the filter for the frames"),
        filter.connections && code(filter.connections, `The connections${filter.file ? `, in ${filter.file}` : ""}`, "the filter for the connections"),
      ]);
      details.append(h("div", { class: "wide packets" }, h("h3", {}, "Packets: display filters for Wireshark"), filters.slice(0, MOST_FILES),
        filters.length > MOST_FILES && more(count(filters.length - MOST_FILES, "more capture", "more captures"), filters.slice(MOST_FILES))));
    }
    return h("div", { class: "body" }, chain(incident), details);
  }

  function card(index, open) {
    const incident = data.incidents[index];
    const meta = [
      h("span", {}, `${between(incident.from, incident.to)} UTC`), h("span", {}, `${SEVERITIES[incident.severity]}, ${count(incident.alerts, "alert", "alerts")}`),
      incident.evidence && h("span", {}, `evidence: ${incident.evidence}${incident.concluded ? ", a conclusion" : ""}`),
      incident.verdicts ? incident.verdicts.map((verdict) => h("span", { class: `flag ${verdict}` }, VERDICTS[verdict] || verdict)) : h("span", {}, "not confirmed by a host"),
    ];
    const box = h("details", { class: `panel incident s${incident.severity}`, "data-incident": index },
      h("summary", {}, glyph(incident.severity), h("span", { class: "title" }, incident.title), h("span", { class: "chevron", "aria-hidden": "true" }, "›"), h("span", { class: "meta" }, meta)));
    const build = () => { if (box.children.length === 1) box.append(cardBody(incident)); };
    box.addEventListener("toggle", () => { if (box.open) build(); });
    if (open) { build(); box.open = true; }
    return h("li", {}, box);
  }

  function drawCards() {
    const few = shownIncidents.length <= 3;
    $("cards").replaceChildren(...shownIncidents.slice(0, page).map((index, number) => card(index, few || number === 0)));
    if (!shownIncidents.length) $("cards").append(h("li", { class: "panel empty" }, data.incidents.length ? "No incident fits the filter." : "There are no incidents."));
    moreButton();
  }
  function moreButton() {
    const left = shownIncidents.length - page;
    $("more").hidden = left <= 0;
    $("more").textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en-GB")}`;
  }
  $("more").addEventListener("click", () => {
    const next = shownIncidents.slice(page, page + PAGE);
    page += PAGE;
    const items = next.map((index) => card(index, false));
    $("cards").append(...items);
    moreButton();
    items[0].querySelector("summary").focus();
  });

  // Shows an incident, wherever it stands in the list.
  function reveal(index) {
    const place = shownIncidents.indexOf(index);
    if (place < 0) return;
    if (place >= page) {
      // Far down the list: on top of it, for now.
      $("cards").prepend(card(index, true));
    }
    const box = $("cards").querySelector(`[data-incident="${index}"]`);
    if (!box) return;
    if (!box.open) { if (box.children.length === 1) box.append(cardBody(data.incidents[index])); box.open = true; }
    box.scrollIntoView({ block: "start" });
    box.querySelector("summary").focus({ preventScroll: true });
  }

  // ---- The table: only the rows in sight exist --------------------------------------------------------------------------

  const oneDay = whole !== null && moment(data.rows[0][0]).slice(0, 10) === moment(data.rows[data.rows.length - 1][0]).slice(0, 10);
  $("table").classList.toggle("of-days", !oneDay);
  const COLUMNS = ["Time (UTC)", "Severity", "Source → target", "Class", "What", "Evidence"];
  let shownRows = [], sort = { by: 0, down: false };
  const rowHeight = () => (window.matchMedia("(max-width: 48rem)").matches ? 84 : 40);

  COLUMNS.forEach((name, index) => {
    const content = index < 2
      ? h("button", { type: "button", on: { click: () => { sort = { by: index, down: sort.by === index ? !sort.down : false }; sortRows(); headSort(); drawRows(); } } }, name)
      : name;
    $("columns").append(h("div", { role: "columnheader" }, content));
  });
  function headSort() {
    [...$("columns").children].forEach((cell, index) => {
      if (index === sort.by) cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  }
  function sortRows() {
    const way = sort.down ? -1 : 1, by = sort.by;
    shownRows.sort((a, b) => way * (a[by] - b[by]) || a[0] - b[0]);
  }
  function rowElement(row, number) {
    const [at, severity, signature, klass, what, evidence, verdict, incident] = row;
    const { source, target } = data.incidents[incident];
    const cell = (name, ...content) => h("div", { role: "cell", class: `cell-${name}` }, content);
    const doing = data.texts[what], text = data.signatures[signature].text;
    const words = doing ? `${doing} – ${text}` : text, who = `${source || "?"} → ${target || "?"}`;
    const element = h("div", { role: "row", class: `row s${severity}`, "aria-rowindex": number + 2, tabindex: 0,
      on: { click: () => reveal(incident), keydown: (event) => { if (event.key === "Enter") reveal(incident); } } },
      cell("time", precise(at).slice(oneDay ? 11 : 0, 23)), cell("severity", glyph(severity), SEVERITIES[severity]), cell("who", who),
      cell("class", data.texts[klass]), cell("what", words), cell("evidence", data.texts[verdict] ? (VERDICTS[data.texts[verdict]] || data.texts[verdict]) : data.texts[evidence]));
    element.querySelector(".cell-what").title = words;
    element.querySelector(".cell-who").title = who;
    return element;
  }
  function drawRows() {
    const body = $("rows"), tall = rowHeight();
    $("spacer").style.height = `${Math.max(1, shownRows.length) * tall}px`;
    body.style.height = `${Math.max(1, shownRows.length) * tall}px`;
    const first = Math.max(0, Math.floor(body.scrollTop / tall) - 6);
    const last = Math.min(shownRows.length, first + Math.ceil((body.clientHeight || 464) / tall) + 12);
    const elements = [];
    for (let number = first; number < last; number += 1) {
      const element = rowElement(shownRows[number], number);
      element.style.transform = `translateY(${number * tall}px)`;
      elements.push(element);
    }
    if (!shownRows.length) elements.push(h("p", { class: "empty", role: "row" }, h("span", { role: "cell" }, data.rows.length ? "No alert fits the filter." : "There are no alerts.")));
    $("table").setAttribute("aria-rowcount", shownRows.length + 1);
    $("spacer").replaceChildren(...elements);
  }
  let waiting = false;
  $("rows").addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawRows(); });
  });

  // ---- Filter -----------------------------------------------------------------------------------------------------

  for (const severity of [1, 2, 3, 4, 5]) {
    if (!data.counts[severity - 1]) continue;
    $("severities").append(h("button", { type: "button", class: `s${severity}`, "aria-pressed": "true", "data-severity": severity, on: { click: (event) => {
      if (state.severities.has(severity)) state.severities.delete(severity); else state.severities.add(severity);
      event.currentTarget.setAttribute("aria-pressed", state.severities.has(severity));
      update();
    } } }, glyph(severity), SEVERITIES[severity]));
  }
  let typing;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean); update(); }, 120);
  });

  function drawChips() {
    const chips = [];
    if (state.edge !== null) {
      const edge = data.graph.edges[state.edge], { nodes } = data.graph;
      chips.push(h("button", { type: "button", on: { click: () => { state.edge = null; update(); drawGraph(); } } }, `${nodes[edge.from].label} → ${nodes[edge.to].label} ✕`));
    }
    if (state.time) chips.push(h("button", { type: "button", on: { click: () => zoomTo(...whole) } }, `${between(...state.time)} ✕`));
    $("chips").replaceChildren(...chips);
    $("chips").hidden = !chips.length;
  }

  function update() {
    shownIncidents = data.incidents.map((incident, index) => index).filter(incidentShows);
    shownRows = data.rows.filter(rowShows);
    sortRows();
    page = PAGE;
    $("rows").scrollTop = 0;
    $("shown").textContent = `${count(shownIncidents.length, "incident", "incidents")}, ${count(shownRows.length, "alert", "alerts")}`;
    drawChips();
    drawTimeline();
    drawCards();
    drawRows();
  }

  // ---- What was not visible, and the foot --------------------------------------------------------------------------------

  function sentences(element, items, nothing) {
    if (!data.read) nothing = "The log has no stats record, so this is not known.";
    element.append(...items.map(({ what, advice }) => h("li", {}, what, advice && h("small", {}, advice))));
    if (!items.length) element.append(h("li", {}, nothing));
  }
  sentences($("hidden"), data.hidden, "All that was followed could be read.");
  const health = data.health.map(({ signature, count: times, first, last }) => ({ what: `${data.signatures[signature].text} (${data.signatures[signature].id}), ${count(times, "time", "times")}, ${between(first, last)} UTC.` }));
  const unread = data.inputs.filter((input) => !input.whole).map((input) => ({ what: `${input.name} could not be read, or not to its end.` }));
  const left = data.left_out ? [{ what: `${count(data.left_out, "alert is", "alerts are")} counted above and not listed: there was no room for so many.` }] : [];
  sentences($("loss"), [...unread, ...health, ...data.loss, ...left], "The counters tell of no loss.");
  if (data.oddities.length) {
    $("oddities-panel").hidden = false;
    $("oddities").append(...data.oddities.map(([name, number]) => h("li", {}, h("span", { class: "mono" }, name), ` × ${number.toLocaleString("en-GB")}`)));
  }
  const whenRead = data.span ? `Events from ${moment(data.span[0])} to ${moment(data.span[1])} UTC.` : "There are no events.";
  $("read").textContent = data.read
    ? `${whenRead} ${count(data.read[0], "packet", "packets")}, ${count(data.read[1], "RPC connection", "RPC connections")}, ${count(data.read[2], "activation", "activations")}.` : whenRead;
  $("inputs").append(...data.inputs.map((input) => h("li", {}, `${input.name}: ${count(input.lines, "line", "lines")}${input.bad ? `, ${input.bad.toLocaleString("en-GB")} of them no events` : ""}${input.whole ? "" : ", not read to its end"}`)));

  // ---- Paper: what is folded is unfolded, as far as that is sensible --------------------------------------------------------

  const MOST_CARDS = 40, MOST_ROWS = 150;
  window.addEventListener("beforeprint", () => {
    const boxes = shownIncidents.slice(0, MOST_CARDS);
    $("cards").replaceChildren(...boxes.map((index) => card(index, true)));
    for (const inner of $("cards").querySelectorAll(".details details, .rest")) inner.open = true;
    const leftOut = shownIncidents.length - boxes.length;
    $("cards-left").textContent = leftOut > 0 ? `${count(leftOut, "more incident is", "more incidents are")} in the file and not on paper.` : "";
    $("spacer").replaceChildren(...shownRows.slice(0, MOST_ROWS).map(rowElement));
    const rowsLeft = shownRows.length - MOST_ROWS;
    $("rows-left").textContent = rowsLeft > 0 ? `${count(rowsLeft, "more alert is", "more alerts are")} in the file and not on paper.` : "";
  });
  window.addEventListener("afterprint", () => { drawCards(); drawRows(); });

  let resizing, lastWidth = window.innerWidth;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (window.innerWidth === lastWidth) return;
      lastWidth = window.innerWidth;
      drawGraph(); drawTimeline(); drawRows();
    }, 100);
  });

  graphText();
  headSort();
  drawGraph();
  update();
  if (!data.incidents.length) for (const id of ["filter", "incidents", "alerts"]) $(id).hidden = true;
})();
