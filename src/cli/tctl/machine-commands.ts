import { command } from '../../lib/command-line.ts'
import type { ArgumentRow, OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TctlIo } from './context.ts'
import { FORMAT } from './format.ts'

/** Commands about join tokens, bots and hosts. */
export function addMachineCommands(program: Program, io: TctlIo): void {
  addTokens(program, io)
  addBots(program, io)
  addInstances(program, io)
  addInventory(program, io)
}

function addTokens(program: Program, io: TctlIo): void {
  command(program, { path: 'tokens', summary: 'Join tokens of agents and bots' })
  command(program, {
    path: 'tokens add',
    summary: 'Make a join token',
    options: [
      { flags: '--type <types>', description: 'What may join with it: app, db, proxy, bot …', list: true, required: true },
      { flags: '--ttl <duration>', description: 'How long it lives', default: '30m' },
      { flags: '--value <value>', description: 'The token itself, instead of a random one' },
      { flags: '--labels <labels>', description: 'Labels, key=value', list: true },
      { flags: '--bot <bot>', description: 'With the type bot: which bot joins' },
      {
        flags: '--format <format>',
        description: 'How to print: text is the token alone; without the flag, the command that joins with it too',
        choices: ['text', 'json', 'yaml'],
      },
    ],
    examples: ['tctl tokens add --type=app --ttl=1h', 'tctl tokens add --type=app --ttl=1h --format=text > token'],
    load: action(io, () => import('./tokens-add.ts')),
  })
  command(program, {
    path: 'tokens ls',
    aliases: ['list'],
    summary: 'List join tokens',
    options: [{ flags: '--with-secrets', description: 'Show the tokens themselves' }, FORMAT],
    load: action(io, () => import('./tokens-ls.ts')),
  })
  command(program, {
    path: 'tokens rm',
    aliases: ['delete'],
    summary: 'Delete a join token',
    arguments: [{ name: '<token>', description: 'The token, or what it is known as' }],
    load: action(io, () => import('./tokens-rm.ts')),
  })
}

const BOT: readonly ArgumentRow[] = [{ name: '<bot>', description: 'The bot' }]
const LOGINS: OptionRow = { flags: '--logins <logins>', description: 'Accepted, without effect for MCP servers', list: true, hidden: true }

function addBots(program: Program, io: TctlIo): void {
  command(program, { path: 'bots', summary: 'Machine identities' })
  command(program, {
    path: 'bots add',
    summary: 'Create a bot and say how it joins',
    arguments: BOT,
    options: [
      { flags: '--roles <roles>', description: 'Roles of the bot', list: true },
      { flags: '--token <token>', description: 'It joins with this token, which names it, instead of with a new secret' },
      { flags: '--ttl <duration>', description: 'How long the new secret lives', default: '1h' },
      { flags: '--max-session-ttl <duration>', description: 'The longest life of its certificates (at most 168h)', default: '12h' },
      { flags: '--traits <traits>', description: 'Traits, key=value; repeat a key for more values', list: true },
      LOGINS,
      FORMAT,
    ],
    examples: ['tctl bots add ci --roles=access'],
    load: action(io, () => import('./bots-add.ts')),
  })
  command(program, {
    path: 'bots ls',
    aliases: ['list'],
    summary: 'List bots',
    options: [FORMAT],
    load: action(io, () => import('./bots-ls.ts')),
  })
  command(program, {
    path: 'bots update',
    summary: 'Change roles or the longest session of a bot',
    arguments: BOT,
    options: [
      { flags: '--add-roles <roles>', description: 'Roles beside those it has', list: true },
      { flags: '--set-roles <roles>', description: 'Roles, in place of those before', list: true },
      { flags: '--set-max-session-ttl <duration>', description: 'The longest life of its certificates (at most 168h)' },
      { flags: '--set-traits <traits>', description: 'Traits, key=value, in place of those before', list: true },
      { ...LOGINS, flags: '--add-logins <logins>' },
      { ...LOGINS, flags: '--set-logins <logins>' },
    ],
    examples: ['tctl bots update ci --add-roles=mcp-user'],
    load: action(io, () => import('./bots-update.ts')),
  })
  command(program, {
    path: 'bots rm',
    aliases: ['delete'],
    summary: 'Delete a bot, and end its certificates at once',
    arguments: BOT,
    load: action(io, () => import('./bots-rm.ts')),
  })
}

function addInstances(program: Program, io: TctlIo): void {
  command(program, { path: 'bots instances', summary: 'Where bots run' })
  command(program, {
    path: 'bots instances ls',
    aliases: ['list'],
    summary: 'List the instances of a bot, or of all',
    arguments: [{ name: '[bot]', description: 'Only of this bot' }],
    options: [FORMAT],
    load: action(io, () => import('./bot-instances-ls.ts')),
  })
  command(program, {
    path: 'bots instances show',
    summary: 'Show one instance with its latest certificates',
    arguments: [{ name: '<instance>', description: 'BOT/ID, or the ID' }],
    options: [FORMAT],
    load: action(io, () => import('./bot-instances-show.ts')),
  })
  command(program, {
    path: 'bots instances add',
    summary: 'Let a bot join in one more place',
    arguments: BOT,
    options: [
      { flags: '--token <token>', description: 'It joins with this token, which names it, instead of with a new secret' },
      { flags: '--ttl <duration>', description: 'How long the new secret lives', default: '1h' },
      FORMAT,
    ],
    load: action(io, () => import('./bot-instances-add.ts')),
  })
}

function addInventory(program: Program, io: TctlIo): void {
  command(program, { path: 'inventory', summary: 'Hosts of the cluster' })
  command(program, {
    path: 'inventory ls',
    aliases: ['list'],
    summary: 'List the hosts that joined and what they run',
    options: [{ flags: '--services <services>', description: 'Only hosts that run one of these', list: true }, FORMAT],
    load: action(io, () => import('./inventory-ls.ts')),
  })
  command(program, {
    path: 'inventory status',
    summary: 'Count hosts, services and versions',
    arguments: [{ name: '[host]', description: 'Show this host instead' }],
    options: [FORMAT],
    load: action(io, () => import('./inventory-status.ts')),
  })
}
