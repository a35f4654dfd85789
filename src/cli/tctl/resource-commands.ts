import { command } from '../../lib/command-line.ts'
import type { Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TctlIo } from './context.ts'
import { FORMAT } from './format.ts'

/** Commands over resources of every kind, and about the cluster. */
export function addResourceCommands(program: Program, io: TctlIo): void {
  command(program, {
    path: 'create',
    summary: 'Create resources from YAML or JSON',
    arguments: [{ name: '[file]', description: 'File with one or more documents; - or nothing: standard input' }],
    options: [{ flags: '-f, --force', description: 'Replace resources that are there' }],
    examples: ['tctl create mcp_server.yaml', 'tctl create -f mcp_server.yaml'],
    load: action(io, () => import('./create.ts')),
  })
  command(program, {
    path: 'get',
    summary: 'Print resources',
    arguments: [{ name: '<refs...>', description: 'KIND or KIND/NAME, several with commas; all for everything' }],
    options: [
      { flags: '--format <format>', description: 'How to print', choices: ['yaml', 'json', 'text'], default: 'yaml' },
      { flags: '--with-secrets', description: 'Show secrets too' },
      { flags: '-v, --verbose', description: 'Accepted, without effect', hidden: true },
    ],
    examples: ['tctl get apps', 'tctl get role/access,users --format=json'],
    load: action(io, () => import('./get.ts')),
  })
  command(program, {
    path: 'rm',
    aliases: ['del'],
    summary: 'Delete resources',
    arguments: [{ name: '<refs...>', description: 'KIND/NAME' }],
    examples: ['tctl rm app/everything'],
    load: action(io, () => import('./rm.ts')),
  })
  command(program, {
    path: 'edit',
    summary: 'Change a resource in your editor',
    arguments: [{ name: '<ref>', description: 'KIND/NAME' }],
    examples: ['tctl edit role/access'],
    load: action(io, () => import('./edit.ts')),
  })
  command(program, {
    path: 'status',
    summary: 'Show the cluster, its version and CA pins',
    options: [FORMAT],
    load: action(io, () => import('./status.ts')),
  })
  command(program, { path: 'version', summary: 'Show the version', options: [FORMAT], load: action(io, () => import('./version.ts')) })
}
