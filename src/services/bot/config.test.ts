import { expect, test } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { parseBotConfig } from './config.ts'

const SEED = `version: v2
proxy_server: example.teleport.sh:443
onboarding:
  token: abc
services:
  - type: identity
    allow_reissue: true
    destination:
      type: directory
      path: /opt/machine-id
`

test.each([
  ['', 'tbot.yaml: the file is empty'],
  [SEED.replace('allow_reissue', 'allow_reisue'), 'tbot.yaml:7:5 services[0]: unknown key "allow_reisue" (did you mean "allow_reissue"?)'],
  [
    SEED.replace('type: identity', 'type: identiy'),
    'tbot.yaml:6:11 services[0].type: must be "identity" or "mcp" or "oauth-token" or "workload-identity-x509" or "workload-identity-jwt" (did you mean "identity"?)',
  ],
  [`${SEED}nonsense: 1\n`, 'tbot.yaml:11:1 unknown key "nonsense"'],
  [SEED.replace('v2', 'v3'), 'tbot.yaml:1:10 version: "v3" is not supported (use v2)'],
  [SEED.replace('type: identity', 'type: ssh_host'), 'tbot.yaml:6:11 services[0].type: must be "identity"'],
  [SEED.replace('type: directory', 'type: s3'), 'tbot.yaml:9:13 services[0].destination.type: must be "directory"'],
  [SEED.replace('/opt', 'opt'), 'tbot.yaml:10:13 services[0].destination.path: must be an absolute path'],
  [SEED.replace(/ {4}destination:[^]*/, ''), 'services[0].destination: required'],
  [SEED.replace('  token: abc', '  join_method: token'), 'onboarding.token: required: tctl bots add prints one'],
  [SEED.replace(/proxy_server.*\n/, ''), 'proxy_server: required'],
  [`${SEED}auth_server: a:1\n`, 'tbot.yaml:11:14 auth_server: is another name for proxy_server'],
  [`${SEED}outputs: []\n`, 'tbot.yaml:11:10 outputs: is the older name of services'],
  [`${SEED}credential_ttl: 25h\n`, 'tbot.yaml:11:17 credential_ttl: must be at most 24h'],
  [`${SEED}credential_ttl: 30\n`, 'tbot.yaml:11:17 credential_ttl: expected string, received number'],
  [`${SEED}credential_ttl: 10s\n`, 'credential_ttl: must be at least 60s'],
  [`${SEED}renewal_interval: soon\n`, 'tbot.yaml:11:19 renewal_interval: "soon" is not a duration'],
  [
    `${SEED}credential_ttl: 20m\nrenewal_interval: 20m\n`,
    'tbot.yaml:12:19 renewal_interval: must be shorter than credential_ttl (20m), or the credential ends before it is renewed',
  ],
  [`${SEED}    renewal_interval: 1h\n`, 'tbot.yaml:11:23 services[0].renewal_interval: must be shorter than credential_ttl (60m)'],
  [SEED + SEED.slice(SEED.indexOf('  - type')), 'two services would write to /opt/machine-id'],
  [`${SEED}storage: {type: directory, path: /opt/machine-id/}\n`, 'is where the bot keeps its own credentials'],
  [`${SEED}  - {type: mcp, listen: "tcp://0.0.0.0:80"}\n`, 'services[1].listen: must be unix:///PATH or tcp://127.0.0.1:PORT'],
  [`${SEED}  - {type: mcp, listen: "tcp://127.0.0.1:80"}\n`, 'services[1].destination: required with a tcp:// address'],
])('%s', (text, message) => {
  expect(faultOf(text)).toContain(message)
})

test('the configuration of the guide, and what it leaves out', () => {
  expect(parseBotConfig(SEED, 'tbot.yaml', { HOME: '/home/a', XDG_STATE_HOME: '/state' })).toMatchObject({
    proxy: 'example.teleport.sh:443',
    oneshot: false,
    intervalMs: 1_200_000,
    services: [
      {
        type: 'identity',
        name: 'identity-1',
        allow_reissue: true,
        destination: { type: 'directory', path: '/opt/machine-id', symlinks: 'try-secure', acls: 'try', readers: [] },
        ttlMs: 3_600_000,
        intervalMs: 1_200_000,
      },
    ],
  })
})

test('the older spelling, spans of a service, and a short life that is renewed after a third of it', () => {
  const text = SEED.replace('v2', 'v1').replace('services:', 'outputs:').replace('proxy_server', 'auth_server')
  const config = parseBotConfig(`${text}    credential_ttl: 15m\ncertificate_ttl: 30m\n`, 'tbot.yaml', { HOME: '/home/a' })
  expect([config.proxy, config.intervalMs, config.services[0]?.ttlMs, config.services[0]?.intervalMs]).toEqual([
    'example.teleport.sh:443',
    600_000,
    900_000,
    300_000,
  ])
})

test('flags win over the file', () => {
  const overrides = { top: { proxy_server: 'b:1', oneshot: true }, onboarding: { token: 'other' } }
  const config = parseBotConfig(SEED.replace('proxy_server', 'auth_server'), 'tbot.yaml', { HOME: '/home/a' }, overrides)
  expect([config.proxy, config.oneshot, config.onboarding.token]).toEqual(['b:1', true, 'other'])
})

function faultOf(text: string): string {
  try {
    parseBotConfig(text, 'tbot.yaml', { HOME: '/home/a' })
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown.message
    throw thrown
  }
  return 'accepted'
}
