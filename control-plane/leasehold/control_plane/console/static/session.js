// Who I am to the server. The token lives in this tab and as long as it: in sessionStorage, and nowhere else.

const KEY = "leasehold-token";

export const session = { me: null };

export function token() {
  return sessionStorage.getItem(KEY);
}

export function signIn(text) {
  sessionStorage.setItem(KEY, text.trim());
}

export function signOut() {
  sessionStorage.removeItem(KEY);
  session.me = null;
}

const RANK = { viewer: 1, operator: 2, admin: 3 };

/** Whether my role permits what needs `role`. The server decides; this only spares people a refusal. */
export function may(role) {
  return session.me !== null && RANK[session.me.role] >= RANK[role];
}
