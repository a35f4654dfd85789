const UNITS: Record<string, number> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
}
const SIZE = /^(\d{1,15}(?:\.\d{1,3})?) ?([A-Za-z]{0,3})$/

/** Bytes of `512MiB`, `1.5G`, `200MB` or `4096` (K, M and G are powers of 1024); undefined when the text is no size. */
export function findSize(text: string): number | undefined {
  const [, digits, unit = ''] = SIZE.exec(text) ?? []
  const factor = Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined
  if (digits === undefined || factor === undefined) return undefined
  const bytes = Math.round(Number(digits) * factor)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
