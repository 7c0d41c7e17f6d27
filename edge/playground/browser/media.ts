/** Pictures and videos of the next question: taken from files, the clipboard or an address, shown with their tiles. */
import { askJson } from "./api.ts";
import { make } from "./dom.ts";

export interface Medium {
  readonly kind: "image" | "video";
  readonly name: string;
  /** data: or https: */
  readonly url: string;
  readonly type: string;
  /** What the page shows of it. */
  readonly view: HTMLElement;
  /** What it will cost; told under it. */
  note: string;
  isBad: boolean;
}

interface Inspection {
  readonly width: number;
  readonly height: number;
  readonly cols: number;
  readonly rows: number;
  readonly tiles: number;
  readonly tokens: number;
  readonly error?: { readonly message: string };
}

/** Longer side of a picture on the page, in CSS pixels. */
const SHOWN = 300;

export async function fromFile(file: File): Promise<Medium> {
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  return medium(file.type.startsWith("video/") ? "video" : "image", file.name, url, file.type);
}

export function fromAddress(address: string): Medium {
  const isVideo = /\.(mp4|mov|webm|mkv)(\?|#|$)/i.test(address);
  return medium(isVideo ? "video" : "image", address, address, "");
}

function medium(kind: Medium["kind"], name: string, url: string, type: string): Medium {
  const view = kind === "video"
    ? make("video", { src: url, controls: true, muted: true, width: SHOWN })
    : make("canvas");
  view.setAttribute("aria-label", name);
  if (kind === "image") view.setAttribute("role", "img");
  return {
    kind,
    name,
    url,
    type,
    view,
    note: kind === "video" ? "Video: one tile a frame." : "Looking …",
    isBad: false,
  };
}

/** Asks for the tiles of a picture and draws them over it. */
export async function look(medium: Medium, model: string, maxTiles: number | null): Promise<void> {
  if (medium.kind === "video") return;
  const { data } = await askJson<{ data: Inspection[] }>("v1/images/inspect", {
    images: [{ url: medium.url, ...(maxTiles === null ? {} : { max_dynamic_patch: maxTiles }) }],
    ...(model === "" ? {} : { model }),
  });
  const found = data[0]!;
  medium.isBad = found.error !== undefined;
  medium.note = found.error?.message ??
    `${found.width} × ${found.height}: ${gridText(found)}, ${found.tokens} tokens`;
  const canvas = medium.view as HTMLCanvasElement;
  canvas.setAttribute("aria-label", `${medium.name}: ${medium.note}`);
  await draw(canvas, medium.url, medium.isBad ? null : found);
}

function gridText({ cols, rows, tiles }: Inspection): string {
  if (tiles === 1) return "one tile";
  return `${cols} × ${rows} tiles${tiles > cols * rows ? " and the whole" : ""}`;
}

async function draw(canvas: HTMLCanvasElement, url: string, grid: Inspection | null): Promise<void> {
  const image = new Image();
  image.src = url;
  const isShown = await image.decode().then(() => true, () => false);
  const width = grid?.width ?? (image.naturalWidth || 4);
  const height = grid?.height ?? (image.naturalHeight || 3);
  const scale = SHOWN / Math.max(width, height);
  const sharp = devicePixelRatio;
  canvas.style.width = `${Math.round(width * scale)}px`;
  canvas.width = Math.round(width * scale * sharp);
  canvas.height = Math.round(height * scale * sharp);
  const context = canvas.getContext("2d")!;
  if (isShown) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (grid === null) return;
  // Dark below light, so that the lines are seen on every picture.
  for (const [color, lineWidth] of [["#000a", 3 * sharp], ["#fff", sharp]] as const) {
    context.strokeStyle = color;
    context.lineWidth = lineWidth;
    context.beginPath();
    for (let col = 1; col < grid.cols; col++) line(context, canvas.width * col / grid.cols, "across");
    for (let row = 1; row < grid.rows; row++) line(context, canvas.height * row / grid.rows, "down");
    context.stroke();
  }
}

function line(context: CanvasRenderingContext2D, at: number, way: "across" | "down"): void {
  const { width, height } = context.canvas;
  context.moveTo(way === "across" ? at : 0, way === "across" ? 0 : at);
  context.lineTo(way === "across" ? at : width, way === "across" ? height : at);
}
