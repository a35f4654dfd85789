import { z } from 'zod'

/** A boolean of a configuration file. YAML 1.1, which older tools write, also calls them yes and no, on and off. */
export const yesNoSchema = z.union([z.boolean(), z.stringbool({ truthy: ['yes', 'on'], falsy: ['no', 'off'] })], {
  error: 'must be true or false (or yes or no)',
})
