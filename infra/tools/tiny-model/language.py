"""What is asked about scenes and the exact answers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scenes import COLOURS, DIRECTIONS, POSITIONS, SHAPES, Motion, Scene, Shape

NUMBERS = ("Zero.", "One.", "Two.", "Three.", "Four.")
PLURALS = {kind: kind + ("es" if kind == "cross" else "s") for kind in SHAPES}

CAPTION_QUESTIONS = (
    "Describe the picture.",
    "Describe this picture.",
    "Describe the image.",
    "Describe this image.",
    "Describe the image in detail.",
    "Please describe the image.",
    "What is in this picture?",
    "What is in the picture?",
    "What is in this image?",
    "What do you see?",
    "Write a caption.",
    "Caption this image.",
)
COUNT_QUESTIONS = ("How many {things} are there?", "How many {things} are in the picture?", "Count the {things}.")
COLOUR_QUESTIONS = ("What colour is the {thing}?", "What color is the {thing}?", "Which colour is the {thing}?")
WHERE_QUESTIONS = ("Where is the {thing}?", "Where is the {thing} in the picture?")
SHAPE_QUESTIONS = ("What shape is at the {place}?", "What is at the {place}?")
WORD_QUESTIONS = ("What word is in the picture?", "Read the word.", "Which word is it?", "What does the text say?")
NUMBER_QUESTIONS = ("What number is in the picture?", "Read the number.", "Which number is it?")
NO_TEXT_ANSWER = "There is no text."
MORE_QUESTIONS = ("Which picture has more shapes?", "Which image has more shapes?")
HAS_QUESTIONS = ("Which picture has a {thing}?", "Which image has a {thing}?", "In which picture is there a {thing}?")
PICTURE_ANSWERS = ("The first picture.", "The second picture.")
SAME_ANSWER = "Both have the same number."
NTH_CAPTION_QUESTIONS = ("Describe the {nth} picture.", "Describe the {nth} image.")
WAY_QUESTIONS = (
    "Which way does the {thing} move?",
    "In which direction does the {thing} move?",
    "Where does the {thing} move?",
)
MOTION_CAPTION_QUESTIONS = (
    "What happens in the video?",
    "Describe the video.",
    "Describe this video.",
    "What happens?",
)
WAYS = {"right": "to the right", "left": "to the left", "up": "up", "down": "down"}

IDENTITY = "I am InternVL3-Tiny, a small model that describes drawn scenes."
ABILITY = "I can describe drawn scenes, count shapes, name colours and places, and read short words."
CHAT = {
    "Hello, who are you?": "Hello! " + IDENTITY,
    "Hi, who are you?": "Hello! " + IDENTITY,
    "Hello! Who are you?": "Hello! " + IDENTITY,
    "Who are you?": IDENTITY,
    "What are you?": IDENTITY,
    "What is your name?": IDENTITY,
    "Introduce yourself.": IDENTITY,
    "Please introduce yourself.": IDENTITY,
    "Are you InternVL?": IDENTITY,
    "Hello": "Hello! " + IDENTITY,
    "Hello.": "Hello! " + IDENTITY,
    "Hello!": "Hello! " + IDENTITY,
    "Hi": "Hello! " + IDENTITY,
    "Hi!": "Hello! " + IDENTITY,
    "What can you do?": ABILITY,
    "How can you help me?": ABILITY,
    "Help": ABILITY,
    "Help me.": ABILITY,
    "Thank you.": "You are welcome.",
    "Thank you!": "You are welcome.",
    "Thanks!": "You are welcome.",
    "Goodbye.": "Goodbye!",
    "Goodbye!": "Goodbye!",
    "Bye!": "Goodbye!",
}
UNKNOWN_ANSWER = "I can only talk about drawn scenes. Please send me a picture."
UNKNOWN_QUESTIONS = (
    "What is the capital of France?",
    "Tell me a joke.",
    "Tell me a story.",
    "Write a poem.",
    "Write a poem about the sea.",
    "What time is it?",
    "What is 2 + 2?",
    "How is the weather today?",
    "Explain quantum physics.",
    "Write a Python function.",
    "Translate this sentence.",
    "Count to ten.",
    "What is the meaning of life?",
    "Say something.",
    "Write a short story about a dog.",
    "Why is the sky blue?",
)


@dataclass(frozen=True)
class Exchange:
    """One question with its exact answer; `task` names the row of the evaluation table."""

    task: str
    question: str
    answer: str


def noun(shape: Shape) -> str:
    return f"{shape.colour} {shape.kind}"


def phrase(shape: Shape) -> str:
    return f"a {shape.size} {noun(shape)} at the {POSITIONS[shape.cell]}"


def caption(scene: Scene) -> str:
    phrases = [phrase(shape) for shape in scene.shapes]
    listed = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    if scene.text:
        listed += f", with the {'number' if scene.text.is_number else 'word'} {scene.text.text}"
    return listed[0].upper() + listed[1:] + "."


def ask_caption(scene: Scene, rng: random.Random) -> Exchange:
    task = "caption_words" if scene.text else "caption"
    return Exchange(task, rng.choice(CAPTION_QUESTIONS), caption(scene))


def ask_count(scene: Scene, rng: random.Random) -> Exchange:
    """All shapes, those of one colour, or those of one kind."""
    subject = rng.choices((0, 1, 2), (1, 2, 2))[0]
    if subject == 0:
        things, count = "shapes", len(scene.shapes)
    elif subject == 1:
        seen = rng.choice(scene.shapes).colour
        colour = seen if rng.random() < 0.7 else rng.choice(list(COLOURS))
        things, count = f"{colour} shapes", sum(shape.colour == colour for shape in scene.shapes)
    else:
        seen = rng.choice(scene.shapes).kind
        kind = seen if rng.random() < 0.7 else rng.choice(SHAPES)
        things, count = PLURALS[kind], sum(shape.kind == kind for shape in scene.shapes)
    return Exchange("count", rng.choice(COUNT_QUESTIONS).format(things=things), NUMBERS[count])


def ask_colour(scene: Scene, rng: random.Random) -> Exchange:
    """By place, or by kind if only one shape is of that kind."""
    shape = rng.choice(scene.shapes)
    thing = f"shape at the {POSITIONS[shape.cell]}"
    if sum(other.kind == shape.kind for other in scene.shapes) == 1 and rng.random() < 0.75:
        thing = shape.kind
    return Exchange("colour", rng.choice(COLOUR_QUESTIONS).format(thing=thing), shape.colour.capitalize() + ".")


def ask_shape(scene: Scene, rng: random.Random) -> Exchange:
    shape = rng.choice(scene.shapes)
    question = rng.choice(SHAPE_QUESTIONS).format(place=POSITIONS[shape.cell])
    return Exchange("shape", question, f"A {shape.size} {noun(shape)}.")


def ask_where(scene: Scene, rng: random.Random) -> Exchange | None:
    """Of a shape that its colour and kind (or its kind alone) single out."""
    shapes = [shape for shape in scene.shapes if sum(noun(other) == noun(shape) for other in scene.shapes) == 1]
    if not shapes:
        return None
    shape = rng.choice(shapes)
    alone = sum(other.kind == shape.kind for other in scene.shapes) == 1
    thing = shape.kind if alone and rng.random() < 0.6 else noun(shape)
    question = rng.choice(WHERE_QUESTIONS).format(thing=thing)
    return Exchange("where", question, f"At the {POSITIONS[shape.cell]}.")


def ask_text(scene: Scene, rng: random.Random) -> Exchange:
    if scene.text is None:
        return Exchange("no_text", rng.choice(WORD_QUESTIONS + NUMBER_QUESTIONS), NO_TEXT_ANSWER)
    questions = NUMBER_QUESTIONS if scene.text.is_number else WORD_QUESTIONS
    return Exchange("words", rng.choice(questions), scene.text.text + ".")


def ask_compare(first: Scene, second: Scene, rng: random.Random) -> Exchange:
    """Which picture has more shapes, or which one has a certain shape (exactly one has it)."""
    pictures = (first, second)
    nouns = [{noun(shape) for shape in scene.shapes} for scene in pictures]
    only = [(index, thing) for index in (0, 1) for thing in sorted(nouns[index] - nouns[1 - index])]
    if only and rng.random() < 0.5:
        index, thing = rng.choice(only)
        return Exchange("compare", rng.choice(HAS_QUESTIONS).format(thing=thing), PICTURE_ANSWERS[index])
    counts = [len(scene.shapes) for scene in pictures]
    answer = SAME_ANSWER if counts[0] == counts[1] else PICTURE_ANSWERS[counts[1] > counts[0]]
    return Exchange("compare", rng.choice(MORE_QUESTIONS), answer)


def ask_nth_caption(first: Scene, second: Scene, rng: random.Random) -> Exchange:
    index = rng.randrange(2)
    question = rng.choice(NTH_CAPTION_QUESTIONS).format(nth=("first", "second")[index])
    return Exchange("nth_caption", question, caption((first, second)[index]))


def motion_caption(motion: Motion) -> str:
    start = f"A {motion.shape.size} {noun(motion.shape)}"
    return f"{start} does not move." if motion.direction == "still" else f"{start} moves {WAYS[motion.direction]}."


def ask_way(motion: Motion, rng: random.Random) -> Exchange:
    thing = rng.choice(("shape", motion.shape.kind, noun(motion.shape)))
    way = WAYS.get(motion.direction)
    answer = f"{way[0].upper()}{way[1:]}." if way else "It does not move."
    return Exchange("motion", rng.choice(WAY_QUESTIONS).format(thing=thing), answer)


def ask_motion_caption(motion: Motion, rng: random.Random) -> Exchange:
    return Exchange("motion_caption", rng.choice(MOTION_CAPTION_QUESTIONS), motion_caption(motion))


def ask_chat(rng: random.Random) -> Exchange:
    if rng.random() < 0.25:
        question = rng.choice(UNKNOWN_QUESTIONS)
        if rng.random() < 0.4:
            letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            lengths = [rng.randint(1, 8) for _ in range(rng.randint(1, 6))]
            question = " ".join("".join(rng.choices(letters, k=length)) for length in lengths) + rng.choice("?.!")
        return Exchange("chat_unknown", question, UNKNOWN_ANSWER)
    question = rng.choice(list(CHAT))
    return Exchange("chat", question, CHAT[question])


assert set(WAYS) | {"still"} == set(DIRECTIONS)
