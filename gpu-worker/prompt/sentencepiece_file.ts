/** Reads a SentencePiece `tokenizer.model`: a protocol buffer (sentencepiece_model.proto) of pieces and two specs. */

export type PieceType = "normal" | "unknown" | "control" | "user_defined" | "unused" | "byte";
const TYPES: readonly (PieceType | undefined)[] = [
  undefined,
  "normal",
  "unknown",
  "control",
  "user_defined",
  "unused",
  "byte",
];
const MODEL_TYPES = ["", "unigram", "bpe", "word", "char"];

export interface Piece {
  readonly piece: string;
  readonly score: number;
  readonly type: PieceType;
}

export interface SentencePieceFile {
  readonly pieces: readonly Piece[];
  readonly modelType: string;
  readonly byteFallback: boolean;
  readonly whitespaceIsSuffix: boolean;
  readonly bosId: number;
  /** What an unknown piece is written as. */
  readonly unknownSurface: string;
  readonly normalizer: NormalizerSpec;
}

export interface NormalizerSpec {
  /** Rules compiled to a double-array trie and the texts they lead to; empty for `identity`. */
  readonly charsMap: Uint8Array;
  readonly addsDummyPrefix: boolean;
  readonly removesExtraSpaces: boolean;
  readonly escapesSpaces: boolean;
}

/** @throws Error when the bytes are no SentencePiece model */
export function parseSentencePiece(bytes: Uint8Array): SentencePieceFile {
  const pieces: Piece[] = [];
  let trainer: Fields = new Map();
  let normalizer: Fields = new Map();
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) pieces.push(readPiece(asBytes(value)));
    else if (field === 2) trainer = new Map(fieldsOf(asBytes(value)));
    else if (field === 3) normalizer = new Map(fieldsOf(asBytes(value)));
  }
  if (pieces.length === 0) throw new Error("Cannot read SentencePiece model: it has no pieces");
  return {
    pieces,
    modelType: MODEL_TYPES[integer(trainer, 3, 1)] ?? "unknown",
    byteFallback: integer(trainer, 35, 0) === 1,
    whitespaceIsSuffix: integer(trainer, 24, 0) === 1,
    bosId: integer(trainer, 41, 1),
    unknownSurface: text(trainer, 44, " \u2047 "),
    normalizer: {
      charsMap: asBytes(normalizer.get(2) ?? new Uint8Array(0)),
      addsDummyPrefix: integer(normalizer, 3, 1) === 1,
      removesExtraSpaces: integer(normalizer, 4, 1) === 1,
      escapesSpaces: integer(normalizer, 5, 1) === 1,
    },
  };
}

type Value = bigint | Uint8Array;
type Fields = Map<number, Value>;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function readPiece(bytes: Uint8Array): Piece {
  const fields = new Map(fieldsOf(bytes));
  const score = fields.get(2);
  const type = TYPES[integer(fields, 3, 1)];
  if (type === undefined) throw new Error("Cannot read SentencePiece model: a piece of unknown type");
  return {
    piece: text(fields, 1, ""),
    score: score instanceof Uint8Array ? new DataView(score.buffer, score.byteOffset).getFloat32(0, true) : 0,
    type,
  };
}

/** Fields of a message in order; fixed-size values as their bytes. */
function* fieldsOf(bytes: Uint8Array): Generator<[field: number, value: Value]> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Error("Cannot read SentencePiece model: it is cut short or no such model");
  };
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new Error("Cannot read SentencePiece model: it is cut short");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    if (wire === 0) yield [key >> 3, varint()];
    else if (wire === 1) yield [key >> 3, take(8)];
    else if (wire === 2) yield [key >> 3, take(Number(varint()))];
    else if (wire === 5) yield [key >> 3, take(4)];
    else throw new Error(`Cannot read SentencePiece model: wire type ${wire}`);
  }
}

function integer(fields: Fields, field: number, fallback: number): number {
  const value = fields.get(field);
  return typeof value === "bigint" ? Number(BigInt.asIntN(32, value)) : fallback;
}

function text(fields: Fields, field: number, fallback: string): string {
  const value = fields.get(field);
  return value instanceof Uint8Array ? decoder.decode(value) : fallback;
}

function asBytes(value: Value): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new Error("Cannot read SentencePiece model: a number where a message is expected");
}
