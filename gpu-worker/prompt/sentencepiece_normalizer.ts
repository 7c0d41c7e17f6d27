/** Text as a SentencePiece model wants it: its own rules (nmt_nfkc and the like), spaces as U+2581, a space in front. */
import type { NormalizerSpec } from "./sentencepiece_file.ts";
import type { Sliced } from "./slices.ts";

/** What a space is in pieces. */
export const SPACE = "\u2581";
/** Characters between two places to rest. */
const CHARS_PER_STEP = 8_192;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class SentencePieceNormalizer {
  readonly #spec: NormalizerSpec;
  readonly #rules: CharsMap | null;
  /** As UTF-8, longest first, by their first byte. */
  readonly #fixed = new Map<number, Uint8Array[]>();

  /** @param fixed texts that no rule touches: user-defined pieces */
  constructor(spec: NormalizerSpec, fixed: readonly string[]) {
    this.#spec = spec;
    this.#rules = spec.charsMap.length === 0 ? null : new CharsMap(spec.charsMap);
    for (const bytes of fixed.map((text) => encoder.encode(text)).sort((a, b) => b.length - a.length)) {
      const first = bytes[0]!;
      this.#fixed.set(first, [...this.#fixed.get(first) ?? [], bytes]);
    }
  }

  *normalize(text: string): Sliced<string> {
    const { addsDummyPrefix, removesExtraSpaces, escapesSpaces } = this.#spec;
    const space = escapesSpaces ? SPACE : " ";
    const whole = text.toWellFormed();
    let source = this.#rules === null ? whole : yield* this.#applyRules(whole, this.#rules);
    // As in the library: spaces that rules made count, U+2581 that was typed does not.
    if (removesExtraSpaces) source = source.replace(/^ +/, "").replace(/ {2,}/g, " ");
    if (source === "") return "";
    let result = `${addsDummyPrefix ? " " : ""}${source}`.replaceAll(" ", space);
    if (removesExtraSpaces) {
      while (result.endsWith(space)) result = result.slice(0, -space.length);
    }
    return result;
  }

  *#applyRules(text: string, rules: CharsMap): Sliced<string> {
    const bytes = encoder.encode(text);
    const parts: string[] = [];
    /** Bytes from here on stay as they are, so far. */
    let kept = 0;
    let at = 0;
    let numChars = 0;
    while (at < bytes.length) {
      if (++numChars % CHARS_PER_STEP === 0) yield;
      const fixed = this.#fixedAt(bytes, at);
      if (fixed > 0) {
        at += fixed;
        continue;
      }
      const rule = rules.longest(bytes, at);
      if (rule === null) {
        at += lengthOfChar(bytes[at]!);
        continue;
      }
      parts.push(decoder.decode(bytes.subarray(kept, at)), rule.text);
      at += rule.length;
      kept = at;
    }
    parts.push(decoder.decode(bytes.subarray(kept)));
    return parts.join("");
  }

  #fixedAt(bytes: Uint8Array, at: number): number {
    const fixed = this.#fixed.get(bytes[at]!)?.find((wanted) => wanted.every((byte, i) => bytes[at + i] === byte));
    return fixed?.length ?? 0;
  }
}

/** Compiled rules: a double-array trie (darts-clone's layout) over UTF-8, and the texts its values point to. */
class CharsMap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #decoded = new Map<number, string>();

  constructor(blob: Uint8Array) {
    const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    const size = blob.length < 4 ? Infinity : view.getUint32(0, true);
    if (size % 4 !== 0 || 4 + size > blob.length) throw new Error("Cannot read SentencePiece model: damaged charsmap");
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#texts = blob.subarray(4 + size);
  }

  /** The longest rule that matches at a place. */
  longest(bytes: Uint8Array, start: number): { readonly length: number; readonly text: string } | null {
    const units = this.#units;
    let node = offsetOf(units[0]!);
    let length = 0, value = 0;
    for (let at = start; at < bytes.length; at++) {
      node ^= bytes[at]!;
      const unit = units[node];
      // The label, and the bit that tells a leaf.
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== bytes[at]) break;
      node ^= offsetOf(unit);
      if ((unit >>> 8) & 1) {
        length = at + 1 - start;
        value = units[node]! & 0x7fffffff;
      }
    }
    return length === 0 ? null : { length, text: this.#textAt(value) };
  }

  #textAt(start: number): string {
    let text = this.#decoded.get(start);
    if (text === undefined) {
      text = decoder.decode(this.#texts.subarray(start, this.#texts.indexOf(0, start)));
      this.#decoded.set(start, text);
    }
    return text;
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function lengthOfChar(first: number): number {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
