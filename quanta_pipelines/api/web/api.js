// What the service has published. The browser keeps answers and asks by ETag whether they changed.

/** Why a question has no answer, in the service's words. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title);
    this.code = problem.code;
  }
}

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Refused({ code: "unreachable", title: "The service cannot be reached." });
  }
  if (answer.ok) return answer.json();
  throw new Refused(await answer.json().catch(() => ({ code: "unreadable", title: `Status ${answer.status}` })));
}

export const epochs = () => ask("/v1/epochs");
export const board = (epoch) => ask(`/v1/leaderboard?limit=500&epoch_id=${encodeURIComponent(epoch)}`);
export const economy = (epoch) => ask(`/v1/metrics/epoch/${encodeURIComponent(epoch)}`);
export const standings = (epoch) => ask(`/v1/standings/${encodeURIComponent(epoch)}`);
export const explanation = (epoch, hotkey) =>
  ask(`/v1/explanations/${encodeURIComponent(epoch)}/${encodeURIComponent(hotkey)}`);
