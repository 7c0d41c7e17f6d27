/** One request to the hub or its mirror: redirects followed by hand, the token told to the hub alone, refusals explained. */

/** Where checkpoints come from. */
export interface Hub {
  /** Base URL, with no slash at the end. */
  readonly endpoint: string;
  readonly token: string | null;
}

/** What went wrong, written for the person at the terminal; trying again at once does not help. */
export class HubError extends Error {
  override readonly name: string = "HubError";
}

/** A fault that may pass: connections that break, 429, 5xx. */
export class PassingHubError extends HubError {
  override readonly name = "PassingHubError";
  /** What the server asked for; null: as the caller likes. */
  readonly retryAfterMs: number | null;

  constructor(message: string, retryAfterMs: number | null = null, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

const MAX_REDIRECTS = 8;
const REDIRECTS = [301, 302, 303, 307, 308];
/** What a second server says to an address that was good too long ago. */
const EXPIRED = [400, 401, 403, 410];

/**
 * Sends a GET and returns the response, which is 200 or 206.
 * @param what what is asked for, for messages: `the file list of a/b`
 * @throws HubError saying what to do; PassingHubError where trying again may help
 */
export async function hubRequest(
  hub: Hub,
  url: string,
  what: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly signal: AbortSignal },
): Promise<Response> {
  let target = new URL(url);
  const home = new URL(hub.endpoint);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    // Whole bytes: a compressed body has no ranges.
    const headers = new Headers({ "user-agent": "tessera", "accept-encoding": "identity", ...options.headers });
    if (hub.token !== null && target.origin === home.origin) headers.set("authorization", `Bearer ${hub.token}`);
    let response: Response;
    try {
      response = await fetch(target, { headers, redirect: "manual", signal: options.signal });
    } catch (cause) {
      options.signal.throwIfAborted();
      throw new PassingHubError(`Cannot reach ${target.origin} for ${what}: ${reasonOf(cause)}`, null, cause);
    }
    if (REDIRECTS.includes(response.status)) {
      await response.body?.cancel();
      const location = response.headers.get("location");
      if (location === null) throw new HubError(`Cannot get ${what}: ${target.origin} redirects to nowhere.`);
      const next = new URL(location, target);
      if (target.protocol === "https:" && next.protocol !== "https:") {
        throw new HubError(`Cannot get ${what}: ${target.origin} redirects from https: to ${next.protocol}`);
      }
      target = next;
      continue;
    }
    if (response.status === 200 || response.status === 206) return response;
    const body = (await response.text().catch(() => "")).slice(0, 500);
    // Addresses that the hub signs are good for a while; the next try gets a new one from it.
    if (target.origin !== home.origin && EXPIRED.includes(response.status)) {
      throw new PassingHubError(`Cannot get ${what}: ${target.origin} does not take its address any more.`);
    }
    throw refusal(hub, response, body, what);
  }
  throw new HubError(`Cannot get ${what}: more than ${MAX_REDIRECTS} redirects.`);
}

/** Why the server said no, and what to do about it. */
function refusal(hub: Hub, response: Response, body: string, what: string): HubError {
  const { status, headers } = response;
  const code = headers.get("x-error-code") ?? "";
  const said = (headers.get("x-error-message") ?? plainText(body)).replace(/[.\s]+$/, "");
  const told = `(HTTP ${status}${said === "" ? "" : `: ${said}`})`;
  const has = hub.token === null ? "No token is set" : "The token in HF_TOKEN was sent";
  if (code === "GatedRepo") {
    return new HubError(
      `Cannot get ${what}: its licence must be accepted first, on the repository's page at ${hub.endpoint}, ` +
        `and HF_TOKEN must hold a token of that account ${told}. ${has}.`,
    );
  }
  if (code === "RevisionNotFound") return new HubError(`Cannot get ${what}: no such revision ${told}.`);
  if (code === "EntryNotFound") return new HubError(`Cannot get ${what}: the file is not in the repository ${told}.`);
  if (code === "RepoNotFound" || status === 404) {
    return new HubError(
      `Cannot get ${what}: no such repository or revision at ${hub.endpoint}, or a private one ${told}. ` +
        `Check the name; for a private one set HF_TOKEN. ${has}.`,
    );
  }
  if (status === 401) {
    return new HubError(`Cannot get ${what}: the server wants a valid token ${told}. Set HF_TOKEN. ${has}.`);
  }
  if (status === 403) {
    return new HubError(`Cannot get ${what}: access is refused ${told}. ${has}; it may lack the right to read.`);
  }
  const wait = retryAfterMs(headers);
  if (status === 429) {
    const hint = hub.token === null ? " A token in HF_TOKEN raises the limit." : "";
    return new PassingHubError(`Cannot get ${what}: too many requests ${told}.${hint}`, wait);
  }
  if (status >= 500 || status === 408) {
    return new PassingHubError(`Cannot get ${what}: the server failed ${told}.`, wait);
  }
  return new HubError(`Cannot get ${what}: unexpected answer ${told}.`);
}

/** Milliseconds of a Retry-After header, seconds or date. */
function retryAfterMs(headers: Headers): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1_000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}

function plainText(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Not JSON.
  }
  return body.includes("<") ? "" : body.trim().slice(0, 200);
}

/** The innermost reason of a failed fetch. */
export function reasonOf(thrown: unknown): string {
  let deepest = thrown;
  while (deepest instanceof Error && deepest.cause instanceof Error) deepest = deepest.cause;
  return deepest instanceof Error ? deepest.message : String(deepest);
}
