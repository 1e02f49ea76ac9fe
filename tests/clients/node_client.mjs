// Uses @kubernetes/client-node: objects, an informer, exec, and errors.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Writable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const namespace = 'node-client';
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);

async function until(what, holds) {
  for (let end = Date.now() + 30_000; !(await holds()); await sleep(50)) assert(Date.now() < end, what);
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
const seen = [];
const list = () => core.listNamespacedPod({ namespace });
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, list);
for (const verb of ['add', 'update', 'delete']) informer.on(verb, (pod) => seen.push([verb, pod]));
informer.on('error', (error) => seen.push(['error', error]));
await informer.start();

const spec = { containers: [{ name: 'main', image: 'example.com/main:1' }], terminationGracePeriodSeconds: 1 };
await core.createNamespacedPod({ namespace, body: { metadata: { name: 'one' }, spec } });
await until('the Pod runs', () => seen.some(([verb, pod]) => verb !== 'error' && pod.status?.phase === 'Running'));

let out = '';
const stdout = new Writable({ write(chunk, _, next) { out += chunk; next(); } });
const done = new Promise((resolve) => {
  new k8s.Exec(config).exec(namespace, 'one', 'main', ['echo', 'hello'], stdout, null, null, false, resolve);
});
assert.equal((await done).status, 'Success');
assert.equal(out, 'hello\n');

await assert.rejects(core.readNamespacedPod({ namespace, name: 'none' }), (error) => error.code === 404);
await core.deleteNamespacedPod({ namespace, name: 'one' });
await until('the Pod goes', () => seen.some(([verb]) => verb === 'delete'));
assert.deepEqual(seen.filter(([verb]) => verb === 'error'), []);
await informer.stop();
await core.deleteNamespace({ name: namespace });
console.log('done');
process.exit(0);
