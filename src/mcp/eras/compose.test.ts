import { describe, expect, it } from 'vitest'
import { eventsOf } from '../../../test/fakes/memory-upstream.ts'
import { renderExact } from '../../lib/json-scan.ts'
import type { Reply } from '../upstream/upstream.ts'
import { composeRequest, numberOf, objectOf, readMessage, saidIn, withMeta } from './compose.ts'

const read = async (reply: Reply): Promise<unknown[]> => (await Array.fromAsync(saidIn(reply, 's'))).map(({ message }) => message)
const refused = (status: number, body: string): Reply => ({ kind: 'refused', status, bytes: Buffer.from(body), contentType: '' })

async function* chunksOf(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

describe('what a server said', () => {
  it.each([
    [refused(401, ''), "refused the gateway's credentials (HTTP 401)"],
    [refused(502, '<html>'), 'answered with HTTP 502'],
    [refused(404, '{"jsonrpc":"2.0","id":1,"result":{}}'), 'answered with HTTP 404'],
    [
      refused(401, '{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"token abc is bad"}}'),
      "refused the gateway's credentials (HTTP 401)",
    ],
    [refused(403, '{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}'), "refused the gateway's credentials (HTTP 403)"],
    [refused(500, '{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"at db:5432"}}'), 'answered with HTTP 500'],
  ])('is a failure when it is an HTTP error that says nothing', async (reply, words) => {
    await expect(read(reply)).rejects.toMatchObject({ code: 'unavailable', origin: 'upstream', message: `MCP server "s" ${words}` })
  })

  it('is a failure when it is no JSON object, or too large', async () => {
    await expect(read({ kind: 'message', bytes: Buffer.from('[1]') })).rejects.toMatchObject({ code: 'unavailable' })
    const chunk = Buffer.alloc(9 * 1024 * 1024, ' ')
    await expect(read({ kind: 'stream', chunks: chunksOf(chunk, chunk) })).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('comes message by message, whatever form it has', async () => {
    const text = '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}'
    const message = JSON.parse(text)
    expect(await read({ kind: 'accepted' })).toEqual([])
    expect(await read({ kind: 'message', bytes: Buffer.from(text) })).toEqual([message])
    expect(await read({ kind: 'stream', chunks: chunksOf(Buffer.from(text.slice(0, 9)), Buffer.from(text.slice(9))) })).toEqual([message])
    expect(await read(refused(400, text))).toEqual([message])
    expect(await read(eventsOf(['no json', text]))).toEqual([message])
  })
})

it('numbers survive reading and composing, and are no objects', () => {
  const params = readMessage('{"a":1.0,"n":12345678901234567890,"_meta":{"progressToken":1e2}}') ?? {}
  const request = composeRequest('"x"', 'm', params)
  expect(request.bytes.toString()).toBe(
    '{"jsonrpc":"2.0","id":"x","method":"m","params":{"a":1.0,"n":12345678901234567890,"_meta":{"progressToken":1e2}}}',
  )
  expect(request.progressToken).toBe('1e2')
  expect(objectOf(params['a'])).toBe(undefined)
  expect(numberOf(params['a'])).toBe(1)
})

it('a meta that is no object is none', () => {
  const params = readMessage('{"_meta":1.0}') ?? {}
  expect(renderExact(withMeta(params, { a: 1 }))).toBe('{"_meta":{"a":1}}')
})

it('a meta without keys goes altogether', () => {
  expect(withMeta({ a: 1, _meta: { b: 2 } }, { b: undefined })).toEqual({ a: 1 })
  expect(renderExact(withMeta({ _meta: { b: 2 } }, { c: 3 }))).toBe('{"_meta":{"b":2,"c":3}}')
})
