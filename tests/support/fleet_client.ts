/** A client that streams one answer and keeps what a person would notice: the text, the silences, the end. */

export interface Question {
  readonly text: string;
  readonly seed: number;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly maxTokens: number;
  /** Answers to it; absent: one. */
  readonly n?: number;
}

export interface ClientAnswer {
  /** Of several answers one after the other. */
  readonly text: string;
  /** Longest time without a new piece of text, in ms. */
  readonly longestGapMs: number;
  /** Whether the stream ended as a whole one does. */
  readonly isDone: boolean;
  /** Code of the error in place of an answer, or in the middle of it. */
  readonly error: string | null;
  readonly status: number;
  readonly message: string | null;
}

/** Half greedy, half sampled with a seed; lengths a little apart. */
export function questions(num: number, maxTokens: number, text = "question"): Question[] {
  return Array.from({ length: num }, (_, i) => ({
    text: `${text} ${i}`,
    seed: i,
    temperature: i % 2,
    maxTokens: maxTokens + i % 7,
  }));
}

export function bodyOf({ text, seed, temperature, maxTokens, n = 1 }: Question, stream = true) {
  return {
    model: "fake",
    stream,
    messages: [{ role: "user", content: text }],
    seed,
    temperature,
    max_completion_tokens: maxTokens,
    n,
  };
}

/** @param onText called with all the text so far, each time there is more */
export async function readAnswer(
  url: string,
  question: Question,
  onText: (text: string) => void = () => {},
): Promise<ClientAnswer> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(bodyOf(question)),
    // A stream that never ends is a fault that a test shall show.
    signal: AbortSignal.timeout(60_000),
  });
  if (!response.ok) {
    const { error } = await response.json();
    const { status } = response;
    return { text: "", longestGapMs: 0, isDone: false, error: error.code, status, message: error.message };
  }
  let text = "";
  const texts: string[] = [];
  let error: string | null = null;
  let isDone = false;
  let heardAt = performance.now();
  let longestGapMs = 0;
  let rest = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (rest + piece).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "))?.slice("data: ".length);
      if (data === undefined) continue;
      if (data === "[DONE]") {
        isDone = true;
        continue;
      }
      const chunk = JSON.parse(data);
      error = chunk.error?.code ?? error;
      const added = chunk.choices?.[0]?.delta.content ?? "";
      if (added === "") continue;
      text += added;
      const { index } = chunk.choices[0];
      texts[index] = (texts[index] ?? "") + added;
      longestGapMs = Math.max(longestGapMs, performance.now() - heardAt);
      heardAt = performance.now();
      onText(text);
    }
  }
  return { text: texts.join("\n"), longestGapMs, isDone, error, status: response.status, message: null };
}
