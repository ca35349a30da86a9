"use strict";
// Draws the timeline and the curves below it. Times are in seconds since the run began.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [timeline, curves, hint] = ["timeline", "curves", "hint"].map((id) => document.getElementById(id));
  const wall = data.wall || 1;
  const rows = data.names.length;
  const view = { from: 0, to: wall };
  // Room above the rows for marks, and below for the times.
  const HEAD = data.marks.some(([at]) => at > wall / 1000) ? 12 : 0;
  const AXIS = 24;
  const CURVES = 132;
  const RESTING = "Drag to move; + and − or the wheel with Ctrl to zoom, also by keys: + − ← → 0 when the timeline has the focus. " +
    "Point at a chunk to see what it was.";

  const lanes = (data.bars || []).map((numbers) => {
    let free = 0;
    const bars = [];
    for (let k = 0; k < numbers.length; k += 5) {
      const [gap, length, state, first, count] = numbers.slice(k, k + 5);
      const from = free + gap;
      free = from + length;
      bars.push({ from: from * data.tick, to: free * data.tick, state, first, count });
    }
    return bars;
  });
  const SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
  const cells = data.cells ? Uint8Array.from(data.cells, (sign) => SIGNS.indexOf(sign)) : null;

  let colours;
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue("--" + name).trim();
    colours = { text: colour("text"), faint: colour("faint"), line: colour("line"), track: colour("track"), rate: colour("rate") };
    colours.states = data.states.map(colour);
  }

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  // The place of the drawing inside a canvas, which is made as large as it is shown.
  function prepare(canvas, height) {
    const scale = window.devicePixelRatio || 1;
    canvas.style.height = height + "px";
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    pen.textBaseline = "middle";
    return [pen, plotOf(canvas)];
  }

  // Where time runs from left to right: there is room for names and numbers beside it.
  function plotOf(canvas) {
    const left = canvas.clientWidth > 700 ? 150 : 48;
    const width = Math.max(canvas.clientWidth - left - 46, 10);
    const span = view.to - view.from;
    return {
      left,
      width,
      x: (time) => left + ((time - view.from) / span) * width,
      time: (x) => view.from + ((x - left) / width) * span,
    };
  }

  const rowHeight = () => Math.max(1, Math.min(22, Math.floor(420 / Math.max(rows, 1))));

  function drawTimeline() {
    const height = rowHeight();
    const bottom = HEAD + Math.max(rows * height, 20);
    const [pen, plot] = prepare(timeline, bottom + AXIS);
    pen.fillStyle = colours.track;
    pen.fillRect(plot.left, HEAD, plot.width, bottom - HEAD);
    pen.save();
    pen.beginPath();
    pen.rect(plot.left, 0, plot.width, bottom);
    pen.clip();
    if (cells) drawCells(pen, plot, height);
    else drawBars(pen, plot, height);
    drawMarks(pen, plot, bottom);
    pen.restore();
    drawNames(pen, plot, height);
    drawAxis(pen, plot, bottom);
  }

  function drawBars(pen, plot, height) {
    const gap = height > 3 ? 1 : 0;
    // What matters more lies on top.
    data.states.forEach((_, state) => {
      pen.fillStyle = colours.states[state];
      lanes.forEach((bars, row) => {
        for (const bar of bars) {
          if (bar.state !== state || bar.to < view.from || bar.from > view.to) continue;
          const [from, to] = [plot.x(bar.from), plot.x(bar.to)];
          const width = to - from;
          pen.fillRect(from, HEAD + row * height, Math.max(width - (width > 4 ? 1 : 0), state ? 1.5 : 0.6), height - gap);
        }
      });
    });
  }

  function drawCells(pen, plot, height) {
    const width = Math.round(plot.width);
    const image = new ImageData(width, rows);
    const ground = rgb(colours.track);
    const inks = colours.states.map(rgb);
    const states = data.states.length;
    const column = (x) => (plot.time(plot.left + x) / wall) * data.columns;
    for (let row = 0; row < rows; row++) {
      for (let x = 0; x < width; x++) {
        const first = Math.max(0, Math.floor(column(x)));
        const last = Math.min(data.columns, Math.max(first + 1, Math.floor(column(x + 1))));
        let [shade, state] = [0, 0];
        for (let k = first; k < last; k++) {
          const cell = cells[row * data.columns + k];
          shade += Math.floor(cell / states);
          if (cell) state = Math.max(state, cell % states);
        }
        const part = shade / (data.shades * Math.max(last - first, 1));
        const ink = part ? 0.2 + 0.8 * part : 0;
        const at = 4 * (row * width + x);
        for (let k = 0; k < 3; k++) image.data[at + k] = ground[k] + (inks[state][k] - ground[k]) * ink;
        image.data[at + 3] = 255;
      }
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, rows];
    canvas.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(canvas, plot.left, HEAD, plot.width, rows * height);
  }

  function drawMarks(pen, plot, bottom) {
    for (const [at, what] of data.marks) {
      const x = plot.x(at);
      if (what === "lost") {
        pen.fillStyle = colours.states[data.states.indexOf("lost")];
        pen.beginPath();
        pen.moveTo(x - 5, 1);
        pen.lineTo(x + 5, 1);
        pen.lineTo(x, HEAD - 1);
        pen.fill();
      } else if (what === "joined") {
        pen.strokeStyle = colours.states[data.states.indexOf("lost")];
        pen.beginPath();
        pen.moveTo(x, 2);
        pen.lineTo(x + 4, HEAD - 2);
        pen.lineTo(x - 4, HEAD - 2);
        pen.closePath();
        pen.stroke();
      } else if (at > wall / 1000) {
        pen.strokeStyle = what === "drained" ? colours.states[data.states.indexOf("drained")] : colours.text;
        pen.setLineDash([5, 3]);
        pen.beginPath();
        pen.moveTo(x, 0);
        pen.lineTo(x, bottom);
        pen.stroke();
        pen.setLineDash([]);
      }
    }
  }

  function drawNames(pen, plot, height) {
    const every = Math.ceil(14 / height);
    pen.fillStyle = colours.faint;
    pen.textAlign = "right";
    for (let row = 0; row < rows; row += every) {
      const name = plot.left > 100 ? data.names[row] : String(row);
      pen.fillText(fitting(pen, name, plot.left - 12), plot.left - 8, HEAD + row * height + Math.max(height, 12) / 2);
    }
  }

  function fitting(pen, text, width) {
    if (pen.measureText(text).width <= width) return text;
    let length = text.length;
    while (length > 1 && pen.measureText(text.slice(0, length) + "…").width > width) length--;
    return text.slice(0, length) + "…";
  }

  // A round step of which about `count` fill the span.
  function step(span, count) {
    const power = 10 ** Math.floor(Math.log10(span / count));
    return power * ([1, 2, 5].find((factor) => span / (factor * power) <= count) || 10);
  }

  function drawAxis(pen, plot, bottom) {
    const span = view.to - view.from;
    const width = step(span, Math.max(2, plot.width / 90));
    const digits = Math.max(0, -Math.floor(Math.log10(width)));
    pen.fillStyle = colours.faint;
    pen.textAlign = "center";
    for (let at = Math.ceil(view.from / width) * width; at <= view.to; at += width) {
      pen.fillRect(plot.x(at), bottom, 1, 4);
      pen.fillText(at.toFixed(digits) + " s", plot.x(at), bottom + 14);
    }
  }

  function drawCurves() {
    const [pen, plot] = prepare(curves, CURVES + AXIS);
    const [top, bottom] = [20, CURVES];
    const peak = Math.max(...data.rate, 1e-12);
    const edge = (k) => plot.x((k / data.points) * wall);
    const trace = (values, most) => {
      pen.beginPath();
      values.forEach((value, k) => {
        const y = bottom - (value / most) * (bottom - top);
        pen.lineTo(edge(k), y);
        pen.lineTo(edge(k + 1), y);
      });
    };
    pen.fillStyle = colours.faint;
    pen.textAlign = "right";
    for (const percent of [0, 50, 100]) {
      const y = bottom - (percent / 100) * (bottom - top);
      pen.fillText(percent + " %", plot.left - 6, y);
      pen.globalAlpha = 0.35;
      pen.fillRect(plot.left, y, plot.width, 1);
      pen.globalAlpha = 1;
    }
    pen.textAlign = "left";
    pen.fillText(short(peak), plot.left + plot.width + 5, top);
    pen.fillText("0", plot.left + plot.width + 5, bottom);
    pen.save();
    pen.beginPath();
    pen.rect(plot.left, 0, plot.width, CURVES + 1);
    pen.clip();
    trace(data.utilisation, 1000);
    pen.lineTo(edge(data.points), bottom);
    pen.lineTo(edge(0), bottom);
    pen.globalAlpha = 0.45;
    pen.fillStyle = colours.states[0];
    pen.fill();
    pen.globalAlpha = 1;
    trace(data.rate, peak);
    pen.strokeStyle = colours.rate;
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.restore();
    legend(pen, plot.left, colours.states[0], "utilisation (left)", 0.45);
    legend(pen, plot.left + 140, colours.rate, "tasks/s (right)", 1);
    drawAxis(pen, plot, bottom);
  }

  function legend(pen, x, colour, text, alpha) {
    pen.globalAlpha = alpha;
    pen.fillStyle = colour;
    pen.fillRect(x, 2, 12, 10);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.text;
    pen.textAlign = "left";
    pen.fillText(text, x + 18, 7);
  }

  const short = (value) => (value < 1000 ? Number(value.toPrecision(3)) : value.toExponential(1)).toString().replace("e+", "e");

  function draw() {
    drawTimeline();
    drawCurves();
    const { dataset } = document.documentElement;
    dataset.drawn = (cells ? "cells" : "bars") + " in " + rows + " rows";
    dataset.view = view.from + " to " + view.to;
  }

  let asked = false;
  function redraw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  }

  // Shows `span` seconds, with `anchor` where it is; never more than the run, never less than a millionth of it.
  function zoom(factor, anchor) {
    const span = Math.min(wall, Math.max(wall / 1e6, (view.to - view.from) * factor));
    const part = (anchor - view.from) / (view.to - view.from);
    show(anchor - part * span, span);
  }

  function show(from, span) {
    view.from = Math.min(Math.max(0, from), wall - span);
    view.to = view.from + span;
    redraw();
  }

  const middle = () => (view.from + view.to) / 2;
  const move = (part) => show(view.from + part * (view.to - view.from), view.to - view.from);

  const timeAt = (event) => plotOf(event.currentTarget).time(event.offsetX);

  const seconds = (time) => (time < 1 ? (time * 1000).toPrecision(3) + " ms" : time.toPrecision(4) + " s");

  function tell(event) {
    const row = Math.floor((event.offsetY - HEAD) / rowHeight());
    const time = timeAt(event);
    const reach = (view.to - view.from) / 200;
    const near = data.marks.filter(([at]) => Math.abs(at - time) < reach).slice(0, 3);
    let text = near.map(([at, , told]) => "At " + seconds(at) + ": " + told + ". ").join("");
    if (row >= 0 && row < rows && time >= 0 && time <= wall) text += told(row, time);
    hint.textContent = text || RESTING;
  }

  function told(row, time) {
    const name = data.names[row] + ", " + seconds(time) + ": ";
    if (cells) {
      const cell = cells[row * data.columns + Math.min(data.columns - 1, Math.floor((time / wall) * data.columns))];
      const busy = Math.floor(cell / data.states.length) / data.shades;
      return name + Math.round(100 * busy) + " % busy" + (cell % data.states.length ? ", some " + data.states[cell % data.states.length] : "");
    }
    const bar = lanes[row].find((bar) => bar.from <= time && time <= bar.to);
    if (!bar) return name + "waits";
    const tasks = bar.count > 1 ? "tasks " + bar.first + " to " + (bar.first + bar.count - 1) : "task " + bar.first;
    return name + (bar.count ? tasks + ", " : "") + data.states[bar.state] + ", " + seconds(bar.to - bar.from);
  }

  for (const canvas of [timeline, curves]) {
    let grip = null;
    canvas.addEventListener("pointerdown", (event) => {
      grip = { x: event.clientX, from: view.from };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (grip && event.buttons) {
        const span = view.to - view.from;
        show(grip.from - ((event.clientX - grip.x) / plotOf(canvas).width) * span, span);
      } else if (canvas === timeline) {
        tell(event);
      }
    });
    canvas.addEventListener("pointerup", () => (grip = null));
    canvas.addEventListener("dblclick", () => show(0, wall));
    // The page scrolls by the wheel unless it is meant for the drawing.
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== timeline) return;
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX / 1000);
      else zoom(Math.exp(event.deltaY / 400), timeAt(event));
    }, { passive: false });
  }
  timeline.addEventListener("pointerleave", () => (hint.textContent = RESTING));
  timeline.addEventListener("keydown", (event) => {
    const keys = {
      "+": () => zoom(0.5, middle()), "=": () => zoom(0.5, middle()), "-": () => zoom(2, middle()), 0: () => show(0, wall),
      Home: () => show(0, wall), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
    };
    if (event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    const factor = Number(button.dataset.zoom);
    if (factor) zoom(factor, middle());
    else show(0, wall);
  }));
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    redraw();
  });
  readColours();
  hint.textContent = RESTING;
  draw();
})();
