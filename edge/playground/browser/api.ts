/** The server, as the page asks it: with the key of this tab, errors in the server's own words. */

const KEY_NAME = "tessera-key";

export const apiKey = {
  get: (): string => sessionStorage.getItem(KEY_NAME) ?? "",
  set: (key: string): void => sessionStorage.setItem(KEY_NAME, key),
};

/** What the server said against a request. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @throws ApiError */
export async function ask(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = new Headers();
  if (apiKey.get() !== "") headers.set("authorization", `Bearer ${apiKey.get()}`);
  if (body !== undefined) headers.set("content-type", "application/json");
  let response: Response;
  try {
    response = await fetch(path, {
      headers,
      ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = text.slice(0, 500);
  try {
    message = (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    // Not the server's own: the text has to do.
  }
  throw new ApiError(response.status, message === "" ? `The server answered ${response.status}.` : message);
}

export async function askJson<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return await (await ask(path, body, signal)).json() as T;
}

/** The `data:` items of an answer in server-sent events, until `[DONE]`. @throws ApiError that the stream tells */
export async function* items(response: Response): AsyncGenerator<Record<string, unknown>, void> {
  let rest = "";
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read().catch((cause) => {
      throw cause instanceof DOMException ? cause : new ApiError(0, "The connection broke, and the answer with it.");
    });
    if (done) throw new ApiError(0, "The answer was cut off.");
    const events = (rest + value).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join(
        "\n",
      );
      if (data === "") continue;
      if (data === "[DONE]") return;
      const item = JSON.parse(data) as Record<string, unknown>;
      if (item["error"] !== undefined) throw new ApiError(500, (item["error"] as { message: string }).message);
      yield item;
    }
  }
}
