/** Owns where the colour samples of a video lie between its pixels: read from FFmpeg's log, told to its filters. */

/** In 1/256 of a pixel, right and down of the first pixel's middle; null: the filter's default. */
export interface ChromaPosition {
  readonly h: number | null;
  readonly v: number | null;
}

/** By the names FFmpeg prints when it is verbose. */
const POSITIONS: Readonly<Record<string, { readonly h: number; readonly v: number }>> = {
  left: { h: 0, v: 128 },
  center: { h: 128, v: 128 },
  topleft: { h: 0, v: 0 },
  top: { h: 128, v: 0 },
  bottomleft: { h: 0, v: 256 },
  bottom: { h: 128, v: 256 },
};

/**
 * Of a line such as "Stream #0:0: Video: hevc (Main 10), yuv420p10le(tv, progressive, topleft), 64x48". The filter that
 * converts does not heed what a file says by itself; for more than eight bits it makes a difference.
 */
export function chromaPosition(streamLine: string): ChromaPosition {
  const [, layout, notes = ""] = /, \w*?(420|422)\w*\(([^()]*)\)/.exec(streamLine) ?? [];
  const position = notes.split(", ").map((note) => POSITIONS[note]).find((found) => found !== undefined);
  if (position === undefined) return { h: null, v: null };
  // Colour is stored for every row of 4:2:2: between rows there is no place to choose.
  return { h: position.h, v: layout === "420" ? position.v : null };
}
