import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensurePrivateDirectory, readTextIfPresent, writeFileAtomic } from './atomic-file.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'atomic-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

describe('writeFileAtomic', () => {
  it('refuses a directory and leaves nothing behind', async () => {
    mkdirSync(join(directory, 'd'))
    await expect(writeFileAtomic(join(directory, 'd'), 'x')).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `cannot write ${join(directory, 'd')}: it is a directory`,
    })
    expect(readdirSync(directory)).toEqual(['d'])
  })

  it('removes its temporary file when the last step fails', async () => {
    // A name longer than the file system takes fails only at the rename.
    await expect(writeFileAtomic(join(directory, 'n'.repeat(300)), 'x')).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    expect(readdirSync(directory)).toEqual([])
  })

  it('passes on that the parent is missing', async () => {
    await expect(writeFileAtomic(join(directory, 'no', 'f'), 'x')).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('replaces content and mode', async () => {
    const path = join(directory, 'f')
    writeFileSync(path, 'old', { mode: 0o644 })
    await writeFileAtomic(path, 'new')
    expect(readFileSync(path, 'utf8')).toBe('new')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    await writeFileAtomic(path, new Uint8Array([1, 2]), { mode: 0o666 })
    expect([...readFileSync(path)]).toEqual([1, 2])
    expect(statSync(path).mode & 0o777).toBe(0o666)
    expect(readdirSync(directory)).toEqual(['f'])
  })

  it('replaces a link instead of writing where it points', async () => {
    writeFileSync(join(directory, 'target'), 'untouched')
    symlinkSync(join(directory, 'target'), join(directory, 'link'))
    await writeFileAtomic(join(directory, 'link'), 'new')
    expect(readFileSync(join(directory, 'target'), 'utf8')).toBe('untouched')
    expect(lstatSync(join(directory, 'link')).isSymbolicLink()).toBe(false)
  })

  it('never shows half a file when many write at once', async () => {
    const path = join(directory, 'f')
    await Promise.all(['a', 'b', 'c', 'd'].map((letter) => writeFileAtomic(path, letter.repeat(100_000))))
    expect(new Set(readFileSync(path, 'utf8')).size).toBe(1)
    expect(readdirSync(directory)).toEqual(['f'])
  })
})

describe('ensurePrivateDirectory', () => {
  it('refuses a link, a file, and a directory of another account', async () => {
    mkdirSync(join(directory, 'real'))
    symlinkSync(join(directory, 'real'), join(directory, 'link'))
    writeFileSync(join(directory, 'file'), '')
    await expect(ensurePrivateDirectory(join(directory, 'link'))).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `${join(directory, 'link')} is a symbolic link, which someone else could turn`,
    })
    await expect(ensurePrivateDirectory(join(directory, 'file'))).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `${join(directory, 'file')} is not a directory`,
    })
    await expect(ensurePrivateDirectory(join(directory, 'real'), { uid: 4_000_000 })).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `${join(directory, 'real')} belongs to another account (uid ${process.getuid?.()})`,
    })
  })

  it('leaves alone what all accounts share', async () => {
    const shared = join(directory, 'shared')
    mkdirSync(shared)
    chmodSync(shared, 0o1777)
    await expect(ensurePrivateDirectory(shared)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `${shared} is there for all accounts`,
      details: { fix: [`choose a directory of its own, such as ${join(shared, 'sallyport')}`] },
    })
    expect(statSync(shared).mode & 0o7777).toBe(0o1777)
    // Of another account, lest it be changed where this fails.
    await expect(ensurePrivateDirectory('/usr/', { uid: 4_000_000 })).rejects.toThrow('is there for all accounts')
  })

  it('creates parents, and the last one for us alone', async () => {
    await ensurePrivateDirectory(join(directory, 'a', 'b'))
    expect(statSync(join(directory, 'a', 'b')).mode & 0o777).toBe(0o700)
  })

  it('closes a directory that others could read', async () => {
    const path = join(directory, 'open')
    mkdirSync(path)
    chmodSync(path, 0o755)
    await ensurePrivateDirectory(path)
    expect(statSync(path).mode & 0o777).toBe(0o700)
  })
})

describe('readTextIfPresent', () => {
  it('refuses what is too large, no text, or no file', async () => {
    writeFileSync(join(directory, 'large'), 'x'.repeat(11))
    writeFileSync(join(directory, 'binary'), new Uint8Array([0xff, 0xfe]))
    await expect(readTextIfPresent(join(directory, 'large'), { maxBytes: 10 })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${join(directory, 'large')} is larger than the 10 bytes accepted`,
    })
    await expect(readTextIfPresent(join(directory, 'binary'))).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${join(directory, 'binary')} is not UTF-8 text`,
    })
    await expect(readTextIfPresent(directory)).rejects.toMatchObject({ code: 'EISDIR' })
  })

  it('tells an absent file from an empty one', async () => {
    writeFileSync(join(directory, 'empty'), '')
    expect(await readTextIfPresent(join(directory, 'none'))).toBeUndefined()
    expect(await readTextIfPresent(join(directory, 'empty'))).toBe('')
    writeFileSync(join(directory, 'exact'), 'é'.repeat(50_000))
    expect(await readTextIfPresent(join(directory, 'exact'), { maxBytes: 100_000 })).toBe('é'.repeat(50_000))
  })
})
