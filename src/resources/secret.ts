import { z } from 'zod'
import { resourceSchema } from './envelope.ts'

const NAME = '[A-Za-z0-9][A-Za-z0-9._-]{0,127}'
const WHOLE_NAME = new RegExp(`^${NAME}$`)
const REFERENCE = new RegExp(String.raw`\{\{\s*secret\.(${NAME})\s*\}\}`, 'g')

/** Of a resource that names a secret. */
export const secretNameSchema = z.string().regex(WHOLE_NAME, 'must be the name of a secret: letters, digits, dots, dashes, underscores')

const specSchema = z.strictObject({
  /** Only ever written: it is sealed before anything is stored. Left out of a change, the value stays what it is. */
  value: z
    .string()
    .min(1, 'must not be empty')
    .max(32_768, 'must be at most 32768 characters')
    .refine((value) => !value.includes('\0'), 'must not contain the character U+0000')
    .optional(),
})

/** What MCP servers ask of the gateway itself: `{{secret.NAME}}` in `rewrite.headers`, or `env_from` of a program. */
export const secretSchema = resourceSchema('secret', ['v1'], specSchema).refine(({ metadata }) => WHOLE_NAME.test(metadata.name), {
  path: ['metadata', 'name'],
  error: 'must consist of letters, digits, dots, dashes and underscores, so that a template can name it',
})

/** The secrets that a text names by `{{secret.NAME}}`. */
export function secretsIn(text: string): string[] {
  return [...text.matchAll(REFERENCE)].map(([, name = '']) => name)
}

/** The text with the values in place of the names; what a value says is never read as a template. */
export function fillSecrets(text: string, valueOf: (name: string) => string): string {
  return text.replace(REFERENCE, (_, name: string) => valueOf(name))
}

/** What keeps a text from being filled with secrets, if anything: a value that comes from elsewhere could name secrets of its own. */
export function findSecretFault(text: string): string | undefined {
  if (!/\{\{\s*secret\b/.test(text)) return undefined
  return text.replace(REFERENCE, '').includes('{{')
    ? 'a text with {{secret.NAME}} can have no other template, and NAME must be letters, digits, dots, dashes and underscores'
    : undefined
}
