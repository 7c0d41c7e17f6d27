/** Owns small changes of index expressions in kernels: where they can be made, and a seeded choice of them. */

/** One expression changed in one place. */
export interface Mutation {
  /** In the folder of kernels. */
  readonly file: string;
  readonly line: number;
  /** The expression as it was and as it is now. */
  readonly before: string;
  readonly after: string;
  /** The whole file with the change. */
  readonly text: string;
}

/** Opening to closing of the bracket at `at`, one behind the last. */
function endOfBracket(text: string, at: number): number {
  const open = text[at]!;
  const close = { "(": ")", "[": "]", "{": "}" }[open];
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text[i] === open) depth++;
    if (text[i] === close && --depth === 0) return i + 1;
  }
  return text.length;
}

/** Bodies of functions that run on the device. */
export function deviceBodies(text: string): [begin: number, end: number][] {
  const bodies: [number, number][] = [];
  for (const { index } of text.matchAll(/__(?:global|device)__/g)) {
    if (bodies.some(([begin, end]) => index > begin && index < end)) continue;
    const bounds = text.slice(index).match(/__launch_bounds__/)?.index;
    let parameters = text.indexOf("(", index);
    if (bounds !== undefined && index + bounds < parameters) {
      parameters = text.indexOf("(", endOfBracket(text, parameters));
    }
    const begin = text.indexOf("{", endOfBracket(text, parameters));
    if (begin >= 0) bodies.push([begin, endOfBracket(text, begin)]);
  }
  return bodies;
}

/** Types, whose brackets declare an array and index nothing. */
const TYPES = new Set(["float", "bf16", "bf16x2", "int", "int32_t", "uint32_t", "uint64_t", "unsigned", "PieceHead"]);

/** Index expressions: what stands in subscripts, and whole numbers that are named on the way to one. */
function* indexExpressions(text: string): Generator<[begin: number, end: number]> {
  for (const [first, last] of deviceBodies(text)) {
    const body = text.slice(first, last);
    for (const { index } of body.matchAll(/[\w)\]]\[/g)) {
      const at = first + index + 1;
      const word = text.slice(0, at).match(/(\w+)\s+\w+$|(\w+)$/);
      const isDeclaration = TYPES.has(word?.[1] ?? "") || TYPES.has(word?.[2] ?? "");
      if (!isDeclaration) yield [at + 1, endOfBracket(text, at) - 1];
    }
    for (const match of body.matchAll(/\bconst (?:int|size_t) \w+ = ([^;?{]+);/g)) {
      const begin = first + match.index + match[0].length - 1 - match[1]!.length;
      yield [begin, begin + match[1]!.length];
    }
  }
}

const OPERATORS: Readonly<Record<string, string>> = { "+": "-", "-": "+", "*": "+", "/": "%", "%": "/" };

/** Every single change of an expression: an operator for another, a number or a name one larger. */
function* changesOf(expression: string): Generator<string> {
  const put = (index: number, length: number, by: string) =>
    expression.slice(0, index) + by + expression.slice(index + length);
  for (const { index, 1: operator } of expression.matchAll(/(?<= )([-+*/%])(?= )/g)) {
    yield put(index, 1, OPERATORS[operator!]!);
  }
  for (const { index, 0: number } of expression.matchAll(/(?<![\w.<])\d+(?![\w.>])/g)) {
    yield put(index, number.length, String(Number(number) + 1));
  }
  for (
    const { index, 0: name } of expression.matchAll(
      /(?<![\w.:<])(?!static_cast|size_t|reinterpret_cast)[a-z]\w*(?!\w|\(|::|<|\.|->|\[)/g,
    )
  ) {
    yield put(index, name.length, `(${name} + 1)`);
  }
}

/** All mutations of a file. */
export function allMutations(file: string, text: string): Mutation[] {
  const seen = new Set<string>();
  const mutations: Mutation[] = [];
  for (const [begin, end] of indexExpressions(text)) {
    const before = text.slice(begin, end);
    for (const after of changesOf(before)) {
      const changed = text.slice(0, begin) + after + text.slice(end);
      if (seen.has(changed)) continue;
      seen.add(changed);
      mutations.push({ file, line: text.slice(0, begin).split("\n").length, before, after, text: changed });
    }
  }
  return mutations;
}

/** Random order by a seed (mulberry32, Fisher-Yates). */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  let state = seed | 0;
  const random = () => {
    state = state + 0x6d2b79f5 | 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const k = Math.floor(random() * (i + 1));
    [out[i], out[k]] = [out[k]!, out[i]!];
  }
  return out;
}
