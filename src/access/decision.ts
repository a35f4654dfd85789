/** Which kind of rule refused; stable words for audit, explain and messages. */
export type DenialKind =
  | 'lock'
  | 'deny_rule'
  | 'no_role'
  | 'no_labels'
  | 'no_tool'
  | 'no_resource'
  | 'no_prompt'
  | 'no_argument_rule'
  | 'no_db_user'
  | 'no_db_name'
  | 'no_workload_rule'
  | 'mfa_required'
  | 'token_scope'
  | 'unknown_method'
  | 'error'

/** The outcome of a check, with its reason. A denial is a value until it reaches an edge. */
export type Decision = Allowed | Denied

export interface Allowed {
  allow: true
  /** The role (or `lock/NAME`) that decided. */
  by: string
}

export interface Denied {
  allow: false
  kind: DenialKind
  /** For the caller: says what refused and whom to ask; never the contents of rules. */
  reason: string
  /** The role or lock that refused; null when nothing granted. */
  by: string | null
}
