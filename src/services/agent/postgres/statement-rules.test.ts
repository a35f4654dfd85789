import { expect, test } from 'vitest'
import { findStatementFault } from './statement-rules.ts'

test.each([
  ['no statement', ''],
  ['only a comment', '-- select'],
  ['a change', 'DELETE FROM t'],
  ['a block', 'DO $$ BEGIN END $$'],
  ['a setting', 'SET transaction_read_only = off'],
  ['a reset', 'reset all'],
  ['the end of the transaction', 'COMMIT AND CHAIN'],
  ['a copy', "COPY t TO PROGRAM 'x'"],
  ['a call', 'CALL p()'],
  ['a prepared statement', 'EXECUTE p'],
  ['an empty statement in front', '; COPY t TO STDOUT'],
  ['a comment that ends later than it seems', '/* /* */ SELECT 1 */ COPY t TO STDOUT'],
  ['a comment that ends sooner than it seems', '--\rCOPY t TO STDOUT'],
  ['a comment that never ends', '/* SELECT 1'],
  ['a word that only begins like one', 'selecté 1'],
  ['a quoted word', '"select" 1'],
  ['a file', "SELECT pg_read_file('x')"],
  ['a file, in quotes', `SELECT "pg_read_file" ('x')`],
  ['a file, with a schema and a comment', "SELECT pg_catalog . PG_READ_FILE /* ' */ ('x')"],
  ['a file, behind a string', "SELECT 'it''s', pg_read_file('x')"],
  ['a file, behind an escaped string', String.raw`SELECT E'\'', pg_read_file('x')`],
  ['a file, behind a string that ends with a backslash', String.raw`SELECT '\', pg_read_file('x')`],
  ['a file, behind a dollar quote', "SELECT $a$ ' $$ $a$, pg_read_file('x')"],
  ['a file, behind what is no dollar quote', "SELECT a$b$, pg_read_file('x'), c$b$"],
  ['a file, in an encoded spelling', String.raw`SELECT U&"pg\005fread_file"('x')`],
  ['a large object', "SELECT lo_export(1, 'x')"],
  ['another server', "SELECT * FROM dblink('host=x', 'DELETE FROM t') AS t(a int)"],
  ['a statement in a text', "SELECT query_to_xml('DELETE FROM t', true, true, '')"],
  ['another session', 'SELECT pg_terminate_backend(1)'],
  ['a setting in a function', "SELECT set_config('a.b', 'c', false)"],
  ['a NUL', 'SELECT 1\0'],
  ['too long a text', `SELECT '${'x'.repeat(300_000)}'`],
])('reading refuses %s', (_name, sql) => {
  expect(findStatementFault(sql, true)).toEqual(expect.any(String))
})

test.each([
  'select 1',
  ' \n/* why /* not */ */ -- so\n(SELECT 1)',
  'WITH a AS (VALUES (1)) TABLE a',
  'SHOW server_version',
  'explain SELECT 1',
  'SELECT \'pg_read_file(1)\', $$ dblink(1) $$, "a""b" FROM dblink -- pg_read_file(',
  "SELECT count(*), coalesce(sum(x), 0) FROM t WHERE note LIKE '%COMMIT%'",
])('reading lets through: %s', (sql) => {
  expect(findStatementFault(sql, true)).toBeUndefined()
})

test.each(['BEGIN', 'commit', 'ROLLBACK', 'START TRANSACTION', 'PREPARE TRANSACTION $$x$$', "COPY t FROM '/x'", 'SAVEPOINT a'])(
  'writing refuses %s',
  (sql) => {
    expect(findStatementFault(sql, false)).toContain('is not possible here')
  },
)

test('writing lets changes through', () => {
  expect(findStatementFault('INSERT INTO t VALUES (1)', false)).toBeUndefined()
})
