import { expect, test } from 'vitest'
import { fetchGuarded } from './guarded-fetch.ts'

const lookups: Record<string, string[]> = {
  'inside.example.com': ['10.0.0.7'],
  'two.example.com': ['93.184.215.14', '127.0.0.1'],
  'cloud.example.com': ['169.254.169.254'],
  'six.example.com': ['::1'],
  'nobody.example.com': [],
}
const lookup = async (name: string): Promise<string[]> => lookups[name] ?? []

test.each([
  'http://example.com/',
  'ftp://example.com/',
  'https://user@example.com/',
  'https://127.0.0.1/',
  'https://2130706433/',
  'https://0x7f.1/',
  'https://[::1]/',
  'https://[::ffff:127.0.0.1]/',
  'https://inside.example.com/',
  'https://two.example.com/',
  'https://cloud.example.com/',
  'https://six.example.com/',
  'https://nobody.example.com/',
])('%s is not fetched', async (url) => {
  await expect(fetchGuarded(new URL(url), '*/*', { lookup })).rejects.toMatchObject({ code: 'permission_denied' })
})

test('a name that cannot be looked up is no permission', async () => {
  const fails = async (): Promise<string[]> => {
    throw new Error('ENOTFOUND')
  }
  await expect(fetchGuarded(new URL('https://gone.example.com/'), '*/*', { lookup: fails })).rejects.toMatchObject({ code: 'unavailable' })
})
