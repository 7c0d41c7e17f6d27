/** Random worlds for the scheduler: requests that share beginnings and pictures, tiny pools, steps that fail; and the truth. */
import fc from "fast-check";
import type { Prompt } from "../../gpu-worker/prompt/prompt.ts";
import { PLAIN_SAMPLING, type SequenceSampling } from "../../gpu-worker/schedule/sampling.ts";
import { FAKE_INFO } from "../support/fake_engine.ts";
import { FakeHistory } from "../support/fake_history.ts";

const TILE_BYTES = FAKE_INFO.tileSize ** 2 * 3;

export const LAST_ARRIVAL = 8;

export interface Request {
  /** Text ids, and -k for all of tile k - 1. */
  readonly parts: readonly number[];
  readonly numNew: number;
  readonly seed: number | null;
  /** Answers to it. */
  readonly n: number;
  readonly penalty: number;
  readonly minTokens: number;
  readonly priority: number;
  readonly tenant: string;
  readonly salt: string;
  /** Step before which it arrives, and before which it is aborted. */
  readonly arrival: number;
  readonly abort: number | null;
  /** Step before which it gets another priority, and which. */
  readonly change: { readonly step: number; readonly priority: number } | null;
}

export const pixelsOf = (tile: number) => new Uint8Array(TILE_BYTES).fill(tile + 1);
const hashOf = (tile: number) => `tile-${tile}`;

export function promptOf(parts: readonly number[]): Prompt {
  const [tokenIds, tileOf, rowOf]: [number[], number[], number[]] = [[], [], []];
  const tiles: string[] = [];
  for (const part of parts) {
    if (part < 0) tiles.push(hashOf(-part - 1));
    for (let row = 0; row < (part < 0 ? FAKE_INFO.tokensPerTile : 1); row++) {
      tokenIds.push(Math.max(part, 0));
      tileOf.push(part < 0 ? tiles.length - 1 : -1);
      rowOf.push(row);
    }
  }
  return {
    tokenIds: Int32Array.from(tokenIds),
    tileOf: Int32Array.from(tileOf),
    rowOf: Int32Array.from(rowOf),
    tiles,
    numImageTokens: tiles.length * FAKE_INFO.tokensPerTile,
  };
}

export function samplingOf({ seed, penalty, minTokens }: Request, choice: number): SequenceSampling {
  return {
    ...PLAIN_SAMPLING,
    temperature: seed === null ? 0 : 1,
    seed: BigInt((seed ?? 0) + 100 * choice),
    frequencyPenalty: penalty,
    minTokens,
    forbiddenIds: Int32Array.of(5, 6),
  };
}

/** What the request gets when nobody else is there. */
export function expectedTokens(request: Request, choice: number): number[] {
  const history = new FakeHistory(FAKE_INFO.vocabSize);
  const seen = new Map<number, number>();
  for (const part of request.parts) {
    seen.set(Math.max(part, 0), 0);
    if (part < 0) history.pushTile(pixelsOf(-part - 1), FAKE_INFO.tokensPerTile);
    else history.pushTokens(part);
  }
  const { temperature, seed } = samplingOf(request, choice);
  return Array.from({ length: request.numNew }, (_, i) => {
    const id = history.next(temperature === 0 ? undefined : seed, {
      numbers: [0, 1, 0, request.penalty],
      seen: request.penalty === 0 ? [] : seen,
      biases: i < request.minTokens ? [[5, -Infinity], [6, -Infinity]] : [],
    });
    seen.set(id, (seen.get(id) ?? 0) + 1);
    history.pushTokens(id);
    return id;
  });
}

export const PLAIN_REQUEST: Omit<Request, "parts" | "numNew" | "arrival"> = {
  seed: null,
  n: 1,
  penalty: 0,
  minTokens: 0,
  priority: 0,
  tenant: "a",
  salt: "",
  abort: null,
  change: null,
};

const parts = (maxLength: number) =>
  fc.array(
    fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 2 }) }, fc.integer({ min: -3, max: -1 })),
    { minLength: 1, maxLength },
  );

/** Beginnings that requests share; at most 24 prompt tokens with what follows. */
const beginning = fc.constantFrom([], [1, -1, 2, -2, 0], [1, -1, 2, -2, 1], [0, 1, 2, 0, 1, 2]);

const request: fc.Arbitrary<Request> = fc.record({
  parts: fc.tuple(beginning, parts(5)).map(([start, rest]) => [...start, ...rest]),
  numNew: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 16, max: 24 })),
  seed: fc.option(fc.integer({ min: 0, max: 3 })),
  n: fc.constantFrom(1, 1, 2, 3),
  penalty: fc.constantFrom(0, 0, 0.5),
  minTokens: fc.constantFrom(0, 0, 3),
  priority: fc.constantFrom(-1, 0, 0, 2),
  tenant: fc.constantFrom("a", "b", "c"),
  salt: fc.constantFrom("", "", "x"),
  arrival: fc.integer({ min: 0, max: LAST_ARRIVAL }),
  abort: fc.option(fc.integer({ min: 0, max: 40 }), { freq: 4 }),
  change: fc.option(fc.record({ step: fc.integer({ min: 0, max: 40 }), priority: fc.constantFrom(-2, 1) }), {
    freq: 3,
  }),
});

export interface World {
  readonly requests: readonly Request[];
  readonly numKvBlocks: number;
  readonly tokenBudget: number;
  readonly maxSequences: number;
  /** Steps that fail. */
  readonly failures: readonly number[];
  /** Whether each step is prepared while the one before runs. */
  readonly prepares: boolean;
  /** Steps the engine has at once. */
  readonly stepsInFlight: number;
}

export const world: fc.Arbitrary<World> = fc.record({
  requests: fc.array(request, { minLength: 3, maxLength: 10 }),
  numKvBlocks: fc.integer({ min: 12, max: 16 }),
  tokenBudget: fc.integer({ min: 1, max: 32 }),
  maxSequences: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant(8)),
  failures: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 2 }),
  prepares: fc.boolean(),
  stepsInFlight: fc.constantFrom(1, 2),
});
