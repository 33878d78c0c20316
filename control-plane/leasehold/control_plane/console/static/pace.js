// Does something again and again, but one at a time and never in a hurry: a busy server is asked less often.

const LEAST_MS = 2000;
const SHARE = 10; // Of the time, at most one tenth is spent asking.

/** `ask()` makes `work` run soon, and at least once after it. Ends with `signal`. */
export function paced(work, signal) {
  let wanted = false;
  let running = false;
  let notBefore = 0;
  async function run() {
    if (running || !wanted || signal.aborted) return;
    running = true;
    await new Promise((resolve) => setTimeout(resolve, Math.max(notBefore - performance.now(), 0)));
    wanted = false;
    const began = performance.now();
    try {
      if (!signal.aborted) await work();
    } finally {
      const took = performance.now() - began;
      notBefore = performance.now() + Math.max(LEAST_MS, SHARE * took);
      running = false;
      run();
    }
  }
  return () => {
    wanted = true;
    run();
  };
}
