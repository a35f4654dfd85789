/** Ids of JSON-RPC messages compare as type and value, as the servers compare them: `1` and `"1"` are two, `1` and `1.0` are one. */
export function idKey(id: unknown): string {
  // What is too large for JavaScript (`1e400`) is no `null`, which stands for a request that could not be read.
  if (id === Number.POSITIVE_INFINITY || id === Number.NEGATIVE_INFINITY) return String(id)
  return JSON.stringify(id) ?? 'null'
}

export function keyOfRaw(raw: string | undefined): string {
  if (raw === undefined) return 'null'
  return isCanonical(raw) ? raw : idKey(JSON.parse(raw))
}

/** What most clients send: a whole number, or a string without anything to escape. Its text is its key. */
function isCanonical(raw: string): boolean {
  return raw.length < 64 && /^(?:0|[1-9]\d{0,14}|"[ !#-[\]-~]*")$/.test(raw)
}
