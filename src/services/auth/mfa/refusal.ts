import { AppError } from '../../../lib/errors.ts'

/** A wrong guess at who somebody is: counted, and the same words for everybody outside; the audit log has the reason. */
export class SignInRefusal extends AppError {
  readonly reason: string

  constructor(reason: string, message = 'wrong user name, password or one-time code') {
    super('unauthenticated', message)
    this.reason = reason
  }
}

/** The same for a passkey. */
export class PasskeyRefusal extends SignInRefusal {
  constructor(reason: string) {
    super(reason, 'this passkey did not work: try again, or sign in another way')
  }
}
