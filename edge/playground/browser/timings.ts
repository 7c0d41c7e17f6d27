/** Where an answer's time went, as a bar with its legend. */
import { make, milliseconds } from "./dom.ts";

type Timings = Readonly<Record<string, number>>;

/** Stages in order, as the server names them; colours told apart by everybody, in light and in dark. */
const STAGES: readonly (readonly [name: string, label: string, color: string])[] = [
  ["fetch_ms", "Fetch", "#8da0b3"],
  ["decode_ms", "Decode", "#0f8b8d"],
  ["tile_ms", "Tile", "#4cb963"],
  ["queue_ms", "Queue", "#b0b7c0"],
  ["wait_ms", "Wait", "#7c8594"],
  ["vision_ms", "Vision", "#e08e1b"],
  ["prefill_ms", "Prefill", "#c0504d"],
  ["generate_ms", "Generate", "#4a6fe3"],
];

export function timingsView(timings: Timings, numTokens: number): HTMLElement {
  const stages = STAGES.map(([name, label, color]) => ({ label, color, ms: timings[name] ?? 0 }));
  const sum = Math.max(stages.reduce((all, { ms }) => all + ms, 0), 0.001);
  const bar = make("div", { className: "bar" });
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", stages.map(({ label, ms }) => `${label} ${milliseconds(ms)}`).join(", "));
  for (const { color, ms } of stages) {
    if (ms === 0) continue;
    const piece = make("span");
    piece.style.width = `${ms / sum * 100}%`;
    piece.style.background = color;
    bar.append(piece);
  }
  const legend = stages.map(({ label, color, ms }) => {
    const dot = make("span", { className: "dot" });
    dot.style.background = color;
    return make("li", {}, make("span", {}, dot, label), milliseconds(ms));
  });
  const total = timings["total_ms"] ?? 0;
  const first = timings["first_token_ms"] ?? 0;
  const pace = total > first ? (numTokens - 1) / (total - first) * 1000 : 0;
  return make(
    "div",
    {},
    bar,
    make("ul", { className: "stages" }, ...legend),
    make(
      "p",
      { className: "faint" },
      `First word after ${milliseconds(first)}, all after ${milliseconds(total)}` +
        `${pace > 0 ? `, ${pace.toFixed(0)} tokens/s` : ""}.`,
    ),
  );
}
