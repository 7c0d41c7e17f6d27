/** Which IP addresses are of the public internet. Everything else is refused, so that no client looks inside a network. */

/** Ranges of IPv4 that are not public: [first address, prefix length]. IANA's special-purpose registry. */
const V4_SPECIAL: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  // The host of Azure's virtual machines, at a public address.
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.31.196.0", 24],
  ["192.52.193.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["192.175.48.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];

/** Inside 2000::/3, the only range handed out, what is not public after all. */
const V6_SPECIAL: readonly (readonly [string, number])[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["3fff::", 20],
  ["5f00::", 16],
];

/** False for anything that is not a well-formed public address. */
export function isPublicAddress(address: string): boolean {
  const v4 = parseV4(address);
  if (v4 !== null) return isPublicV4(v4);
  const v6 = parseV6(address);
  if (v6 === null) return false;
  const embedded = embeddedV4(v6);
  if (embedded !== null) return isPublicV4(embedded);
  if ((v6[0]! & 0xe000) !== 0x2000) return false;
  return !V6_SPECIAL.some(([first, bits]) => sharesPrefix(v6, parseV6(first)!, bits, 16));
}

/** Four bytes of a dotted quad, else null. The URL parser has already turned 127.1 and 0x7f000001 into this form. */
export function parseV4(text: string): number[] | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  const bytes: number[] = [];
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes.push(Number(part));
  }
  return bytes;
}

/** Eight 16-bit groups of an IPv6 address, else null. An address with a zone (`%eth0`) is none. */
export function parseV6(text: string): number[] | null {
  if (text.length > 45) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const groups = halves.map(parseGroups);
  const [head, tail] = groups;
  if (head === null || head === undefined || tail === null) return null;
  if (tail === undefined) return head.length === 8 ? head : null;
  const numMissing = 8 - head.length - tail.length;
  return numMissing < 1 ? null : [...head, ...new Array<number>(numMissing).fill(0), ...tail];
}

function parseGroups(half: string): number[] | null {
  if (half === "") return [];
  const words: number[] = [];
  const parts = half.split(":");
  for (const [i, part] of parts.entries()) {
    const v4 = i === parts.length - 1 ? parseV4(part) : null;
    if (v4 !== null) words.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) words.push(parseInt(part, 16));
    else return null;
  }
  return words;
}

/** A network: its first address as parts of 8 (IPv4) or 16 bits (IPv6), and the length of its prefix. */
export interface Network {
  readonly first: readonly number[];
  readonly numBits: number;
}

/** `10.0.0.0/8`, `fd00::/8`, or one address; null when it is none. */
export function parseNetwork(text: string): Network | null {
  const [, bracketed, plain, length] = /^(?:\[([^\]/]+)\]|([^[\]/]+))(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain;
  if (address === undefined) return null;
  const first = parseV4(address) ?? parseV6(address);
  if (first === null) return null;
  const maxBits = first.length === 4 ? 32 : 128;
  const numBits = length === undefined ? maxBits : Number(length);
  return numBits > maxBits ? null : { first, numBits };
}

/** Whether an address lies in a network; an IPv4 address inside an IPv6 one counts as that IPv4 address too. */
export function isWithin(address: string, { first, numBits }: Network): boolean {
  const v6 = parseV6(address);
  const parts = first.length === 8 ? v6 : parseV4(address) ?? (v6 === null ? null : embeddedV4(v6));
  return parts !== null && sharesPrefix(parts, first, numBits, first.length === 8 ? 16 : 8);
}

/** The IPv4 address inside ::ffff:a.b.c.d, ::a.b.c.d, 64:ff9b:: (NAT64) and 2002:: (6to4). */
function embeddedV4(v6: readonly number[]): number[] | null {
  const bytesAt = (i: number) => [v6[i]! >> 8, v6[i]! & 255, v6[i + 1]! >> 8, v6[i + 1]! & 255];
  const isZero = (from: number, to: number) => v6.slice(from, to).every((group) => group === 0);
  if (isZero(0, 5) && v6[5] === 0xffff) return bytesAt(6);
  if (isZero(0, 6)) return bytesAt(6);
  if (v6[0] === 0x64 && v6[1] === 0xff9b && isZero(2, 6)) return bytesAt(6);
  if (v6[0] === 0x2002) return bytesAt(1);
  return null;
}

function isPublicV4(bytes: readonly number[]): boolean {
  return !V4_SPECIAL.some(([first, bits]) => sharesPrefix(bytes, parseV4(first)!, bits, 8));
}

function sharesPrefix(a: readonly number[], b: readonly number[], numBits: number, bitsPerPart: number): boolean {
  for (let i = 0, left = numBits; left > 0; i++, left -= bitsPerPart) {
    const shift = Math.max(bitsPerPart - left, 0);
    if (a[i]! >> shift !== b[i]! >> shift) return false;
  }
  return true;
}
