// Microsoft's Node client (npm azure-devops-node-api) does the task-agent calls against the sandbox: pools, agents, the queue,
// and the calls of an agent, which it has too.
//
// The organization's URL, its token, a pool's name and a waiting job request come by the environment. Prints one line of
// JSON: what it has seen.

"use strict";

const assert = require("node:assert/strict");
const azdev = require("azure-devops-node-api");

async function main() {
  const { SANDBOX_URL, SANDBOX_TOKEN, SANDBOX_POOL, SANDBOX_REQUEST } = process.env;
  const web = new azdev.WebApi(SANDBOX_URL, azdev.getPersonalAccessTokenHandler(SANDBOX_TOKEN));
  const connection = await web.connect();
  assert.equal(connection.authenticatedUser.isActive, true);
  const client = await web.getTaskAgentApi();

  const pools = await client.getAgentPools(SANDBOX_POOL);
  assert.deepEqual(pools.map((pool) => pool.name), [SANDBOX_POOL]);
  const pool = pools[0].id;

  const draft = { name: "by-node", version: "4.260.0", maxParallelism: 1, systemCapabilities: { "Agent.OS": "Linux" } };
  const made = await client.addAgent(draft, pool);
  assert.ok(made.id > 0 && made.name === "by-node");
  const listed = await client.getAgents(pool, "BY-NODE", true, true, true);
  assert.deepEqual(listed.map((agent) => agent.id), [made.id]);
  assert.equal(listed[0].systemCapabilities["Agent.OS"], "Linux");
  await assert.rejects(client.addAgent(draft, pool), /already contains an agent with name by-node/);
  assert.equal((await client.updateAgent({ id: made.id, enabled: false }, pool, made.id)).enabled, false);
  const replaced = await client.replaceAgent({ ...draft, id: made.id, version: "4.261.0", enabled: true }, pool, made.id);
  assert.equal(replaced.version, "4.261.0");
  const labelled = await client.updateAgentUserCapabilities({ team: "a" }, pool, made.id);
  assert.equal(labelled.userCapabilities.team, "a");

  // The queue, by each of the ways it has.
  const request = Number(SANDBOX_REQUEST);
  const newest = await client.getAgentRequests(pool, 10);
  assert.ok(newest.some((found) => found.requestId === request));
  const waiting = await client.getAgentRequest(pool, request, true);
  assert.equal(waiting.receiveTime, undefined);
  assert.deepEqual((await client.getAgentRequestsForPlan(pool, waiting.planId)).map((found) => found.requestId), [request]);

  // What an agent does: a session, its message, the request taken and finished.
  const session = await client.createAgentSession({ ownerName: "here", agent: { id: made.id, name: "by-node" } }, pool);
  const message = await client.getMessage(pool, session.sessionId);
  assert.equal(message.messageType, "PipelineAgentJobRequest");
  const job = JSON.parse(message.body);
  assert.equal(job.requestId, request);
  const endpoint = job.resources.endpoints.find((found) => found.name === "SystemVssConnection");
  assert.ok(endpoint.url.startsWith(SANDBOX_URL) && endpoint.authorization.parameters.AccessToken);
  const lock = "00000000-0000-0000-0000-000000000000";
  const taken = await client.updateAgentRequest({ requestId: request }, pool, request, lock);
  assert.ok(taken.receiveTime);
  await client.deleteMessage(pool, message.messageId, session.sessionId);
  assert.deepEqual((await client.getAgentRequestsForAgent(pool, made.id, 0)).map((found) => found.requestId), [request]);
  await assert.rejects(client.deleteAgent(pool, made.id), /is running a job/);

  // What its worker does with the token of the job.
  const worker = new azdev.WebApi(endpoint.url, azdev.getBearerHandler(endpoint.authorization.parameters.AccessToken));
  const tasks = await worker.getTaskApi();
  const { scopeIdentifier: scope, planId } = job.plan;
  const record = { id: job.jobId, type: "Job", name: "job", state: 1, percentComplete: 10 };
  const records = { count: 1, value: [record] };
  await tasks.updateRecords(records, scope, "build", planId, job.timeline.id);
  const read = await tasks.getRecords(scope, "build", planId, job.timeline.id);
  assert.deepEqual(read.map((found) => found.id), [job.jobId]);
  const log = await tasks.createLog({ path: "logs\\1" }, scope, "build", planId);
  assert.ok(log.id > 0);
  // It may do no more than that.
  await assert.rejects((await worker.getTaskAgentApi()).getAgents(pool), /Access denied/);

  await client.deleteAgentRequest(pool, request, lock, 0, true);
  await client.deleteAgentSession(pool, session.sessionId);
  await client.deleteAgent(pool, made.id);
  assert.equal((await client.getAgents(pool, "by-node")).length, 0);
  const packages = await client.getPackages("agent", "linux-x64", 1);
  assert.equal(packages.length, 1);

  process.stdout.write(`${JSON.stringify({ pool, agent: made.id, request })}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
