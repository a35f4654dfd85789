import { command } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TctlIo } from './context.ts'
import { FORMAT } from './format.ts'

const CLIENT: readonly OptionRow[] = [
  { flags: '--display <text>', description: 'What the button of the sign-in page says' },
  { flags: '--id <id>', description: 'Client id, from the identity provider', required: true },
  { flags: '--secret <secret>', description: 'Client secret, from the identity provider', env: ['SALLYPORT_SSO_SECRET'] },
  { flags: '--redirect-url <urls>', description: 'Where the browser comes back to; that of the public address unless told', list: true },
]

/** Commands about identity providers by which people sign in. */
export function addSsoCommands(program: Program, io: TctlIo): void {
  command(program, { path: 'sso', summary: 'Identity providers by which people sign in' })
  command(program, { path: 'sso configure', summary: 'Print a connector as YAML' })
  command(program, {
    path: 'sso configure oidc',
    summary: 'Print a connector of OpenID Connect',
    options: [
      { flags: '-n, --name <name>', description: 'Name of the connector', default: 'oidc' },
      ...CLIENT,
      { flags: '--issuer-url <url>', description: 'The issuer, as the identity provider spells it', required: true },
      {
        flags: '-r, --claims-to-roles <mapping>',
        description: 'CLAIM,VALUE,ROLE and more roles; repeat it for more mappings',
        list: 'uncut',
        required: true,
      },
      { flags: '--scope <scopes>', description: 'Scopes to ask for', list: true },
      { flags: '--username-claim <claim>', description: 'The claim by which people are named; email unless told' },
      { flags: '--prompt <prompt>', description: 'How the identity provider should ask, such as select_account' },
      { flags: '--acr <values>', description: 'Which kind of sign-in to ask for' },
      { flags: '--max-age <duration>', description: 'How old a sign-in there may be' },
      { flags: '--allow-unverified-email', description: 'Take an email that nobody says is verified' },
    ],
    examples: [
      'tctl sso configure oidc --name=corp --issuer-url=https://login.example.com --id=ID --secret=SECRET --claims-to-roles=groups,admins,editor,access',
    ],
    load: action(io, () => import('./sso-configure-oidc.ts')),
  })
  command(program, {
    path: 'sso configure github',
    aliases: ['gh'],
    summary: 'Print a connector of GitHub',
    options: [
      { flags: '-n, --name <name>', description: 'Name of the connector', default: 'github' },
      ...CLIENT,
      {
        flags: '-r, --teams-to-roles <mapping>',
        description: 'ORGANIZATION,TEAM,ROLE and more roles; repeat it for more teams',
        list: 'uncut',
        required: true,
      },
      { flags: '--endpoint-url <url>', description: 'Of GitHub Enterprise' },
      { flags: '--api-endpoint-url <url>', description: 'Of its API' },
    ],
    examples: ['tctl sso configure github --id=ID --secret=SECRET --teams-to-roles=acme,platform,editor,access'],
    load: action(io, () => import('./sso-configure-github.ts')),
  })
  command(program, {
    path: 'sso test',
    summary: 'Try a connector out without saving it',
    arguments: [{ name: '[file]', description: 'File with one connector; - or nothing: standard input' }],
    options: [FORMAT],
    examples: ['tctl sso test corp.yaml'],
    load: action(io, () => import('./sso-test.ts')),
  })
}
