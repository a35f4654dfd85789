import { command } from '../../lib/command-line.ts'
import type { Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TshIo } from './context.ts'
import { FORMAT } from './format.ts'

/** Commands about the second factors of who is signed in. */
export function addMfa(program: Program, io: TshIo): void {
  command(program, { path: 'mfa', summary: 'Your second factors: passkeys and authenticator apps' })
  command(program, {
    path: 'mfa ls',
    aliases: ['list'],
    summary: 'List your second factors',
    options: [{ flags: '-v, --verbose', description: 'Show ids too' }, FORMAT],
    load: action(io, () => import('./mfa-ls.ts')),
  })
  command(program, {
    path: 'mfa add',
    summary: 'Set up a second factor: an authenticator app here, a passkey in the browser',
    options: [
      { flags: '--type <type>', description: 'TOTP or WEBAUTHN; asked for unless told' },
      { flags: '--name <name>', description: 'A word to know it by' },
      { flags: '--[no-]allow-passwordless', description: 'A passkey that signs in without a password' },
      {
        flags: '--browser <program>',
        description: 'Program to open the page with; none prints the address only',
        env: ['SALLYPORT_BROWSER'],
      },
    ],
    examples: ['tsh mfa add --type=TOTP --name=phone', 'tsh mfa add --type=WEBAUTHN'],
    load: action(io, () => import('./mfa-add.ts')),
  })
  command(program, {
    path: 'mfa rm',
    summary: 'Remove a second factor',
    arguments: [{ name: '<name>', description: 'Its name or id' }],
    load: action(io, () => import('./mfa-rm.ts')),
  })
}
