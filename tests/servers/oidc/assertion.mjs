// Tokens of another issuer, a cluster, which the tests have this server trust: as a grant (RFC 7523 section 2.1), which
// oidc-provider leaves to whoever runs it, and as the subject of an exchange.

const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

// The claims of a token that the trusted cluster signed for this server and that is not over (RFC 7523 section 3); else null.
export async function ofCluster(token, { cluster, jose, audience }) {
  if (!cluster) return null;
  const wanted = { algorithms: ['RS256'], audience, issuer: cluster.issuer, requiredClaims: ['exp', 'iss', 'sub'] };
  try {
    return (await jose.jwtVerify(token, jose.createRemoteJWKSet(new URL(cluster.jwks_uri)), wanted)).payload;
  } catch {
    return null;
  }
}

export function assertionGrant(provider, { errors, exchanged, verify }) {
  async function grant(ctx) {
    const { client, params } = ctx.oidc;
    if (!params.assertion) throw new errors.InvalidRequest('assertion is required');
    const from = await verify(params.assertion);
    if (!from) throw new errors.InvalidGrant('the assertion is none of a trusted issuer, or not for this server, or over');
    const token = new provider.ClientCredentials({ client, scope: params.scope });
    exchanged.set(token, { sub: from.sub });
    ctx.oidc.entity('ClientCredentials', token);
    const issued = { access_token: await token.save(), expires_in: token.expiration, scope: token.scope };
    ctx.body = { ...issued, token_type: 'Bearer' };
  }

  provider.registerGrantType(GRANT, grant, ['assertion', 'scope']);
}
