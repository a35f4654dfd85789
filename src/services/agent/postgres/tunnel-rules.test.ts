import { expect, test } from 'vitest'
import { findTunnelFault } from './tunnel-rules.ts'

test.each([
  ['SET default_transaction_read_only = off', 'default_transaction_read_only cannot be set'],
  ['set local Transaction_Read_Only to false', 'transaction_read_only cannot be set'],
  ['SET SESSION "transaction_read_only" = 0', 'transaction_read_only cannot be set'],
  ['SELECT 1;;\n-- hi\nSET transaction_read_only = 0', 'transaction_read_only cannot be set'],
  ['SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ /* x */ WRITE', 'no transaction may write'],
  ['START TRANSACTION READ WRITE', 'no transaction may write'],
  ['begin work read -- x\n write', 'no transaction may write'],
  ['SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE', 'no transaction may write'],
  ['SET SESSION AUTHORIZATION postgres', 'authorization cannot be set'],
  ['SET standard_conforming_strings = off', 'standard_conforming_strings cannot be set'],
  ['SET my.own = 1', 'my cannot be set'],
  ["SET NAMES 'SJIS'", 'the encoding is UTF8'],
  ['SET client_encoding TO DEFAULT', 'the encoding is UTF8'],
  ['SELECT set_config($1, $2, false)', 'set_config reaches beyond the transaction'],
  ['SELECT pg_catalog . "set_config" ($1, $2, false)', 'set_config reaches beyond the transaction'],
  ['SELECT lo_unlink(1)', 'lo_unlink reaches beyond the transaction'],
  ['SELECT U&"set\\005fconfig"($1, $2, false)', 'write names as they are'],
  ['DO $$ BEGIN SET LOCAL transaction_read_only = off; END $$', 'DO is not possible'],
  ['CALL anything()', 'CALL is not possible'],
  ['NOTIFY x', 'NOTIFY is not possible'],
  ['VACUUM', 'VACUUM is not possible'],
  ["ALTER SYSTEM SET default_transaction_read_only = 'off'", 'ALTER SYSTEM is not possible'],
  ["PREPARE TRANSACTION 'x'", 'PREPARE TRANSACTION is not possible'],
  ["COMMIT PREPARED 'x'", 'COMMIT PREPARED is not possible'],
  ["LOAD 'x'", 'LOAD is not possible'],
  ["SELECT E'a'\n'\\'' ; SET default_transaction_read_only = off; --'", "write E'…' strings in one piece"],
  ["SELECT e'a' -- x\n  '\\'', set_config('transaction_read_only', 'off', false) --'", "write E'…' strings in one piece"],
  ['SELECT 1a$x$; SET default_transaction_read_only = off; --$x$', "write E'…' strings in one piece, and a space"],
  ['SELECT $1a$x$, set_config($2, $3, false) --$x$', "write E'…' strings in one piece, and a space"],
])('what would end the reading only does not go: %s', (sql, why) => {
  expect(findTunnelFault(sql)).toContain(`this database is read-only here: ${why}`)
})

test.each([
  '',
  ';;',
  "SELECT 'SET default_transaction_read_only = off; DO'",
  '(SELECT 1) UNION SELECT 2;',
  'BEGIN; SELECT 1; COMMIT',
  'BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY',
  'START TRANSACTION READ ONLY',
  'DECLARE c CURSOR FOR SELECT 1',
  'PREPARE p AS SELECT 1',
  "SET client_encoding TO 'UTF8'",
  'SET NAMES UTF8',
  'SET extra_float_digits = 3',
  "SET application_name = 'psql'",
  "SET TIME ZONE 'UTC'",
  'SET LOCAL enable_seqscan = off',
  'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE',
  'RESET ALL',
  'DISCARD ALL',
  'SHOW transaction_read_only',
  "SELECT E'it\\'s', 'SET x', 1e5, $1, 0x1F, $$a$$, a$b$",
])('what reads, and belongs to a session, goes: %s', (sql) => {
  expect(findTunnelFault(sql)).toBeUndefined()
})

test.each(['INSERT INTO t VALUES (1)', 'CREATE TABLE t ()', 'WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d', 'COPY t FROM STDIN'])(
  'what writes is for PostgreSQL to refuse: %s',
  (sql) => {
    expect(findTunnelFault(sql)).toBeUndefined()
  },
)
