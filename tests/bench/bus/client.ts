/** A client without a library: one request on a socket of its own, and when each event of its stream came. */
import { clock } from "./clock.ts";

/**
 * Posts a chat completion.
 * @returns when each event came, in order; the role comes first, then the tokens
 */
export async function readEvents(port: number, body: string): Promise<number[]> {
  const socket = await Deno.connect({ hostname: "127.0.0.1", port });
  socket.setNoDelay(true);
  try {
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
    await socket.write(new TextEncoder().encode(`${head}content-length: ${body.length}\r\n\r\n${body}`));
    const eventsAt: number[] = [];
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(65_536);
    let text = "";
    while (!text.includes("[DONE]")) {
      const numRead = await socket.read(buffer);
      const now = clock();
      if (numRead === null) throw new Error(`Cannot read the stream: it ended with ${text}`);
      text += decoder.decode(buffer.subarray(0, numRead), { stream: true });
      const numEvents = text.split("\ndata: ").length - 1;
      while (eventsAt.length < numEvents) eventsAt.push(now);
    }
    return eventsAt;
  } finally {
    socket.close();
  }
}
