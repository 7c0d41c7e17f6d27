/** A DNS server on loopback whose answers a test decides, and may change from one question to the next. */
import { createSocket } from "node:dgram";
import type { Resolve } from "../../edge/outbound/request.ts";

/** Addresses of a name; called once a question, so that the next may get others. Empty: no such name. */
export type Answers = (name: string) => readonly string[];

export interface DnsServer {
  /** Asks this server, over UDP, for A and AAAA records. */
  readonly resolve: Resolve;
  /** Names asked for, one entry a look-up. */
  readonly asked: string[];
  close(): void;
}

const A = 1;
const AAAA = 28;

export async function startDnsServer(answers: Answers): Promise<DnsServer> {
  const socket = createSocket("udp4");
  await new Promise<void>((listening) => socket.bind(0, "127.0.0.1", listening));
  const { port } = socket.address();
  const asked: string[] = [];
  /** What the A question of a look-up was answered; its AAAA question gets the rest of the same answer. */
  let current: readonly string[] = [];
  socket.on("message", (question, from) => {
    const { name, type, end } = readQuestion(question);
    if (type === A) {
      asked.push(name);
      current = answers(name);
    }
    const records = current.filter((address) => address.includes(":") === (type === AAAA));
    socket.send(reply(question.subarray(0, end), type, records), from.port, from.address);
  });
  const resolve: Resolve = async (hostname) => {
    const nameServer = { ipAddr: "127.0.0.1", port };
    const name = hostname.endsWith(".") ? hostname : `${hostname}.`;
    const ask = (type: "A" | "AAAA") =>
      Deno.resolveDns(name, type, { nameServer }).catch((error) => {
        if (error instanceof Deno.errors.NotFound) return [];
        throw error;
      });
    const v4 = await ask("A");
    const v6 = await ask("AAAA");
    return [
      ...v4.map((address) => ({ address, family: 4 })),
      ...v6.map((address) => ({ address, family: 6 })),
    ];
  };
  return { resolve, asked, close: () => void socket.close() };
}

function readQuestion(packet: Uint8Array): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (packet[at]! !== 0) {
    labels.push(new TextDecoder().decode(packet.subarray(at + 1, at + 1 + packet[at]!)));
    at += 1 + packet[at]!;
  }
  return { name: labels.join("."), type: (packet[at + 1]! << 8) | packet[at + 2]!, end: at + 5 };
}

/** The question again, with its answers: a pointer to its name, type, class IN, a lifetime of 0, the address. */
function reply(question: Uint8Array, type: number, addresses: readonly string[]): Uint8Array {
  const records = addresses.flatMap((address) => {
    const bytes = addressBytes(address);
    return [0xc0, 0x0c, 0, type, 0, 1, 0, 0, 0, 0, 0, bytes.length, ...bytes];
  });
  const packet = new Uint8Array([...question, ...records]);
  // An answer, authoritative, recursion available; one question, so many answers, nothing else.
  packet.set([0x85, 0x80, 0, 1, 0, addresses.length, 0, 0, 0, 0], 2);
  return packet;
}

function addressBytes(address: string): number[] {
  if (!address.includes(":")) return address.split(".").map(Number);
  const [head, tail] = address.split("::").map((half) => half === "" ? [] : half.split(":"));
  const groups = tail === undefined
    ? head!
    : [...head!, ...new Array<string>(8 - head!.length - tail.length).fill("0"), ...tail];
  return groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]);
}
