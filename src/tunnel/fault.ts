/** What went wrong with a stream or a tunnel, by the number that stands for it on the wire (SPEC.md, "Codes"). */
export const FAULT_CODES = {
  /** Nobody wants the answer any more. */
  cancelled: 0,
  /** A frame that this protocol does not allow. */
  protocol: 1,
  /** More data than was allowed to be sent. */
  flow_control: 2,
  /** The stream was not taken and nothing of it was looked at. */
  refused: 3,
  internal: 4,
  /** The answer breaks off here; what came is not all of it. */
  aborted: 5,
  /** One end did not take what was sent to it for too long. */
  stalled: 6,
  too_large: 7,
  /** Too many frames that ask for work and carry nothing. */
  flooded: 8,
  /** A ping was not answered in time. */
  silent: 9,
  /** The end is shutting down on purpose. */
  closing: 10,
  /** No common version or not this protocol at all. */
  version: 11,
  /** The connection ended. */
  lost: 12,
} as const

export type FaultCode = keyof typeof FAULT_CODES

/** Of a stream or of the whole tunnel. The message is in our words, or the peer's in printable ones. */
export class TunnelFault extends Error {
  override readonly name = 'TunnelFault'
  readonly code: FaultCode

  constructor(code: FaultCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

const WORDS = new Map<number, FaultCode>()
for (const code of faultCodes()) WORDS.set(FAULT_CODES[code], code)

/** What a number stands for; one of a later version counts as `internal`. */
export function faultCode(value: number): FaultCode {
  return WORDS.get(value) ?? 'internal'
}

function faultCodes(): FaultCode[] {
  const isCode = (word: string): word is FaultCode => Object.hasOwn(FAULT_CODES, word)
  return Object.keys(FAULT_CODES).filter(isCode)
}
