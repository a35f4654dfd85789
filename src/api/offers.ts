import { z } from 'zod'
import { wireResource } from './resources.ts'

const refusedOffer = z.object({ name: z.string(), reason: z.string() })
export type RefusedOffer = z.infer<typeof refusedOffer>

/** What an agent says that it offers, and what of that is not for it to offer: the rest is taken. */
export const announced = {
  input: z.strictObject({ items: z.array(wireResource).min(1).max(100) }),
  output: z.object({ refused: z.array(refusedOffer).default([]) }),
}
