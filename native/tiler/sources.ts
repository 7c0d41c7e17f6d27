// Owns what the committed WASM is made from: the compiler flags and the hash over the crate's sources.

/** 1 GiB is the ceiling of one picture's memory, see README.md. */
export const RUST_FLAGS: readonly string[] = ["-Ctarget-feature=+simd128", "-Clink-arg=--max-memory=1073741824"];

async function* walk(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isDirectory) yield* walk(`${folder}/${entry.name}`);
    else yield `${folder}/${entry.name}`;
  }
}

/** SHA-256 over Cargo.toml, Cargo.lock, src/** (name and contents) and the flags. */
export async function sourceHash(crate: string): Promise<string> {
  const names = ["Cargo.lock", "Cargo.toml"];
  for await (const path of walk(`${crate}/src`)) names.push(path.slice(crate.length + 1));
  const lines = [RUST_FLAGS.join(" ")];
  for (const name of names.sort()) lines.push(`${await sha256(await Deno.readFile(`${crate}/${name}`))}  ${name}`);
  return await sha256(new TextEncoder().encode(lines.join("\n")));
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
