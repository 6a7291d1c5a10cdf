// Token exchange (RFC 8693), which oidc-provider leaves to whoever runs it.
//
// The subject must be a token of this server's own: an opaque one that is alive, or a JWT that its keys verify; or one of a
// cluster that it trusts, which limits no scope. The new token allows no more than the subject's. Several resources and
// audiences give a JWT for all of them.

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const TYPE = 'urn:ietf:params:oauth:token-type:';

const words = (text) => (text ? text.split(' ') : []);
const list = (given) => [given ?? []].flat();

export function tokenExchange(provider, { errors, exchanged, jose, resourceServer, verify, verifyingKey }) {
  // RFC 8693 section 2.2.2: a subject token that is not valid for any reason is an invalid_request.
  const refused = (why) => { throw new errors.InvalidRequest(why); };

  async function ofJwt(token) {
    const foreign = await verify(token);
    if (foreign) return { sub: foreign.sub };
    const wanted = { algorithms: ['RS256'], issuer: provider.issuer, typ: 'at+jwt', requiredClaims: ['exp'] };
    try {
      return (await jose.jwtVerify(token, verifyingKey, wanted)).payload;
    } catch {
      return refused('the subject token is no valid JWT of this issuer');
    }
  }

  async function subject({ subject_token: token, subject_token_type: type }) {
    if (!token || !type) return refused('subject_token and subject_token_type are required');
    if (![`${TYPE}access_token`, `${TYPE}jwt`].includes(type)) return refused('this type of subject token is not taken');
    if (token.split('.').length === 3) return ofJwt(token);
    if (type === `${TYPE}jwt`) return refused('the subject token is no JWT');
    const opaque = await provider.ClientCredentials.find(token);
    if (!opaque?.isValid) return refused('the subject token is not known, or over');
    return { sub: opaque.clientId, scope: opaque.scope };
  }

  async function exchange(ctx) {
    const { client, params } = ctx.oidc;
    if (![undefined, `${TYPE}access_token`].includes(params.requested_token_type)) refused('only access tokens are issued');
    const from = await subject(params);
    const allowed = (from.scope === undefined ? words(client.scope) : words(from.scope)).filter((scope) => words(client.scope).includes(scope));
    const scopes = params.scope ? words(params.scope) : allowed;
    const beyond = scopes.filter((scope) => !allowed.includes(scope));
    if (beyond.length) throw new errors.InvalidScope('more than the subject token allows', beyond.join(' '));

    const targets = [...list(params.resource), ...list(params.audience)];
    const servers = targets.map(resourceServer);
    const token = new provider.ClientCredentials({ client, scope: scopes.join(' ') || undefined });
    if (servers.length) token.resourceServer = new provider.ResourceServer(targets[0], servers[0]);
    exchanged.set(token, { sub: from.sub, ...(targets.length && { aud: targets.length === 1 ? targets[0] : targets }) });
    ctx.oidc.entity('ClientCredentials', token);
    const issued = { access_token: await token.save(), expires_in: token.expiration, scope: token.scope };
    ctx.body = { ...issued, token_type: 'Bearer', issued_token_type: `${TYPE}access_token` };
  }

  const own = ['subject_token', 'subject_token_type', 'requested_token_type', 'scope', 'resource', 'audience'];
  provider.registerGrantType(EXCHANGE, exchange, own, ['resource', 'audience']);
}
