/** Owns the lines tokenizers are trained and compared on: many scripts, emoji, code, spaces, control characters; all made up. */
import { CounterStream } from "../../support/counter_random.ts";

/** First and last code points; letters alone, so that words look like words. */
const SCRIPTS: Readonly<Record<string, readonly (readonly [first: number, last: number])[]>> = {
  latin: [[0x61, 0x7a], [0x61, 0x7a], [0x61, 0x7a], [0x41, 0x5a], [0xe0, 0xf6]],
  latinExtended: [[0x61, 0x7a], [0x100, 0x17f], [0x1e00, 0x1eff]],
  greek: [[0x3b1, 0x3c9]],
  cyrillic: [[0x430, 0x44f], [0x430, 0x44f], [0x410, 0x42f]],
  armenian: [[0x561, 0x586]],
  hebrew: [[0x5d0, 0x5ea]],
  arabic: [[0x628, 0x63a], [0x641, 0x64a], [0x64b, 0x652]],
  devanagari: [[0x915, 0x939], [0x93e, 0x94d]],
  bengali: [[0x995, 0x9a8], [0x9be, 0x9c4]],
  tamil: [[0xb95, 0xb95], [0xbae, 0xbb9], [0xbbe, 0xbc2]],
  thai: [[0xe01, 0xe2e], [0xe30, 0xe3a], [0xe40, 0xe4e]],
  tibetan: [[0xf40, 0xf47], [0xf71, 0xf7d]],
  georgian: [[0x10d0, 0x10f0]],
  hangul: [[0xac00, 0xd7a3]],
  jamo: [[0x1100, 0x1112], [0x1161, 0x1175]],
  hiragana: [[0x3041, 0x3096]],
  katakana: [[0x30a1, 0x30fa], [0xff66, 0xff9f]],
  han: [[0x4e00, 0x4eff], [0x5b50, 0x5bff], [0x9f8d, 0x9f8d]],
  rareHan: [[0x20000, 0x200ff]],
  ethiopic: [[0x1200, 0x1248]],
  cherokee: [[0x13a0, 0x13f4]],
  gothic: [[0x10330, 0x1034a]],
  fullwidth: [[0xff21, 0xff3a], [0xff41, 0xff5a], [0xff10, 0xff19]],
  mathematical: [[0x1d400, 0x1d433]],
};
const SCRIPT_NAMES = Object.keys(SCRIPTS);
const EMOJI = ["😀", "🦉", "👍🏽", "👩‍👩‍👧", "🏳️‍🌈", "🇩🇪", "❤️", "☎", "🫠", "1️⃣", "🧑🏿‍🚀", "✨", "™️"];
const SPACES = [" ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u2003", "\u0085", "\u2028"];
const CONTROLS = ["\0", "\x01", "\x07", "\x08", "\x1b[0m", "\x7f", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u202e", "\ufffd"];
const CODE = [
  "for (let i = 0; i < n; i++) {",
  "    return x_1 + y[2] != 0x7fff;",
  "def f(self, *args, **kwargs):",
  "\tif a&&b||!c: pass  # todo",
  "#include <stdio.h>",
  "SELECT * FROM t WHERE id>=10;",
  '{"key": [1, 2.5e-3, null, true]}',
  "https://example.org/a/b?c=d&e=%20f#g",
  "git commit -m 'x' && ./run.sh --all",
  "<div class=\"a b\">&nbsp;</div>",
  "}\n\n\n}\n",
];
const ENGLISH = [
  "it's", "don't", "I'LL", "we've", "THEY'RE", "'s", "'S", "'\u017f", "'d", "o'clock", "can't.", "the", "picture", "of",
  "A", "cat,", "(and)", "\"quote\"", "e.g.", "3.14", "1,000,000", "20%", "--", "...", "?!", "\u2026", "\u2014", "\u201cx\u201d",
  "caf\u00e9", "cafe\u0301", "\u0130stanbul", "\u212b", "\u212a", "\ufb01sh", "a\u0308\u0323", "\u1e9e", "\u00b2", "\u2460", "\u0967\u0968",
]; // deno-fmt-ignore
const MARKS = ["<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<|im_", "start|>", "<IMG", "_CONTEXT>", "<s", "/s>", "\u2581", "<0x0A>", "<unk"];

/** Random choices in a row. */
class Dice {
  readonly #stream: CounterStream;
  #index = 0;

  constructor(seed: number, name: string) {
    this.#stream = new CounterStream(seed, name);
  }

  below(bound: number): number {
    return this.#stream.integer(this.#index++, bound);
  }

  /** Small ones more often. */
  skewed(bound: number): number {
    return Math.floor(bound * this.#stream.uniform(this.#index++) ** 3);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** A word of a script's own small vocabulary: the same `index` is the same word on every line. */
function word(script: string, index: number): string {
  const dice = new Dice(index, `word.${script}`);
  const length = 1 + dice.below(script === "han" || script === "rareHan" ? 3 : 8);
  let text = "";
  for (let i = 0; i < length; i++) {
    const [first, last] = dice.pick(SCRIPTS[script]!);
    text += String.fromCodePoint(first + dice.below(last - first + 1));
  }
  return text;
}

function words(dice: Dice, script: string): string {
  const isSpaced = !["han", "hiragana", "katakana", "thai", "rareHan"].includes(script);
  let text = "";
  for (let count = 1 + dice.below(12); count > 0; count--) {
    text += word(script, dice.skewed(200)) + (isSpaced ? " " : dice.pick(["", "", "", "\u3001", "\u3002", " "]));
    if (dice.below(9) === 0) text += dice.pick([", ", ". ", "! ", "-", " (", ") ", ": ", "\n", "12 ", "7"]);
  }
  return text;
}

const KINDS: readonly ((dice: Dice) => string)[] = [
  (dice) => words(dice, dice.pick(SCRIPT_NAMES)),
  (dice) => words(dice, dice.pick(SCRIPT_NAMES)) + words(dice, dice.pick(SCRIPT_NAMES)),
  (dice) => words(dice, "latin"),
  (dice) => words(dice, dice.pick(["han", "cyrillic", "arabic", "hangul", "hiragana"])),
  (dice) => Array.from({ length: 3 + dice.below(15) }, () => dice.pick(ENGLISH)).join(dice.pick([" ", " ", "", "  "])),
  (dice) => Array.from({ length: 1 + dice.below(4) }, () => dice.pick(CODE)).join(dice.pick(["\n", "\r\n", " ", "\n\n\t"])),
  (dice) => Array.from({ length: 1 + dice.below(8) }, () => dice.pick(EMOJI)).join(dice.pick(["", " ", "a"])),
  (dice) => Array.from({ length: 4 + dice.below(9) }, () => dice.pick(SPACES) + dice.pick(ENGLISH)).join("") + dice.pick(SPACES),
  (dice) => Array.from({ length: 3 + dice.below(9) }, () => dice.pick(CONTROLS) + word("latin", dice.skewed(50))).join(""),
  (dice) => Array.from({ length: 3 + dice.below(9) }, () => dice.pick(MARKS) + dice.pick(ENGLISH)).join(dice.pick(["", " "])),
  (dice) => Array.from({ length: 1 + dice.below(40) }, () => anyChar(dice)).join(""),
  (dice) => dice.pick(["a", "=", " ", "\n", "ab", "\u4e00", "1", "-", "\ud83e\udd89", "\u0301"]).repeat(1 + dice.below(300)),
  (dice) => dice.pick(SPACES).repeat(dice.below(9)) + words(dice, "latin") + dice.pick(SPACES).repeat(dice.below(5)),
];

/** Any character but surrogates, each plane's blocks as likely. */
function anyChar(dice: Dice): string {
  const bound = dice.pick([0x80, 0x800, 0xd800, 0x10000, 0x20000, 0x110000]);
  const code = dice.below(bound);
  return code >= 0xd800 && code < 0xe000 ? "\ufffd" : String.fromCodePoint(code);
}

/** `count` lines; a line may hold line breaks. The same seed gives the same lines, whatever the count. */
export function corpus(seed: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const dice = new Dice(seed, `line.${index}`);
    return KINDS[index % KINDS.length]!(dice);
  });
}
