import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { joinDigest, possessionChallenge } from '../../../api/possession.ts'
import { generateKeyPair, renderPublicKey, signPossession } from '../../../ca/keys.ts'
import type { KeyPair } from '../../../ca/keys.ts'
import { ADMIN, startFixture, userIdentity } from '../auth-fixture.ts'
import type { Answer, Fixture } from '../auth-fixture.ts'

let fixture: Fixture
let keys: KeyPair

beforeAll(async () => {
  fixture = await startFixture({ limits: { publicCallsPerMinute: 100_000 } })
  keys = await generateKeyPair()
  const bot = { kind: 'bot', version: 'v1', metadata: { name: 'ci' }, spec: { roles: ['access'] } }
  await fixture.call('POST', '/v1/resources/bot', { resource: bot }, ADMIN)
})
afterAll(() => fixture.close())

interface Instance {
  id: string
  serial: string
}

function serialOf({ body }: Answer): string {
  return new X509Certificate(body.certificate).serialNumber
}

function prove(purpose: 'join' | 'renew' | 'bot-output', subject: string) {
  const public_key = renderPublicKey(keys.publicKey)
  return { public_key, possession: signPossession(keys.privateKey, possessionChallenge(purpose, subject, public_key)) }
}

async function join(): Promise<Instance> {
  const name = crypto.randomUUID()
  const token = { kind: 'token', version: 'v2', metadata: { name }, spec: { roles: ['Bot'], bot_name: 'ci' } }
  await fixture.call('POST', '/v1/resources/token', { resource: token }, ADMIN)
  const challenge = await fixture.call('POST', '/v1/join/challenge', {})
  const statement = { nonce: String(Reflect.get(challenge.body, 'nonce')), role: 'Bot', token: name, proof: { method: 'token' } }
  const answer = await fixture.call('POST', '/v1/join', { ...statement, ...prove('join', joinDigest(statement)) })
  return { id: String(Reflect.get(answer.body, 'bot_instance_id')), serial: serialOf(answer) }
}

/** As who holds the certificate with this serial. */
function act(path: '/v1/join/renew' | '/v1/bots/outputs', { id, serial }: Instance): Promise<Answer> {
  const own = userIdentity('bot-ci', [], { kind: 'bot', internal: true, botInstanceId: id, credentialId: serial })
  const request = path === '/v1/join/renew' ? prove('renew', '') : { ...prove('bot-output', ''), allow_reissue: false }
  return fixture.call('POST', path, request, own)
}

const step = fc.record({ holder: fc.constantFrom('owner', 'thief'), does: fc.constantFrom('renew', 'renew and lose the answer', 'use') })

test('of an owner and a thief who hold the same certificate, only one line of renewals is ever used: the other is locked out with it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 12 }), async (steps) => {
      const { id, serial } = await join()
      const held = { owner: serial, thief: serial }
      /** Serial → the one it was renewed from. */
      const parents = new Map<string, string>()
      const descends = (from: string, to: string): boolean => {
        for (let at: string | undefined = from; at !== undefined; at = parents.get(at)) if (at === to) return true
        return false
      }
      let lastUsed = serial
      let isLocked = false
      for (const { holder, does } of steps) {
        const mine = held[holder]
        const answer = await act(does === 'use' ? '/v1/bots/outputs' : '/v1/join/renew', { id, serial: mine })
        if (isLocked || !descends(mine, lastUsed)) {
          expect(answer.status).toBe(403)
          isLocked = true
          continue
        }
        // Who is refused although the last one used is a forebear is one whose certificate was renewed away from it.
        if (answer.status === 403) isLocked = true
        else if (does === 'use') lastUsed = mine
        else {
          parents.set(serialOf(answer), mine)
          if (does === 'renew') held[holder] = serialOf(answer)
        }
      }
    }),
    { numRuns: 25 },
  )
})

test('who is alone is never locked out, whatever answers are lost', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const instance = await join()
      for (const { does } of steps) {
        const answer = await act(does === 'use' ? '/v1/bots/outputs' : '/v1/join/renew', instance)
        expect(answer.status).toBe(200)
        if (does === 'renew') instance.serial = serialOf(answer)
      }
    }),
    { numRuns: 25 },
  )
})
