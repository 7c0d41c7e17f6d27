// Owns the proof that damaged input is refused with the right reason and never breaks a worker.
import assert from "node:assert/strict";
import { TILE_REASONS, TileError, type TileReason } from "../../edge/tile/mod.ts";
import { checked, limits, newTiler, picture, pictureNames, SMALL } from "./support.ts";

function reason(bytes: Uint8Array): TileReason | "fine" {
  try {
    newTilerOnce.tile(bytes, checked(SMALL), limits);
    return "fine";
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    assert.equal(error.cause, undefined, `a trap: ${error.message}`);
    return error.reason;
  }
}

const newTilerOnce = newTiler();

Deno.test("what is no picture is refused by its first bytes", () => {
  const text = (text: string) => new TextEncoder().encode(text);
  assert.equal(reason(new Uint8Array()), "empty");
  for (
    const other of [
      text("hello, this is no picture"),
      text("<svg xmlns='http://www.w3.org/2000/svg'/>"),
      text("II*\0 a TIFF file"),
      text("\0\0\0\x20ftypavif and so on"),
      text("RIFF\x10\0\0\0WAVEfmt "),
      text("%PDF-1.7"),
      new Uint8Array(100),
    ]
  ) {
    assert.equal(reason(other), "unsupported_format");
  }
});

Deno.test("a file cut anywhere is truncated, whatever its name says", () => {
  for (const file of pictureNames()) {
    const bytes = picture(file);
    for (const share of [0.02, 0.2, 0.5, 0.8]) {
      const cut = bytes.subarray(0, Math.ceil(bytes.length * share));
      // Of an animation only the first frame is wanted; the rest may be missing where the format allows it.
      if (file === "animated.gif" && reason(cut) === "fine") continue;
      assert.equal(reason(cut), "truncated", `${file} cut to ${cut.length} of ${bytes.length} bytes`);
    }
  }
});

Deno.test("a known beginning with junk behind it is refused, not tiled", () => {
  const junk = Uint8Array.from({ length: 4000 }, (_, index) => (index * 7919) >> 3 & 255);
  for (const file of ["420.jpg", "rgb8.png", "lossy.webp", "plain.gif", "rgb24.bmp"]) {
    const start = picture(file).subarray(0, 12);
    assert.notEqual(reason(new Uint8Array([...start, ...junk])), "fine", file);
  }
});

Deno.test("public messages are sentences without internals", () => {
  for (const reason of Object.keys(TILE_REASONS) as TileReason[]) {
    const error = new TileError(reason, "src/formats/png.rs:12 at 0x7f", { cause: new Error("x") });
    assert.match(error.publicMessage, /^[A-Z][^/\\_]+\.$/);
    assert.match(error.message, /png\.rs/);
  }
});
