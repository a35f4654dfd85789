import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import type { Access, Route } from '../src/api/route.ts'
import { ROUTES } from '../src/api/routes.ts'
import { type EventRow, EVENTS } from '../src/audit/events.ts'
import { fileSchema } from '../src/cli/server/config.ts'
import { CODES } from '../src/lib/errors.ts'
import { type KindRow, KINDS } from '../src/resources/registry.ts'
import { botFileSchema } from '../src/services/bot/config.ts'
import { destinationSchema } from '../src/services/bot/destination.ts'
import { serviceSchema } from '../src/services/bot/service.ts'
import { readHelp } from './command-help.ts'
import { describeType, type FieldRow, listFields, renderTable } from './schema-table.ts'

// Writes docs/reference from the tables in the code; with --check it only says which pages are stale, and fails.

const FOLDER = join(import.meta.dirname, '..', 'docs', 'reference')
/** Pages that tests write from what they saw. */
const OTHERS = ['revisions.md']

const pages: Readonly<Record<string, string>> = {
  'resources.md': renderResources(),
  'config.md': renderConfig(),
  'tbot-config.md': renderBotConfig(),
  'api.md': renderApi(),
  'events.md': renderEvents(),
  'errors.md': renderErrors(),
  'commands.md': await renderCommands(),
}

await mkdir(FOLDER, { recursive: true })
const present = (await readdir(FOLDER)).filter((name) => !OTHERS.includes(name))
const stale = present.filter((name) => !(name in pages))
for (const [name, text] of Object.entries(pages)) {
  if (!present.includes(name) || (await readFile(join(FOLDER, name), 'utf8')) !== text) stale.push(name)
}
if (process.argv.includes('--check')) {
  for (const name of stale) process.stderr.write(`docs/reference/${name} is stale: run "npm run reference"\n`)
  if (stale.length > 0) process.exitCode = 1
} else {
  for (const name of stale) {
    const text = pages[name]
    await (text === undefined ? rm(join(FOLDER, name)) : writeFile(join(FOLDER, name), text))
    process.stdout.write(`docs/reference/${name} ${text === undefined ? 'removed' : 'written'}\n`)
  }
}

/** A page: its title, the file it is made from, an opening, then the rest. */
function page(title: string, source: string, opening: string, ...parts: string[]): string {
  return [`# ${title}\n`, `<!-- Made by "npm run reference" from ${source}. -->\n`, `${opening}\n`, ...parts].join('\n')
}

function renderResources(): string {
  const rows: [string, KindRow][] = Object.entries(KINDS)
  return page(
    'Resources',
    'src/resources',
    'What `tctl get`, `create`, `edit` and `rm` know: a document has `kind`, `version`, `metadata` and `spec`.',
    renderTable(
      ['Kind', 'Also', 'What it is'],
      rows.map(([kind, row]) => [`[${kind}](#${kind})`, row.aliases.map(code).join(', '), row.purpose]),
    ),
    ...rows.map(([kind, row]) => [`## ${kind}\n`, renderKind(row), renderFields(listFields(row.schema))].join('\n')),
  )
}

function renderKind(row: KindRow): string {
  const remarks = [
    row.purpose,
    row.singleton === undefined ? '' : `There is one, named \`${row.singleton}\`: it can be changed, not created or deleted.`,
    row.secretName ? 'Its name is a secret, shown with `--with-secrets` only.' : '',
    row.heartbeat ? 'Written by services; read-only for everybody else.' : '',
  ]
  return `${remarks.filter((remark) => remark !== '').join(' ')}\n`
}

function renderConfig(): string {
  return page(
    'Configuration',
    'src/cli/server/config.ts and the config.ts of each service',
    'Everything that may stand in `sallyport.yaml`. All of it is optional. `sallyport config check FILE` names every fault of a file.',
    renderFields(listFields(fileSchema)),
  )
}

function renderBotConfig(): string {
  return page(
    'Configuration of tbot',
    'src/services/bot',
    'Everything that may stand in `tbot.yaml`. `tbot configure identity` prints one, and `tbot start -c FILE` names every fault of one with line and column.',
    renderFields(listFields(botFileSchema)),
    '## Entries of `services`\n',
    ...serviceSchema.options.map(renderVariant),
    '## `storage`, and `destination` of a service\n\nStorage is a directory without readers, or memory.\n',
    ...destinationSchema.options.map(renderVariant),
  )
}

/** One of the forms that `type` tells apart. */
function renderVariant(schema: z.ZodType): string {
  const fields = listFields(schema)
  const name = fields.find(({ path }) => path === 'type')?.type.replaceAll('"', '') ?? ''
  const members = fields.filter(({ path }) => path !== 'type')
  return [
    `### ${name}\n`,
    ...(schema.description === undefined ? [] : [`${schema.description}\n`]),
    renderFields(members, 'No further fields'),
  ].join('\n')
}

function renderApi(): string {
  const routes: Route[] = Object.values(ROUTES)
  return page(
    'API of the Auth Service',
    'src/api',
    'Members of the input that the path names travel in the path; the others in the query of a GET or DELETE, else in a JSON body.',
    renderTable(
      ['Route', 'Method', 'Path', 'Who may'],
      routes.map((row) => [`[${row.name}](#${row.name.toLowerCase()})`, row.method, code(row.path), renderAccess(row.access)]),
    ),
    ...routes.map((row) =>
      [
        `## ${row.name}\n`,
        `\`${row.method} ${row.path}\` – ${row.summary}\n`,
        'Input:\n',
        renderFields(listFields(row.input), describeType(row.input)),
        'Output:\n',
        renderOutput(row),
      ].join('\n'),
    ),
  )
}

function renderOutput({ output }: Route): string {
  const fields = listFields(output, 'output')
  if (fields.length === 0) return renderFields(fields, describeType(output, 'output'))
  return renderTable(
    ['Field', 'Type', 'What it is'],
    fields.map((field) => [code(field.path), field.required ? field.type : `${field.type}, if any`, field.description]),
  )
}

function renderAccess(access: Access): string {
  if (access === 'public') return 'anybody'
  if (access === 'authenticated') return 'any identity, for itself'
  if ('byKind' in access) return `verb \`${access.byKind}\` on the kind`
  return `verb \`${access.verb}\` on \`${access.kind}\``
}

function renderEvents(): string {
  const rows: [string, EventRow][] = Object.entries(EVENTS)
  const [first, ...others] = rows.map(([, { fields }]) => Object.entries(fields))
  const common = (first ?? []).filter(([field, secrecy]) =>
    others.every((fields) => fields.some((other) => other[0] === field && other[1] === secrecy)),
  )
  return page(
    'Audit events',
    'src/audit/events.ts',
    'Every event there is. Of its fields, *sensitive* ones go through the redactor and *secret* ones are never written; all others are written as they are.',
    renderTable(
      ['Event', 'Done', 'Refused or failed', 'What happened'],
      rows.map(([type, { code: codes, summary }]) => [code(type), codes.success ?? '', codes.failure ?? '', summary]),
    ),
    '## Fields\n',
    `Every event can carry ${renderEventFields(common)}, and beside these:\n`,
    renderTable(
      ['Event', 'Fields'],
      rows.map(([type, { fields }]) => [
        code(type),
        renderEventFields(Object.entries(fields).filter(([field]) => !common.some(([name]) => name === field))),
      ]),
    ),
  )
}

function renderEventFields(fields: readonly (readonly [field: string, secrecy: string])[]): string {
  return fields.map(([field, secrecy]) => (secrecy === 'public' ? code(field) : `${code(field)} (*${secrecy}*)`)).join(', ')
}

function renderErrors(): string {
  return page(
    'Errors',
    'src/lib/errors.ts',
    'What each code of an error becomes at the edges: the status of an HTTP answer, the code of a JSON-RPC error, the exit code of a command.',
    renderTable(
      ['Code', 'HTTP', 'JSON-RPC', 'Exit code', 'Logged as'],
      Object.entries(CODES).map(([word, row]) => [code(word), String(row.http), String(row.rpc), String(row.exit), row.log]),
    ),
    'A command also ends with 0 when all went well, and with 7 when a check found problems.\n',
  )
}

async function renderCommands(): Promise<string> {
  const help = await readHelp()
  return page(
    'Commands',
    'the help of each command',
    '`sallyport tsh …`, `sallyport tctl …` and `sallyport tbot …` do the same as `tsh …`, `tctl …` and `tbot …`.',
    ...help.map(({ command, text }) => `## ${command}\n\n\`\`\`text\n${text.trimEnd()}\n\`\`\`\n`),
  )
}

function renderFields(fields: readonly FieldRow[], whole = 'object'): string {
  if (fields.length === 0) return whole === 'object' ? 'nothing.\n' : `${whole}.\n`
  return renderTable(
    ['Field', 'Type', 'Unless given', 'What it is'],
    fields.map((field) => [
      code(field.path),
      field.type,
      field.required ? 'required' : field.default === undefined ? '' : code(field.default),
      field.description,
    ]),
  )
}

function code(text: string): string {
  return `\`${text}\``
}
