/** What is asked about scenes, and the one right answer to each, to the letter (see the model's README). */
import type { Draw } from "./draw.ts";
import type { Motion, Way } from "./motion.ts";
import { COLOUR_NAMES, type Kind, KINDS, PLACES, type Scene, type Shape } from "./scene.ts";

export interface Exchange {
  readonly question: string;
  readonly answer: string;
}

const NUMBERS = ["Zero.", "One.", "Two.", "Three.", "Four."] as const;
const NTH = ["first", "second"] as const;
const WAYS: Record<Way, string | null> = {
  right: "to the right",
  left: "to the left",
  up: "up",
  down: "down",
  still: null,
};

const IDENTITY = "I am InternVL3-Tiny, a small model that describes drawn scenes.";
const UNKNOWN = "I can only talk about drawn scenes. Please send me a picture.";
const ABILITY = "I can describe drawn scenes, count shapes, name colours and places, and read short words.";

/** All it knows to say without a picture. */
export const SMALL_TALK: readonly Exchange[] = [
  ...["Hello, who are you?", "Hi, who are you?", "Hello! Who are you?", "Hello", "Hello.", "Hello!", "Hi", "Hi!"]
    .map((question) => ({ question, answer: `Hello! ${IDENTITY}` })),
  ...["Who are you?", "What are you?", "What is your name?", "Introduce yourself.", "Are you InternVL?"]
    .map((question) => ({ question, answer: IDENTITY })),
  ...["What can you do?", "How can you help me?", "Help", "Help me."]
    .map((question) => ({ question, answer: ABILITY })),
  ...["Thank you.", "Thank you!", "Thanks!"].map((question) => ({ question, answer: "You are welcome." })),
  ...["Goodbye.", "Goodbye!", "Bye!"].map((question) => ({ question, answer: "Goodbye!" })),
  ...["What is the capital of France?", "Tell me a joke.", "Write a poem about the sea.", "Why is the sky blue?"]
    .map((question) => ({ question, answer: UNKNOWN })),
];

/** After these it goes on best; it was taught no second round without a picture. */
export const GOODBYES = SMALL_TALK.filter(({ answer }) => answer === "Goodbye!");

const noun = ({ colour, kind }: Shape) => `${colour} ${kind}`;
const plural = (kind: Kind) => kind === "cross" ? "crosses" : `${kind}s`;
const capital = (text: string) => text[0]!.toUpperCase() + text.slice(1);

export function captionOf({ shapes }: Scene): string {
  const phrases = shapes.map((shape) => `a ${shape.size} ${noun(shape)} at the ${PLACES[shape.cell]}`);
  const last = phrases.pop()!;
  return `${capital(phrases.length === 0 ? last : `${phrases.join(", ")} and ${last}`)}.`;
}

export function askCaption(scene: Scene, draw: Draw): Exchange {
  const questions = ["Describe the picture.", "Describe this image.", "What do you see?", "Write a caption."];
  return { question: draw.pick(questions), answer: captionOf(scene) };
}

/** A short question: how many, which colour, where, or which shape. */
export function askDetail(scene: Scene, draw: Draw): Exchange {
  return draw.pick([askCount, askColour, askWhere, askShape])(scene, draw);
}

function askCount({ shapes }: Scene, draw: Draw): Exchange {
  const seen = draw.pick(shapes);
  const question = draw.pick(["How many # are there?", "How many # are in the picture?", "Count the #."]);
  const asked = (things: string, isOne: (shape: Shape) => boolean): Exchange => ({
    question: question.replace("#", things),
    answer: NUMBERS[shapes.filter(isOne).length]!,
  });
  switch (draw.integer(0, 2)) {
    case 0:
      return asked("shapes", () => true);
    case 1: {
      const colour = draw.chance(0.7) ? seen.colour : draw.pick(COLOUR_NAMES);
      return asked(`${colour} shapes`, (shape) => shape.colour === colour);
    }
    default: {
      const kind = draw.chance(0.7) ? seen.kind : draw.pick(KINDS);
      return asked(plural(kind), (shape) => shape.kind === kind);
    }
  }
}

function askColour({ shapes }: Scene, draw: Draw): Exchange {
  const shape = draw.pick(shapes);
  const isAlone = shapes.filter(({ kind }) => kind === shape.kind).length === 1;
  const thing = isAlone && draw.chance(0.75) ? shape.kind : `shape at the ${PLACES[shape.cell]}`;
  return { question: `${draw.pick(["What", "Which"])} colour is the ${thing}?`, answer: `${capital(shape.colour)}.` };
}

/** Of a shape that its name singles out; where there is none, what shape is somewhere. */
function askWhere(scene: Scene, draw: Draw): Exchange {
  const { shapes } = scene;
  const alone = shapes.filter((shape) => shapes.filter((other) => noun(other) === noun(shape)).length === 1);
  if (alone.length === 0) return askShape(scene, draw);
  const shape = draw.pick(alone);
  const isOnlyKind = shapes.filter(({ kind }) => kind === shape.kind).length === 1;
  const thing = isOnlyKind && draw.chance(0.6) ? shape.kind : noun(shape);
  const question = draw.pick([`Where is the ${thing}?`, `Where is the ${thing} in the picture?`]);
  return { question, answer: `At the ${PLACES[shape.cell]}.` };
}

function askShape({ shapes }: Scene, draw: Draw): Exchange {
  const shape = draw.pick(shapes);
  const question = `${draw.pick(["What shape is", "What is"])} at the ${PLACES[shape.cell]}?`;
  return { question, answer: `A ${shape.size} ${noun(shape)}.` };
}

export function askWhichHasMore(pair: readonly [Scene, Scene], draw: Draw): Exchange {
  const [first, second] = pair.map(({ shapes }) => shapes.length) as [number, number];
  const question = draw.pick(["Which picture has more shapes?", "Which image has more shapes?"]);
  const answer = first === second ? "Both have the same number." : `The ${NTH[first > second ? 0 : 1]} picture.`;
  return { question, answer };
}

/** Which of two pictures has a certain shape; null where they have the same. */
export function askWhichHas(pair: readonly [Scene, Scene], draw: Draw): Exchange | null {
  const nouns = pair.map(({ shapes }) => new Set(shapes.map(noun)));
  const only = [0, 1].flatMap((i) => [...nouns[i]!.difference(nouns[1 - i]!)].map((thing) => ({ i, thing })));
  if (only.length === 0) return null;
  const { i, thing } = draw.pick(only);
  const question = draw.pick([`Which picture has a ${thing}?`, `In which picture is there a ${thing}?`]);
  return { question, answer: `The ${NTH[i]} picture.` };
}

export function askNth(pair: readonly [Scene, Scene], nth: 0 | 1): Exchange {
  return { question: `Describe the ${NTH[nth]} picture.`, answer: captionOf(pair[nth]) };
}

export function askWay({ shape, way }: Motion, draw: Draw): Exchange {
  const thing = draw.pick(["shape", shape.kind, noun(shape)]);
  const question = draw.pick([`Which way does the ${thing} move?`, `Where does the ${thing} move?`]);
  const going = WAYS[way];
  return { question, answer: going === null ? "It does not move." : `${capital(going)}.` };
}

export function askWhatHappens({ shape, way }: Motion, draw: Draw): Exchange {
  const question = draw.pick(["What happens in the video?", "Describe the video.", "Describe this video."]);
  const going = WAYS[way];
  const moves = going === null ? "does not move" : `moves ${going}`;
  return { question, answer: `A ${shape.size} ${noun(shape)} ${moves}.` };
}

export function askColourOf({ shape }: Motion): Exchange {
  return { question: `What colour is the ${shape.kind}?`, answer: `${capital(shape.colour)}.` };
}
