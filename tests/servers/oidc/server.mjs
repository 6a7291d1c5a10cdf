// An OAuth2 server for tests: the npm package oidc-provider, a certified one, at 127.0.0.1.
//
// It is two issuers with the same clients, keys and tokens: one by http, one by https, which has a listener of its own that
// asks for certificates.
//
// It speaks OAuth2 on its listeners only. What a test does to it comes in on stdin, one JSON object a line, and is answered on
// stdout in the same way; the first line says who its clients are. It ends with its stdin, so it never outlives the tests.

import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import { assertionGrant, ofCluster } from './assertion.mjs';
import { tokenExchange } from './exchange.mjs';

console.info = console.error; // notices of the package: stdout is for answers
console.warn = console.error;

// A module's own imports are looked for beside it, and the packages lie elsewhere: the first argument says where.
const found = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Provider, errors } = await import(pathToFileURL(found.resolve('oidc-provider')));
const jose = await import(pathToFileURL(createRequire(found.resolve('oidc-provider')).resolve('jose')));
const { default: MemoryAdapter } = await import(pathToFileURL(found.resolve('oidc-provider/lib/adapters/memory_adapter.js')));

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const told = JSON.parse((await lines.next()).value);

const clients = new Map(told.clients.map((client) => [client.client_id, client]));
const secrets = new Map(told.clients.map((client) => [client.client_id, [client.client_secret]]));
const withdrawn = new Set();
const state = { ttl: told.ttl, faults: [], requests: [], cluster: null };

// -- the listeners: each request is counted before anything looks at it ----------------------------------------------------

let answers; // of the two issuers, once they know their ports

function listen(server) {
  return new Promise((ready) => { server.listen(0, '127.0.0.1', () => ready(server.address().port)); });
}

function handle(request, response) {
  const path = request.url.split('?')[0];
  const entry = { method: request.method, path, headers: request.headers, form: {}, status: null, error: null };
  state.requests.push(entry);
  request.entry = entry;
  response.on('finish', () => { entry.status = response.statusCode; });
  const fault = state.faults.find((one) => one.times > 0 && one.path === path);
  if (!fault) return answers[request.socket.encrypted ? 'tls' : 'plain'](request, response);
  fault.times -= 1;
  request.resume();
  return response.writeHead(fault.status, fault.headers).end(fault.body);
}

const issuer = `http://127.0.0.1:${await listen(createServer(handle))}`;
const tlsIssuer = `https://127.0.0.1:${await listen(createTlsServer(told.tls, handle))}`;
const asking = { ...told.tls, requestCert: true, rejectUnauthorized: false };
const mtls = `https://127.0.0.1:${await listen(createTlsServer(asking, handle))}`;

// -- the issuers -----------------------------------------------------------------------------------------------------------

const resources = new Set(told.resources);
const signing = createPrivateKey({ key: told.signing, format: 'jwk' }); // the certificate beside it is for those who want one

function resourceServer(identifier) {
  if (!resources.has(identifier)) throw new errors.InvalidTarget('unknown resource');
  const jwt = { sign: { alg: 'RS256' } };
  return { scope: told.scopes.join(' '), audience: identifier, accessTokenFormat: 'jwt', jwt };
}

// RFC 8705 section 2.1.2 compares distinguished names; this server's are of a single common name.
const subjectMatches = (ctx, property, expected) => property === 'tls_client_auth_subject_dn'
  && ctx.socket.getPeerX509Certificate()?.subject === expected;

const registered = async (id) => (withdrawn.has(id) ? undefined : clients.get(id));
const anyone = () => true;
const exchanged = new WeakMap(); // what the exchange of a token adds to it

const configuration = () => ({
  adapter: (name) => (name === 'Client' ? { find: registered } : new MemoryAdapter(name)),
  clientAuthMethods: told.methods,
  discovery: {
    mtls_endpoint_aliases: { token_endpoint: `${mtls}/token`, revocation_endpoint: `${mtls}/token/revocation` },
  },
  enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'ES256', 'HS256'] },
  // The keys of a client lie on loopback here, which the package's own dispatcher keeps away from.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  extraTokenClaims: async (ctx, token) => exchanged.get(token),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: anyone },
    revocation: { enabled: true, allowedPolicy: (ctx, client, token) => client.clientId === token.clientId },
    resourceIndicators: {
      enabled: true, defaultResource: () => undefined, getResourceServerInfo: (ctx, identifier) => resourceServer(identifier),
    },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: subjectMatches,
    },
  },
  formats: { customizers: { jwt: (ctx, token, jwt) => Object.assign(jwt.payload, exchanged.get(token)) } },
  jwks: { keys: [told.signing] },
  responseTypes: [],
  scopes: told.scopes,
  ttl: { ClientCredentials: () => state.ttl },
});

function issuing(identifier) {
  const provider = new Provider(identifier, configuration());
  // During a rotation two secrets are good. Signed assertions know one: the first.
  provider.Client.prototype.compareClientSecret = function accepted(given) {
    return secrets.get(this.clientId).includes(given);
  };
  provider.use(async (ctx, next) => {
    await next();
    const { entry } = ctx.req;
    entry.form = ctx.oidc?.body ?? {};
    entry.error = ctx.body?.error ?? null;
    // Some servers add scopes that nobody asked for.
    const added = ctx.body?.access_token && clients.get(ctx.oidc.client.clientId).adds_scope;
    if (added) ctx.body.scope = [ctx.body.scope, added].filter(Boolean).join(' ');
  });
  const verify = (token) => ofCluster(token, { cluster: state.cluster, jose, audience: identifier });
  tokenExchange(provider, { errors, exchanged, jose, resourceServer, verify, verifyingKey: createPublicKey(signing) });
  assertionGrant(provider, { errors, exchanged, verify });
  return provider.callback();
}

answers = { plain: issuing(issuer), tls: issuing(tlsIssuer) };

// -- what a test may do ----------------------------------------------------------------------------------------------------

const acts = {
  change({ client, metadata, accepted }) { // secrets: the first one is the client's, the others are good beside it
    clients.set(client, { ...clients.get(client), ...metadata });
    secrets.set(client, accepted);
  },
  withdraw({ client }) { withdrawn.add(client); },
  trust({ cluster }) { state.cluster = cluster; },
  ttl({ seconds }) { state.ttl = seconds; },
  fault(fault) { state.faults.push(fault); },
  requests() { return state.requests; },
  reset() { // secrets stay as they are: the tests know them
    Object.assign(state, { ttl: told.ttl, faults: [], requests: [], cluster: null });
    withdrawn.clear();
  },
};

say({ issuer, tls_issuer: tlsIssuer, mtls });
for await (const line of lines) {
  const { act, ...how } = JSON.parse(line);
  say({ done: acts[act](how) ?? null });
}
process.exit(0);
