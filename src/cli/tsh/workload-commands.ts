import { command } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TshIo } from './context.ts'

const SELECTION: readonly OptionRow[] = [
  { flags: '--name-selector <name>', description: 'The workload identity of this name' },
  { flags: '--label-selector <labels>', description: 'The one with these labels that you may have: key=value,key2=value2' },
  { flags: '--credential-ttl <duration>', description: 'How long it lives', default: '1h' },
]

/** Commands about SPIFFE IDs. */
export function addWorkloadIdentities(program: Program, io: TshIo): void {
  command(program, { path: 'workload-identity', summary: 'SPIFFE IDs for workloads' })
  command(program, {
    path: 'workload-identity issue-x509',
    summary: 'Write a certificate with a SPIFFE ID: svid.pem, svid_key.pem, svid_bundle.pem',
    options: [...SELECTION, { flags: '--output <directory>', description: 'Where to write them', required: true }],
    examples: ['tsh workload-identity issue-x509 --name-selector=web --output=./svid'],
    load: action(io, () => import('./issue-x509.ts')),
  })
  command(program, {
    path: 'workload-identity issue-jwt',
    summary: 'Print a JWT with a SPIFFE ID, or write it to the file jwt_svid',
    options: [
      ...SELECTION,
      { flags: '--audience <audience>', description: 'For whom it is', list: true, required: true },
      { flags: '--output <directory>', description: 'Where to write it' },
    ],
    examples: ['tsh workload-identity issue-jwt --name-selector=web --audience=db.example.com'],
    load: action(io, () => import('./issue-jwt.ts')),
  })
}
