// Owns the live comparison with the pinned Pillow: fresh random pictures, every tile equal to the byte.
import { TileError } from "../../../edge/tile/mod.ts";
import { ensurePillow } from "../../../infra/tools/python.ts";
import { checked, concat, type GoldenCase, limits, newTiler, sha256, SMALL } from "../../tile/support.ts";

/** What compare.py prints: a picture and Pillow's tiles of it, or why Pillow refuses it. */
type Line = GoldenCase & { readonly data: string; readonly refused?: string };

const SCRIPT = new URL("./compare.py", import.meta.url).pathname;

/** Tiles `numPictures` made from `seed`; says how many differ, and whether all came and none did. */
export async function compareTiler(numPictures: number, seed: number): Promise<boolean> {
  const child = new Deno.Command(await ensurePillow(), {
    args: [SCRIPT, String(numPictures), String(seed)],
    stdout: "piped",
  }).spawn();
  const seen: Record<string, number> = {};
  let numDifferent = 0;
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const picture: Line = JSON.parse(line);
      const kind = picture.refused === undefined ? picture.file : `${picture.file} Pillow refuses`;
      seen[kind] = (seen[kind] ?? 0) + 1;
      if (await differs(picture)) numDifferent++;
    }
  }
  const { success } = await child.status;
  const numSeen = Object.values(seen).reduce((sum, count) => sum + count, 0);
  const kinds = Object.entries(seen).map(([kind, count]) => `${kind} ${count}`).join(", ");
  console.log(`${numSeen} pictures from seed ${seed} (${kinds}): ${numDifferent} differ from Pillow 13.0.0`);
  return success && numSeen === numPictures && numDifferent === 0;
}

async function differs({ data, refused, ...golden }: Line): Promise<boolean> {
  let actual: string;
  try {
    const image = newTiler().tile(Uint8Array.fromBase64(data), checked(golden.options ?? SMALL), limits);
    actual = `${image.sourceWidth}x${image.sourceHeight} ${image.cols}x${image.rows} ${await sha256(concat(image.tiles))}`;
  } catch (error) {
    actual = String(error);
    if (!(error instanceof TileError) || error.cause !== undefined) actual = `a trap: ${actual}`;
  }
  if (refused !== undefined && !actual.startsWith("a trap")) return false;
  const expected = `${golden.sourceWidth}x${golden.sourceHeight} ${golden.cols}x${golden.rows} ${golden.hash}`;
  if (actual === expected) return false;
  console.error(`DIFFERENT ${golden.file} ${JSON.stringify(golden.options)}: ${actual}, expected ${expected}`);
  return true;
}
