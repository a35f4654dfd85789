import { expect, test } from 'vitest'
import { parseConnString, renderAddress } from './postgres-address.ts'

test.each([
  ['', 'must have the form'],
  ['host=db user=sallyport password=geheim', 'must have the form'],
  ['mysql://sallyport:geheim@db/store', 'must have the form'],
  ['postgresql://sallyport:geheim?heit@db/store', 'must have the form'],
  ['postgresql://sallyport:9geheim?heit=1', 'must have the form'],
  ['postgresql://sallyport:1?geheim=@db/store', 'has a parameter other than'],
  ['postgresql://sallyport:geheim@db', 'must name user, host and database'],
  ['postgresql://db/store', 'must name user, host and database'],
  ['postgresql://sallyport:geheim@a,b/store', 'names several hosts'],
  ['postgresql://sallyport:geheim%@db/store', 'has a % that is not followed by two hex digits'],
  ['postgresql://sallyport@db/store?geheim=1', 'has a parameter other than host, port, sslmode'],
  ['postgresql://sallyport@db/store?sslmode=require&sslmode=disable', 'has the parameter sslmode twice'],
  ['postgresql://sallyport@db/store?sslmode=prefer', 'has another sslmode than disable, require, verify-ca, verify-full'],
  ['postgresql://sallyport@db/store?pool_max_conns=3', 'has no pool_max_conns from 4 to 1000'],
  ['postgresql://sallyport@db/store?port=0', 'has no port from 1 to 65535'],
  ['postgresql://sallyport@db/store?connect_timeout=1.5', 'has no connect_timeout from 1 to 60'],
])('%s is refused, and nothing of it repeated', (text, says) => {
  let message = ''
  try {
    parseConnString(text)
  } catch (thrown) {
    message = String(thrown)
  }
  expect(message).toContain(`conn_string ${says}`)
  expect(message).not.toContain('geheim')
})

test('what is not said is what is safe', () => {
  expect(parseConnString('postgresql://sallyport:s%40fe@db.example.com/store\n')).toEqual({
    host: 'db.example.com',
    port: 5432,
    user: 'sallyport',
    password: 's@fe',
    database: 'store',
    tls: 'verify-full',
    files: { rootCert: undefined, cert: undefined, key: undefined },
    options: undefined,
    applicationName: 'sallyport',
    connectTimeoutMs: 5000,
    maxConnections: 10,
  })
})

test.each([
  ['postgres://u@127.0.0.1:6432/s', { host: '127.0.0.1', port: 6432, tls: 'disable' }],
  ['postgresql://u@[::1]/s', { host: '::1', tls: 'disable' }],
  ['postgresql://u@localhost/s?host=/run/postgresql&port=5433', { host: '/run/postgresql', port: 5433, tls: 'disable' }],
  ['postgresql://u@10.0.0.1/s', { tls: 'verify-full' }],
  ['postgresql://u@db/s?sslmode=disable', { tls: 'disable' }],
  ['postgresql://u@localhost/s?sslmode=verify-ca&sslrootcert=/ca.pem', { tls: 'verify-ca', files: { rootCert: '/ca.pem' } }],
  ['postgresql://u@db/s?options=-csearch_path%3Dx&pool_max_conns=20', { options: '-csearch_path=x', maxConnections: 20 }],
])('%s', (text, expected) => {
  expect(parseConnString(text)).toMatchObject(expected)
})

test('messages name where, and no secret', () => {
  expect(renderAddress(parseConnString('postgresql://sallyport:geheim@db/store'))).toBe('database "store" at db:5432 as "sallyport"')
})
